"""The scripted MX as a process of its own, to be killed: mx_process.py HOST ADDRESS CERT KEY FILE. The
Subject of each mail is written to FILE before the mail is answered, as a queue would be."""

import re
import signal
import socket
import sys

import mx


class Here:
    """Stands in for the lab: this process lives in the MX's namespace already."""

    @staticmethod
    def socket(_space, family, kind=socket.SOCK_STREAM):
        return socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind)


class QueueingMx(mx.ScriptedMx):
    """Remembers what it has taken even when it is killed."""

    queue = None

    def deliver(self, message):
        subject = re.search(rb"^Subject: (\S+)", message.content, re.M).group(1)
        self.queue.write(subject + b"\n")
        self.notify()


def main():
    host, address, cert, key, path = sys.argv[1:]
    with open(path, "ab", buffering=0) as queue:
        QueueingMx.queue = queue
        QueueingMx(Here, host, address, 6 if ":" in address else 4, mx.Script(pair=(cert, key)))
        signal.pause()


if __name__ == "__main__":
    main()

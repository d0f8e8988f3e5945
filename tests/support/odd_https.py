#!/usr/bin/python3
"""An HTTPS server that answers as no proper server would, for tests/policy/test_fetch.c.

odd_https.py TLS_PORT PLAIN_PORT OLD_PORT CERT_DIR: on TLS_PORT the first label behind "mta-sts." of
the name asked for picks the answer, and CERT_DIR/NAME.pem is the certificate. PLAIN_PORT knows no
TLS and answers in clear; OLD_PORT speaks TLS 1.1 and nothing newer."""

import gzip
import os
import socket
import ssl
import struct
import sys
import threading
import time

POLICY = b"version: STSv1\nmode: none\nmax_age: 1\n"
TYPE = b"Content-Type: text/plain\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
LIMIT = 65536


def length(n):
    return b"Content-Length: %d\r\n" % n


def whole(head, body=POLICY):
    return head + length(len(body)) + b"\r\n" + body


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = OK + TYPE + b"Transfer-Encoding: chunked\r\n"

# Answers that are sent at once; the connection is then closed in an orderly way.
ANSWERS = {
    "good": whole(OK + TYPE),
    "lowercase": whole(b"HTTP/1.1 200 OK\r\ncontent-type:text/plain\r\n"),
    "http10": b"HTTP/1.0 200 OK\r\n" + TYPE + b"\r\n" + POLICY,
    "closed": OK + TYPE + b"Connection: close\r\n\r\n" + POLICY,
    "chunked": CHUNKED + b"\r\n" + chunk(POLICY[:7]) + chunk(POLICY[7:]) + chunk(b""),
    "hints": b"HTTP/1.1 103 Early Hints\r\nContent-Type: text/html\r\n\r\n" + whole(OK + TYPE),
    "identity": whole(OK + TYPE + b"Content-Encoding: identity\r\n"),
    "empty": whole(OK + TYPE, b""),
    "longer": OK + TYPE + length(9) + b"\r\n" + POLICY,
    "exact": whole(OK + TYPE, b"x" * LIMIT),
    "exactchunked": CHUNKED + b"\r\n" + chunk(b"x" * LIMIT) + chunk(b""),
    "over": whole(OK + TYPE, b"x" * (LIMIT + 1)),
    "overchunked": CHUNKED + b"\r\n" + chunk(b"x" * (LIMIT + 1)) + chunk(b""),
    "overclosed": OK + TYPE + b"\r\n" + b"x" * (LIMIT + 1),
    "hugelength": OK + TYPE + length(10**18) + b"\r\n" + POLICY,
    "short": OK + TYPE + length(1000) + b"\r\n" + POLICY,
    "cutchunked": CHUNKED + b"\r\n" + chunk(POLICY),
    "nothing": b"",
    "cuthead": OK + TYPE,
    "continued": b"HTTP/1.1 100 Continue\r\n\r\n",
    "gzip": whole(OK + TYPE + b"Content-Encoding: gzip\r\n", gzip.compress(POLICY)),
    "gzipbomb": whole(OK + TYPE + b"Content-Encoding: gzip\r\n", gzip.compress(b"x" * 10**7)),
    "transfergzip": OK + TYPE + b"Transfer-Encoding: gzip, chunked\r\n\r\n"
    + chunk(gzip.compress(POLICY)) + chunk(b""),
    "twolengths": OK + TYPE + length(len(POLICY)) + length(9) + b"\r\n" + POLICY,
    "twotypes": whole(OK + TYPE + b"Content-Type: text/html\r\n"),
    "trailertype": OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(POLICY) + b"0\r\n" + TYPE
    + b"\r\n",
    "hinttype": b"HTTP/1.1 103 Early Hints\r\n" + TYPE + b"\r\n" + whole(OK),
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n" + TYPE + b"\r\n" + POLICY,
    "http09": POLICY,
    "garbage": b"\0\1\2\3" * 64,
    "oddstatus": whole(b"HTTP/1.1 2x0 OK\r\n" + TYPE),
    "h2": b"\0\0\0\4\0\0\0\0\0",
    "noterror": whole(b"HTTP/1.1 404 Not Found\r\n" + TYPE),
    "notshort": b"HTTP/1.1 404 Not Found\r\n" + TYPE + length(1000) + b"\r\n" + POLICY,
    "notbig": b"HTTP/1.1 404 Not Found\r\n" + TYPE + length(10**9) + b"\r\n" + POLICY,
    "longline": OK + b"X: " + b"x" * 200000 + b"\r\n" + whole(TYPE),
    "manyheaders": OK + b"X-Header: value\r\n" * 20000 + whole(TYPE),
}

# Answers without an end: the first part once, the second again and again.
ENDLESS = {
    "endlesschunked": (CHUNKED + b"\r\n", chunk(b"x" * 4096)),
    "endlessbody": (OK + TYPE + b"\r\n", b"x" * 4096),
    "endlesshead": (OK + TYPE, b"X: y\r\n" * 100),
    "endlessline": (OK + TYPE + b"X: ", b"y" * 4096),
    "endlesserror": (b"HTTP/1.1 500 Oops\r\n\r\n", b"x" * 4096),
    "flood": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "trailers": (CHUNKED + b"\r\n" + chunk(POLICY) + b"0\r\n", b"X: y\r\n" * 100),
}

# The same, but an octet every 50 ms.
DRIPS = {
    "dripbody": (OK + TYPE + length(1000) + b"\r\n", b"x"),
    "driphead": (OK, b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n"),
    "silent": (b"", b""),
}


def answer(conn, case):
    if case in ANSWERS:
        conn.sendall(ANSWERS[case])
        conn.unwrap()  # close_notify
    elif case in ENDLESS:
        first, again = ENDLESS[case]
        conn.sendall(first)
        while True:
            conn.sendall(again)
    elif case in DRIPS:
        first, again = DRIPS[case]
        conn.sendall(first)
        at = 0
        while True:
            if again:
                conn.sendall(again[at % len(again):][:1])
            at += 1
            time.sleep(0.05)
    elif case == "abrupt":  # FIN without close_notify: the body may be cut
        conn.sendall(OK + TYPE + b"\r\n" + POLICY)
    elif case == "reset":
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def serve(raw, context):
    names = []
    try:
        with context(names).wrap_socket(raw, server_side=True) as conn:
            request = b""
            while b"\r\n\r\n" not in request:
                got = conn.recv(4096)
                if not got:
                    return
                request += got
            answer(conn, names[0].split(".")[1])
    except (OSError, ssl.SSLError):
        pass


def make_context(cert_dir):
    def new(names):
        def on_name(conn, name, _):
            names.append(name or "")
            chosen = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            chosen.load_cert_chain(os.path.join(cert_dir, name + ".pem"))
            conn.context = chosen

        first = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        first.sni_callback = on_name
        return first

    return new


def old_context(cert_dir):
    def new(_):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.load_cert_chain(os.path.join(cert_dir, "mta-sts.old.test.pem"))
        return context

    return new


def plain(raw, _):
    try:
        raw.recv(4096)
        raw.sendall(whole(OK + TYPE))
        raw.close()
    except OSError:
        pass


def listen(port, handler, context):
    server = socket.create_server(("127.0.0.1", port), backlog=64)
    while True:
        raw, _ = server.accept()
        threading.Thread(target=handler, args=(raw, context), daemon=True).start()


def main():
    tls_port, plain_port, old_port = (int(arg) for arg in sys.argv[1:4])
    cert_dir = sys.argv[4]
    for port, handler, context in (
        (plain_port, plain, None),
        (old_port, serve, old_context(cert_dir)),
    ):
        threading.Thread(target=listen, args=(port, handler, context), daemon=True).start()
    listen(tls_port, serve, make_context(cert_dir))


main()

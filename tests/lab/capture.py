"""tcpdump on the gateway's outside interface, and what can be read in clear in its file."""

import signal
import socket
import struct

from lab import wait_for

SENTINEL = "198.51.100.251"  # of the MX namespace, without a server
SENTINEL_ADDRESS = socket.inet_aton(SENTINEL)
SO_MARK = 36
MARK = 2  # our own connections are not intercepted
ETHERTYPE = {0x0800: 4, 0x86DD: 6}


class Capture:
    """Everything on port 25 outside, from start to stop()."""

    def __init__(self, lab, name="outside"):
        self.lab = lab
        self.path = lab.folder / f"{name}.pcap"
        log = lab.folder / f"{name}.log"
        self.process = lab.start("gateway", "tcpdump", "-i", "m0", "-U", "-s", "0", "-Z", "root",
                                 "--immediate-mode", "-w", str(self.path), "tcp port 25", log=log)
        wait_for(lambda: "listening on" in log.read_text(errors="replace"), "tcpdump")

    def stop(self):
        """Ends it and returns what was captured. tcpdump drops what it has not read when it is told
        to end, so this waits until a last packet, made here, stands in the file."""
        with self.lab.socket("gateway", 4) as last:
            last.setsockopt(socket.SOL_SOCKET, SO_MARK, MARK)
            last.connect_ex((SENTINEL, 25))
        wait_for(lambda: SENTINEL_ADDRESS in self.path.read_bytes(), "the last packet")
        self.lab.stop(self.process, signal.SIGINT)
        return Traffic(self.path.read_bytes())


class Traffic:
    """TCP payloads of a capture file, put together per direction of a connection."""

    def __init__(self, data):
        self.packets = 0
        pieces = {}
        for frame in self._frames(data):
            if SENTINEL_ADDRESS in frame[26:34]:
                continue
            self.packets += 1
            self._take(frame, pieces)
        self.streams = {key: self._assemble(parts) for key, parts in pieces.items()}

    @staticmethod
    def _frames(data):
        at = 24
        while at + 16 <= len(data):
            size = struct.unpack("<I", data[at + 8:at + 12])[0]
            yield data[at + 16:at + 16 + size]
            at += 16 + size

    @staticmethod
    def _take(frame, pieces):
        family = ETHERTYPE.get(struct.unpack("!H", frame[12:14])[0])
        if family == 4:
            ip = frame[14:14 + struct.unpack("!H", frame[16:18])[0]]
            ends, tcp = (ip[12:16], ip[16:20]), ip[(ip[0] & 15) * 4:]
        elif family == 6:
            ip = frame[14:54 + struct.unpack("!H", frame[18:20])[0]]
            ends, tcp = (ip[8:24], ip[24:40]), ip[40:]
        else:
            return
        payload = tcp[(tcp[12] >> 4) * 4:]
        if payload:
            key = ends + (tcp[0:2], tcp[2:4])
            pieces.setdefault(key, {})[struct.unpack("!I", tcp[4:8])[0]] = payload

    @staticmethod
    def _assemble(parts):
        """By sequence number; a wrap of it in one capture is not worth its code here."""
        out, expected = bytearray(), None
        for number in sorted(parts):
            payload = parts[number]
            if expected is not None and number < expected:
                payload = payload[expected - number:]
            out += payload
            expected = max(expected or 0, number + len(parts[number]))
        return bytes(out)

    def in_clear(self, *words):
        """How many octets of these words can be read in all streams."""
        return sum(len(word) * stream.count(word) for word in words
                   for stream in self.streams.values())

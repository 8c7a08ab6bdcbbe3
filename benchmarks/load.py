"""A lean load generator: N connections, one request in flight on each, over epoll and raw sockets, in its own process.

Knows HTTP/1.1 framing and nothing else; must not import the product, so that it costs little of the machine it measures on.
Called by ``benchmarks.callbacks``: ``python -m benchmarks.load PORT CONNECTIONS FILE``; the file holds length-prefixed requests.
"""

import json
import select
import socket
import struct
import sys
import time
from pathlib import Path

SILENCE_SECONDS_MAX = 30
_LENGTH = struct.Struct("!I")


def requests_of(path: Path) -> list[bytes]:
    """Return the requests of a file, in order."""
    content, found, place = path.read_bytes(), [], 0
    while place < len(content):
        (size,) = _LENGTH.unpack_from(content, place)
        found.append(content[place + 4 : place + 4 + size])
        place += 4 + size
    return found


def written(path: Path, requests: list[bytes]) -> None:
    """Write requests to a file that ``requests_of`` reads."""
    path.write_bytes(b"".join(_LENGTH.pack(len(request)) + request for request in requests))


class Link:
    """One connection and the request that is in flight on it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.sent_at = 0.0

    def send(self, request: bytes) -> None:
        self.received = b""
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def answered(self) -> int | None:
        """Take what came in; return the status once the whole answer is there, and 0 when the connection ended."""
        part = self.socket.recv(65536)
        if not part:
            return 0
        received = self.received = self.received + part if self.received else part
        gap = received.find(b"\r\n\r\n")
        if gap < 0:
            return None
        marker = received.find(b"content-length:")
        length = int(received[marker + 15 : received.find(b"\r\n", marker)])
        return int(received[9:12]) if len(received) >= gap + 4 + length else None


def run(port: int, connections: int, requests: list[bytes]) -> dict[str, float]:
    """Send all requests, each on the next free connection. Returns rate (per second), p50 and p99 (ms), and counts of answers."""
    links = {(link := Link(port)).socket.fileno(): link for _ in range(min(connections, len(requests)))}
    poll = select.epoll()
    for number in links:
        poll.register(number, select.EPOLLIN)
    waiting = iter(requests)
    latencies: list[float] = []
    positive = 0
    begun = time.perf_counter()
    for link in links.values():
        link.send(next(waiting))
    in_flight = len(links)
    while in_flight:
        ready = poll.poll(SILENCE_SECONDS_MAX)
        if not ready:
            raise SystemExit(f"no answer for {SILENCE_SECONDS_MAX} s on {in_flight} connections")
        for number, _ in ready:
            link = links[number]
            status = link.answered()
            if status is None:
                continue
            latencies.append(time.perf_counter() - link.sent_at)
            positive += status in (200, 204, 303)
            request = next(waiting, None) if status else None
            if request is None:
                poll.unregister(number)
                in_flight -= 1
            else:
                link.send(request)
    seconds = time.perf_counter() - begun
    for link in links.values():
        link.socket.close()
    latencies.sort()
    return {
        "rate": len(latencies) / seconds,
        "seconds": seconds,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
        "answered": len(latencies),
        "positive": positive,
    }


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]), requests_of(Path(sys.argv[3])))))

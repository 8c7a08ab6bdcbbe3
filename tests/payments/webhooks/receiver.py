"""A lot's system: a real HTTP server on this machine that keeps what it gets and answers as it is told."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from msgspec import Struct


class Got(Struct, frozen=True):
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def content(self) -> Any:
        return msgspec.json.decode(self.body)


class Says(Struct, frozen=True):
    """An answer: status, headers, body, how long it takes to begin, and how often the body is repeated."""

    status: int = 204
    headers: dict[str, str] = {}
    body: bytes = b""
    after_seconds: float = 0.0
    times: int = 1


Answer = Callable[[Got], Says]


class Receiver:
    """The server; ``answer`` may be replaced at any time."""

    def __init__(self, host: str) -> None:
        self.got: list[Got] = []
        self.answer: Answer = lambda _: Says()
        self.at_once = 0
        self.at_once_max = 0
        self.connections: set[tuple[str, int]] = set()
        self.lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                got = Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                with receiver.lock:
                    receiver.got.append(got)
                    receiver.connections.add(self.client_address[:2])
                    receiver.at_once += 1
                    receiver.at_once_max = max(receiver.at_once_max, receiver.at_once)
                try:
                    self.say(receiver.answer(got))
                finally:
                    with receiver.lock:
                        receiver.at_once -= 1

            def say(self, says: Says) -> None:
                time.sleep(says.after_seconds)
                try:
                    self.send_response(says.status)
                    for name, value in says.headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(says.body) * says.times))
                    self.end_headers()
                    for _ in range(says.times):
                        self.wfile.write(says.body)
                except OSError:
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True
            request_queue_size = 256

        self._server = Server((host, 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def receiving(host: str = "127.0.0.1") -> Iterator[Receiver]:
    receiver = Receiver(host)
    try:
        yield receiver
    finally:
        receiver.close()

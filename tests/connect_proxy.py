"""A proxy for HTTPS in this process: CONNECT with user and password, and a tunnel."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PIECE = 2**16


@dataclass(frozen=True)
class Proxy:
    host: str
    requests: list[str]
    """of CONNECT: where to, and all header lines"""


@contextmanager
def connect_proxy(user: str, password: str) -> Generator[Proxy]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    requests: list[str] = []
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            self.close_connection = True
            requests.append(f"{self.path}\n{self.headers}")
            if self.headers["Proxy-Authorization"] != expected:
                self.send_error(407)
                return
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=30) as target:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=_relay, args=(target, self.connection))
                back.start()
                _relay(self.connection, target)
                back.join()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the base class
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Proxy(f"127.0.0.1:{server.server_address[1]}", requests)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _relay(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(_PIECE):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # either side has gone

"""A registry in this process that misbehaves as told: each request is answered by a function of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.oci_builder import Image, sha256


@dataclass(frozen=True)
class Request:
    path: str
    """with its query"""
    headers: Mapping[str, str]
    """names in lower case"""
    method: str = "GET"
    body: bytes = b""


@dataclass(frozen=True)
class Response:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut: int | None = None
    """send only so many bytes of the body, then close the connection"""
    endless: bool = False
    """no Content-Length, and zeros after the body until the client goes away"""
    halt: Callable[[], object] | None = None
    """called when half of the body is sent; the rest follows"""


class Clock:
    """A clock that goes when told, and `step_s` each time somebody looks at it."""

    def __init__(self) -> None:
        self.time_s = 1000.0
        self.step_s = 0.0

    def __call__(self) -> float:
        self.time_s += self.step_s
        return self.time_s


Behaviour = Callable[[Request], Response]


@dataclass
class FaultRegistry:
    host: str
    """host:port"""
    requests: list[Request]

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


@contextmanager
def fault_registry(behaviour: Behaviour) -> Generator[FaultRegistry]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    requests: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            request = Request(self.path, headers, self.command, body)
            requests.append(request)
            try:
                self._send(behaviour(request))
            except OSError:
                self.close_connection = True

        do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815  # names of the base class

        def _send(self, response: Response) -> None:
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            if not response.endless and "Content-Length" not in response.headers:
                self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            for piece in _pieces(response):
                self.wfile.write(piece)
            if response.cut is not None:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the base class
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield FaultRegistry(f"127.0.0.1:{server.server_address[1]}", requests)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _pieces(response: Response) -> Iterator[bytes]:
    """Yield what is sent after the headers."""
    body = response.body if response.cut is None else response.body[: response.cut]
    if response.halt is not None:
        half = len(body) // 2
        yield body[:half]
        response.halt()
        body = body[half:]
    yield body
    while response.endless:
        yield bytes(2**16)


def serving(image: Image) -> Behaviour:
    """Return the behaviour of a registry that has `image`, under any name and tag, and works."""

    def behave(request: Request) -> Response:
        name = request.path.rpartition("/")[2]
        if "/manifests/" in request.path:
            known = not name.startswith("sha256:") or name == sha256(image.manifest)
            return Response(body=image.manifest) if known else Response(404)
        blob = image.blobs.get(name)
        return Response(404) if blob is None else ranged(request, blob)

    return behave


def ranged(request: Request, blob: bytes) -> Response:
    """Return all of `blob`, or what the request's Range asks for."""
    wanted = request.headers.get("range")
    if wanted is None:
        return Response(body=blob)
    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    headers = {"Content-Range": f"bytes {start}-{len(blob) - 1}/{len(blob)}"}
    return Response(206, blob[start:], headers)

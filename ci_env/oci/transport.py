"""HTTP as registries need it: redirects that keep credentials home, retries that respect the server. urllib3's door.

Knows no registry endpoint and no token flow. Answers are handed on as they are, except those worth another try.
"""

from __future__ import annotations

import email.utils
import random
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, cast
from urllib.parse import unquote, urlencode, urljoin, urlsplit, urlunsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from ci_env.errors import RegistryError
from ci_env.frozen import dataclass
from ci_env.oci.auth import origin, redact
from ci_env.oci.certificates import CERTIFICATES, own_certificates, tls_context
from ci_env.oci.verify import Reader

_TRANSIENT_STATUS = {408, 429, 499, 500, 502, 503, 504, 522}
_REDIRECTS = {301, 302, 303, 307, 308}
_MAX_REDIRECTS = 10
_TRIES = 4
_UNREACHABLE_TRIES = 2
_MAX_PAUSE_S = 60.0
_DEADLINE_S = 300.0
_PIECE = 2**18
_CONNECTIONS = 3  # that are kept for the next request to a host
_TIMEOUT = urllib3.Timeout(connect=15, read=60)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response whose body is still to be read. The caller closes it."""

    response: urllib3.BaseHTTPResponse
    url: str
    """that gave it, after redirects"""
    now: Callable[[], float]

    @property
    def status(self) -> int:
        return self.response.status

    def header(self, name: str) -> str:
        return self.response.headers.get(name, "")

    def headers(self, name: str) -> list[str]:
        """Return the values of a header that may be there several times."""
        return self.response.headers.getlist(name)

    def read(self, size: int, /) -> bytes:
        """Return 1 to `size` bytes; none at the end. HTTPError (urllib3's) if it breaks off."""
        return self.response.read(size, decode_content=False)

    def read_all(self, *, limit: int) -> bytes:
        """Return the body, or its first `limit` bytes. RegistryError if it breaks off or takes over five minutes."""
        pieces: list[bytes] = []
        deadline = self.now() + _DEADLINE_S
        try:
            while limit > 0 and (piece := self.response.read1(min(limit, _PIECE), decode_content=False)):
                pieces.append(piece)
                limit -= len(piece)
                if self.now() > deadline:
                    raise RegistryError(f"the answer of {redact(self.url)} takes too long", hint="try again later")
        except (HTTPError, OSError) as error:
            raise RegistryError(f"the answer of {redact(self.url)} broke off: {error}", hint="try again") from error
        return b"".join(pieces)

    def discard(self) -> None:
        """Close it; the connection serves again if little is left to read."""
        try:
            self.read_all(limit=_PIECE)
        except RegistryError:
            pass  # nobody wants to know what broke off
        finally:
            self.close()

    def close(self) -> None:
        self.response.close()


class Transport:
    """Sends requests, of several threads at a time. A context manager: it keeps connections open."""

    def __init__(
        self,
        *,
        pause: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
        certificates: Path = CERTIFICATES,
    ) -> None:
        self._pause = pause
        self._now = now
        self._certificates = certificates
        self._pools: dict[tuple[str, str | None, Path | None], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self._pools.values():
            pool.clear()
        self._pools.clear()

    def get(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        authorization: str | None = None,
        check: Callable[[str], None] = lambda _: None,
        method: Literal["GET", "HEAD"] = "GET",
    ) -> Answer:
        """Return the answer to a GET request, after redirects and, for passing trouble, up to three more tries.

        `authorization` goes to the scheme, host and port of `url` only. `check` may refuse where a redirect leads.
        RegistryError says why there is no answer. No try begins more than five minutes after the first.
        """
        return self._tried(lambda: self._follow(method, url, headers, authorization, check))

    def send(
        self,
        method: Literal["POST", "PUT", "PATCH", "DELETE"],
        url: str,
        headers: Mapping[str, str],
        body: bytes | Reader,
        *,
        authorization: str | None,
    ) -> Answer:
        """Return the answer to a request that changes something; it goes to no place that a redirect leads to.

        Sent again for passing trouble, as `get`, where `body` is bytes; a Reader, with its Content-Length among
        `headers`, is sent once.
        """
        credentials = {"Authorization": authorization} if authorization else {}

        def send() -> Answer:
            return Answer(self._send(method, url, {**headers, **credentials}, body), url, self._now)

        if isinstance(body, bytes):
            return self._tried(send)
        try:
            return send()
        except _NoAnswerError as failed:
            raise _unreachable(failed.url, failed.error) from failed.error

    def _tried(self, attempt: Callable[[], Answer]) -> Answer:
        tries, deadline = 0, self._now() + _DEADLINE_S
        while True:
            tries += 1
            try:
                answer = attempt()
            except _NoAnswerError as failed:
                pause = _backoff(tries)
                if tries >= _tries(failed.error) or self._now() + pause > deadline:
                    raise _unreachable(failed.url, failed.error) from failed.error
            else:
                if answer.status not in _TRANSIENT_STATUS or tries == _TRIES:
                    return answer
                pause = _retry_after(answer.header("Retry-After"), tries)
                if pause > _MAX_PAUSE_S or self._now() + pause > deadline:
                    return answer
                answer.discard()
            self._pause(pause)

    def post(self, url: str, fields: Sequence[tuple[str, str]]) -> Answer:
        """Return the answer to a form, which is sent once, and not to where a redirect leads: it holds secrets."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            return Answer(self._send("POST", url, headers, urlencode(fields).encode()), url, self._now)
        except _NoAnswerError as failed:
            raise _unreachable(failed.url, failed.error) from failed.error

    def _follow(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        authorization: str | None,
        check: Callable[[str], None],
    ) -> Answer:
        home = origin(url)
        for _ in range(_MAX_REDIRECTS + 1):
            credentials = {"Authorization": authorization} if authorization and origin(url) == home else {}
            answer = Answer(self._send(method, url, {**headers, **credentials}), url, self._now)
            if answer.status not in _REDIRECTS:
                return answer
            answer.discard()
            url = _redirected(url, answer.header("Location"))
            check(url)
        raise RegistryError(f"{redact(url)} redirects more than {_MAX_REDIRECTS} times")

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Reader | None = None
    ) -> urllib3.BaseHTTPResponse:
        # gzip'd by the server on its way, content would no longer have its digest
        complete = {"User-Agent": "ci-env", "Accept-Encoding": "identity", **headers}
        pool = self._pool(url)
        try:
            return pool.request(
                method,
                url,
                body=cast("bytes | BinaryIO | None", body),  # of a file it only asks `read`
                headers=complete,
                preload_content=False,
                redirect=False,
                retries=False,
                timeout=_TIMEOUT,
            )
        except HTTPError as error:
            raise _NoAnswerError(url, error) from error

    def _pool(self, url: str) -> urllib3.PoolManager:
        """Return the connections for a URL: those to a host with certificates of its own are apart."""
        scheme = urlsplit(url).scheme
        key = (scheme, _proxy(url), own_certificates(url, self._certificates))
        with self._lock:
            if key not in self._pools:
                self._pools[key] = _new_pool(key[1], tls_context(key[2]) if scheme == "https" else None)
            return self._pools[key]


class _NoAnswerError(Exception):
    """urllib3's error, and what was asked: after a redirect that is another host."""

    def __init__(self, url: str, error: HTTPError) -> None:
        super().__init__(url, error)
        self.url = url
        self.error = error


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only be this machine."""
    return host in ("localhost", "::1") or (host.startswith("127.") and host.replace(".", "").isdigit())


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment asks for (http_proxy, https_proxy, all_proxy, no_proxy)."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _new_pool(proxy: str | None, context: ssl.SSLContext | None) -> urllib3.PoolManager:
    if proxy is None:
        return urllib3.PoolManager(maxsize=_CONNECTIONS, ssl_context=context)
    address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    login, _, place = address.netloc.rpartition("@")
    headers = urllib3.make_headers(proxy_basic_auth=unquote(login)) if login else None
    plain = urlunsplit((address.scheme, place, "", "", ""))
    return urllib3.ProxyManager(plain, maxsize=_CONNECTIONS, proxy_headers=headers, ssl_context=context)


def _redirected(url: str, location: str) -> str:
    """Return where a redirect leads. Never to what is not encrypted, but between this machine's own servers."""
    try:
        target = urljoin(url, location) if location else ""
        scheme, host, _ = origin(target)
    except ValueError:
        target, scheme, host = "", "", None
    is_plain_here = scheme == "http" and host is not None and is_loopback(host) and not url.startswith("https:")
    if not host or not (scheme == "https" or is_plain_here):
        raise RegistryError(f"{redact(url)} redirects to {redact(target) or 'nowhere'}, which is refused")
    return target


def _tries(error: HTTPError) -> int:
    """Return how often to try what ends in `error`. A certificate does not get better; a broken connection does."""
    if isinstance(error, SSLError):
        return _TRIES if isinstance(_cause(error), ssl.SSLEOFError) else 1
    return _UNREACHABLE_TRIES if isinstance(error, NewConnectionError) else _TRIES


def _backoff(tries: int) -> float:
    """Return 1, 3, 9... seconds, spread by a quarter so that many clients do not come back at once."""
    return min(3.0 ** (tries - 1), _MAX_PAUSE_S) * random.uniform(0.75, 1.25)  # noqa: S311  # no secret


def _retry_after(header: str, tries: int) -> float:
    """Return the pause that the server asks for: seconds or a date (RFC 9110 section 10.2.3); else our own."""
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return _backoff(tries)


def _unreachable(url: str, error: HTTPError) -> RegistryError:
    """Return what to tell when there was no answer. NameResolutionError is a NewConnectionError, so it comes first."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    if isinstance(error, NameResolutionError):
        return RegistryError(
            f"there is no host {host}", hint="check the registry's name, and that this machine has DNS"
        )
    if isinstance(error, ProxyError):
        return RegistryError(f"the proxy to {host} failed: {error}", hint="check https_proxy and no_proxy")
    if isinstance(error, SSLError):
        return RegistryError(f"no trusted connection to {host}: {error}", hint=_tls_hint(host, error))
    if isinstance(error, NewConnectionError):
        reason = str(error.__cause__ or error)
        return RegistryError(f"cannot connect to {host}: {reason}", hint="is the registry running, and the port right?")
    if isinstance(error, ConnectTimeoutError | HTTPTimeoutError):
        return RegistryError(f"{host} did not answer in time", hint="try again; check the network and https_proxy")
    if isinstance(error, LocationParseError):
        return RegistryError(f"{host} is not a valid host name")
    return RegistryError(f"the connection to {host} broke: {error}", hint="try again")


def _cause(error: SSLError) -> object:
    return error.args[0] if error.args else None


def _tls_hint(host: str, error: SSLError) -> str:
    if isinstance(_cause(error), ssl.SSLCertVerificationError):
        return f"for a private authority, name its file in SSL_CERT_FILE, or put it in {CERTIFICATES / host}/ca.crt"
    if "alert" in str(error):
        return f"it may want a client certificate: put it in {CERTIFICATES / host}/client.cert, its key in client.key"
    return "does it speak HTTPS there? Plain HTTP is only for registries on this machine, such as localhost:5000"

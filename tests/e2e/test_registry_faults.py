"""Pulls from a registry that misbehaves: what is tried again, what is refused, what is told, what is left."""

from __future__ import annotations

import email.utils
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ci_env.digest import Digest
from ci_env.errors import ConfigError, IntegrityError, RegistryError
from ci_env.events import Event, Progress
from ci_env.oci.platform import Platform
from ci_env.oci.pull import PulledImage, pull
from ci_env.oci.reference import parse
from ci_env.oci.registries import Registries
from tests.fault_registry import Behaviour, Clock, FaultRegistry, Request, Response, fault_registry, ranged, serving
from tests.layer_directory import LayerDirectory
from tests.oci_builder import Image, compress, d, f, image, sha256, tar

AMD64 = Platform("linux", "amd64")
SMALL = tar([d("etc"), f("etc/motd", "hello")])
LARGE = tar([f("noise", bytes((i * 7919 >> 5) & 0xFF for i in range(3 * 2**20)))])
ONE = image([SMALL])


class Puller:
    """Pulls `name` from a registry that behaves as told."""

    def __init__(self, path: Path) -> None:
        self.place = LayerDirectory(path / "layers")
        self.events: list[Event] = []
        self.pauses: list[float] = []
        self.clock = Clock()

    def pull(self, registry: FaultRegistry, name: str = "team/app:1") -> PulledImage:
        registries = Registries({}, self.events.append, pause=self._pause, now=self.clock)
        with registries.image(parse(f"{registry.host}/{name}")) as source:
            return pull(source, AMD64, self.place, self.events.append)

    def _pause(self, time_s: float) -> None:
        self.pauses.append(time_s)
        self.clock.time_s += time_s

    def pull_from(self, behaviour: Behaviour, name: str = "team/app:1") -> FaultRegistry:
        with fault_registry(behaviour) as registry:
            self.pull(registry, name)
        return registry

    def assert_nothing_is_left(self) -> None:
        assert self.place.complete() == set()
        assert self.place.blobs == {}


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(tmp_path)


def blob_changed(content: Image, change: Callable[[Request, bytes], Response]) -> Behaviour:
    """Return a registry that works but for the content of its first layer."""
    normal = serving(content)

    def behave(request: Request) -> Response:
        if request.path.endswith(sha256(content.layers[0])):
            return change(request, content.layers[0])
        return normal(request)

    return behave


def once(first: Response, then: Behaviour, *, at: str = "/") -> Behaviour:
    """Return a registry whose first answer to a path with `at` in it is `first`."""
    left = [first]
    return lambda request: left.pop() if left and at in request.path else then(request)


def test_pull_gives_all_there_is(puller: Puller) -> None:
    with fault_registry(serving(ONE)) as registry:
        pulled = puller.pull(registry)
    assert pulled.manifest == sha256(ONE.manifest)
    assert pulled.chain == tuple(ONE.diff_ids)
    assert (puller.place.layer(pulled.chain[0]) / "etc" / "motd").read_text() == "hello"
    assert set(puller.place.blobs.values()) == {ONE.manifest, ONE.config}
    last = puller.events[-1]
    size = len(ONE.layers[0])
    assert last == Progress(f"layer {sha256(ONE.layers[0])[:19]}", size, size, finished=True)


def test_a_second_pull_costs_one_request(puller: Puller) -> None:
    with fault_registry(serving(ONE)) as registry:
        first = puller.pull(registry)
        before = len(registry.requests)
        assert puller.pull(registry) == first
    assert registry.paths()[before:] == ["/v2/team/app/manifests/1"]
    assert len(puller.place.unpacked) == 1


def test_an_image_that_shares_layers_costs_what_is_new(puller: Puller) -> None:
    more = image([SMALL, tar([f("more")])])
    with fault_registry(serving(ONE)) as registry:
        puller.pull(registry)
    registry = puller.pull_from(serving(more))
    new = [f"/v2/team/app/blobs/{sha256(blob)}" for blob in (more.config, more.layers[1])]
    assert registry.paths() == ["/v2/team/app/manifests/1", *new]


def test_a_network_that_is_slow_is_waited_for_once(puller: Puller) -> None:
    """Three layers are asked for at a time, as the server sees it; never more."""
    content = image([tar([f(f"file {number}", str(number))]) for number in range(6)])
    normal, lock = serving(content), threading.Lock()
    now, most = 0, 0

    def behave(request: Request) -> Response:
        nonlocal now, most
        if not any(request.path.endswith(sha256(layer)) for layer in content.layers):
            return normal(request)
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.3)
        with lock:
            now -= 1
        return normal(request)

    registry = puller.pull_from(behave)
    assert most == 3
    assert puller.place.unpacked == [*pulled_chain(content)]
    assert len(registry.requests) == 2 + len(content.layers)


def pulled_chain(content: Image) -> Iterator[str]:
    chain = ""
    for diff_id in content.diff_ids:
        chain = sha256(f"{chain} {diff_id}".encode()) if chain else diff_id
        yield chain


def test_what_is_wrong_with_a_layer_is_told_where_it_is_wanted(puller: Puller) -> None:
    content = image([tar([f(f"file {number}")]) for number in range(3)])
    normal = serving(content)
    gone = sha256(content.layers[2])
    with pytest.raises(RegistryError, match="but not its layer"):
        puller.pull_from(lambda request: Response(404) if request.path.endswith(gone) else normal(request))
    assert puller.place.unpacked == [*pulled_chain(content)][:2]


def test_identity_is_asked_for(puller: Puller) -> None:
    registry = puller.pull_from(serving(ONE))
    assert {request.headers["accept-encoding"] for request in registry.requests} == {"identity"}


class TestWrongContent:
    def test_flipped_byte_is_tried_once_more_and_then_an_error(self, puller: Puller) -> None:
        def flip(_: Request, blob: bytes) -> Response:
            return Response(body=blob[:40] + bytes([blob[40] ^ 1]) + blob[41:])

        with fault_registry(blob_changed(ONE, flip)) as registry, pytest.raises(IntegrityError) as caught:
            puller.pull(registry)
        assert sha256(ONE.layers[0]) in caught.value.message
        assert caught.value.message.count("sha256:") == 3  # the layer's short name, found, promised
        assert sum(sha256(ONE.layers[0]) in path for path in registry.paths()) == 2
        puller.assert_nothing_is_left()

    def test_flipped_byte_that_heals(self, puller: Puller) -> None:
        body = ONE.layers[0][:-1] + b"\xff"
        puller.pull_from(once(Response(body=body), serving(ONE), at=sha256(ONE.layers[0])))
        assert len(puller.place.unpacked) == 1

    @pytest.mark.parametrize("heals", [True, False])
    def test_a_damaged_config_is_tried_once_more(self, puller: Puller, heals: bool) -> None:
        answers = [Response(body=b"?" * len(ONE.config)) for _ in range(1 if heals else 2)]
        normal, name = serving(ONE), sha256(ONE.config)
        with fault_registry(lambda r: answers.pop() if answers and r.path.endswith(name) else normal(r)) as registry:
            if heals:
                puller.pull(registry)
            else:
                with pytest.raises(IntegrityError, match=name):
                    puller.pull(registry)
        assert sum(path.endswith(name) for path in registry.paths()) == 2

    @pytest.mark.parametrize("change", [-1, 1])
    def test_d4_size_is_not_what_the_manifest_says(self, puller: Puller, change: int) -> None:
        def resize(_: Request, blob: bytes) -> Response:
            return Response(body=blob[:-1] if change < 0 else blob + b"\0")

        with pytest.raises(IntegrityError, match=r"ends after|longer than"):
            puller.pull_from(blob_changed(ONE, resize))
        puller.assert_nothing_is_left()

    def test_endless_body_is_cut(self, puller: Puller) -> None:
        before = time.monotonic()
        with pytest.raises(IntegrityError, match="longer than"):
            puller.pull_from(blob_changed(ONE, lambda _, blob: Response(body=blob, endless=True)))
        assert time.monotonic() - before < 5
        puller.assert_nothing_is_left()

    def test_endless_manifest_is_cut(self, puller: Puller) -> None:
        with pytest.raises(RegistryError, match="over 4 MiB"):
            puller.pull_from(lambda _: Response(body=b"{", endless=True))

    def test_wrong_manifest_for_a_digest(self, puller: Puller) -> None:
        asked = "sha256:" + "0" * 64
        with pytest.raises(IntegrityError, match=asked):
            puller.pull_from(lambda _: Response(body=ONE.manifest), f"team/app@{asked}")

    def test_docker_content_digest_that_lies(self, puller: Puller) -> None:
        lie = {"Docker-Content-Digest": "sha256:" + "0" * 64}
        with pytest.raises(IntegrityError):
            puller.pull_from(lambda _: Response(body=ONE.manifest, headers=lie))

    @pytest.mark.parametrize("count", [0, 2])
    def test_d1_d2_number_of_diff_ids(self, puller: Puller, count: int) -> None:
        with pytest.raises(ConfigError, match=f"{count} diff_ids, but the manifest has 1 layers"):
            puller.pull_from(serving(image([SMALL], diff_ids=[sha256(SMALL)] * count)))
        puller.assert_nothing_is_left()

    def test_d3_wrong_diff_id(self, puller: Puller) -> None:
        promised = "sha256:" + "0" * 64
        with pytest.raises(IntegrityError) as caught:
            puller.pull_from(serving(image([SMALL], diff_ids=[promised])))
        assert promised in caught.value.message
        assert sha256(SMALL) in caught.value.message
        puller.assert_nothing_is_left()

    def test_a_layer_that_is_no_archive(self, puller: Puller) -> None:
        with pytest.raises(ConfigError, match="not a valid tar archive"):
            puller.pull_from(serving(image([b"\x01" * 1024])))
        puller.assert_nothing_is_left()


class TestConnections:
    def test_a_truncated_blob_is_resumed_where_it_broke(self, puller: Puller) -> None:
        large = image([LARGE], compression="none")

        def cut(request: Request, blob: bytes) -> Response:
            whole = ranged(request, blob)
            return whole if "range" in request.headers else Response(body=blob, cut=2 * 2**20)

        registry = puller.pull_from(blob_changed(large, cut))
        ranges = [request.headers["range"] for request in registry.requests if "range" in request.headers]
        assert ranges == [f"bytes={2 * 2**20}-"]
        assert len(puller.place.unpacked) == 1

    def test_a_server_that_ignores_ranges(self, puller: Puller) -> None:
        large = image([LARGE], compression="none")
        answers = [Response(body=large.layers[0]), Response(body=large.layers[0], cut=2 * 2**20)]
        puller.pull_from(blob_changed(large, lambda _, __: answers.pop()))
        assert len(puller.place.unpacked) == 1

    def test_a_range_that_was_not_asked_for(self, puller: Puller) -> None:
        large = image([LARGE], compression="none")
        headers = {"Content-Range": f"bytes 5-{len(LARGE) - 1}/{len(LARGE)}"}
        answers = [Response(206, LARGE[5:], headers), Response(body=LARGE, cut=2**20)]
        with pytest.raises(RegistryError, match="range"):
            puller.pull_from(blob_changed(large, lambda _, __: answers.pop()))
        puller.assert_nothing_is_left()

    @pytest.mark.parametrize("found", ["", "bytes 1048576-3145727/*", "bytes 1048576-3145727/3145728, bytes 0-1/2"])
    def test_a_range_that_is_not_said_exactly(self, puller: Puller, found: str) -> None:
        large = image([LARGE], compression="none")
        answers = [
            Response(206, LARGE[2**20 :], {"Content-Range": found} if found else {}),
            Response(body=LARGE, cut=2**20),
        ]
        with pytest.raises(RegistryError, match="was asked for the range 'bytes 1048576-"):
            puller.pull_from(blob_changed(large, lambda _, __: answers.pop()))
        puller.assert_nothing_is_left()

    def test_a_range_that_the_server_does_not_have(self, puller: Puller) -> None:
        large = image([LARGE], compression="none")
        answers = [Response(body=LARGE), Response(416), Response(body=LARGE, cut=2**20)]
        registry = puller.pull_from(blob_changed(large, lambda _, __: answers.pop()))
        assert [request.headers.get("range") for request in registry.requests[-2:]] == [f"bytes={2**20}-", None]
        assert len(puller.place.unpacked) == 1

    @pytest.mark.parametrize("status", [206, 416])
    def test_a_part_that_nobody_asked_for(self, puller: Puller, status: int) -> None:
        with pytest.raises(RegistryError, match=f"with status {status}"):
            puller.pull_from(blob_changed(ONE, lambda _, blob: Response(status, blob)))
        puller.assert_nothing_is_left()

    def test_a_different_content_after_the_break(self, puller: Puller) -> None:
        large = image([LARGE], compression="none")
        changed = LARGE[: 2**21] + b"?" + LARGE[2**21 + 1 :]

        def resume(request: Request, blob: bytes) -> Response:
            return ranged(request, changed) if "range" in request.headers else Response(body=blob, cut=2**20)

        with pytest.raises(IntegrityError, match=sha256(large.layers[0])):
            puller.pull_from(blob_changed(large, resume))
        puller.assert_nothing_is_left()

    @pytest.mark.parametrize(("piece", "arrives"), [(10, True), (1, False)])
    def test_slow_progress_is_progress_but_not_for_ever(self, puller: Puller, piece: int, arrives: bool) -> None:
        noise = image([tar([f("noise", bytes(i * i % 251 for i in range(200)))])])

        def cut(request: Request, blob: bytes) -> Response:
            puller.clock.time_s += 61
            whole = ranged(request, blob)
            return Response(whole.status, whole.body, whole.headers, cut=piece)

        with fault_registry(blob_changed(noise, cut)) as registry:
            if arrives:
                puller.pull(registry)
                return
            with pytest.raises(RegistryError, match="broke at byte 101 of"):
                puller.pull(registry)
        puller.assert_nothing_is_left()

    def test_a_document_that_trickles_is_given_up(self, puller: Puller) -> None:
        puller.clock.step_s = 50
        with pytest.raises(RegistryError, match="takes too long"):
            puller.pull_from(lambda _: Response(body=b"{" * 2**22))

    def test_no_progress_is_given_up(self, puller: Puller) -> None:
        def cut(request: Request, blob: bytes) -> Response:
            whole = ranged(request, blob)
            return Response(whole.status, whole.body, whole.headers, cut=1)

        with pytest.raises(RegistryError, match="broke at byte 2 of"):
            puller.pull_from(blob_changed(ONE, cut))
        puller.assert_nothing_is_left()

    def test_refused(self, puller: Puller) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            registry = FaultRegistry(f"127.0.0.1:{unused.getsockname()[1]}", [])
            with pytest.raises(RegistryError, match=r"cannot connect to 127\.0\.0\.1:\d+: .*refused") as caught:
                puller.pull(registry)
        assert caught.value.hint == "is the registry running, and the port right?"

    def test_unknown_host(self, puller: Puller) -> None:
        with pytest.raises(RegistryError, match=r"there is no host nowhere\.invalid"):
            puller.pull(FaultRegistry("nowhere.invalid", []))


def test_plain_http_needs_no_authorities(puller: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    puller.pull_from(serving(ONE))


class TestAnswers:
    def test_404_names_the_image(self, puller: Puller) -> None:
        error = json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown\x1b[31m"}]})
        failing = fault_registry(lambda _: Response(404, error.encode()))
        with failing as registry, pytest.raises(RegistryError) as caught:
            puller.pull(registry)
        expected = f"{registry.host} has no image {registry.host}/team/app:1: manifest unknown\\x1b[31m"
        assert caught.value.message == expected

    def test_404_of_a_layer(self, puller: Puller) -> None:
        with pytest.raises(RegistryError, match=f"but not its layer or config {sha256(ONE.layers[0])}"):
            puller.pull_from(blob_changed(ONE, lambda _, __: Response(404)))

    @pytest.mark.parametrize("status", [403, 401])
    def test_denied(self, puller: Puller, status: int) -> None:
        behaviour = token_server(ONE, accept="never")
        with pytest.raises(RegistryError, match="denies access") as caught:
            puller.pull_from(behaviour if status == 401 else lambda _: Response(403))
        assert (caught.value.hint or "").startswith("the image does not exist, or it is private; log in: docker login ")

    def test_429_waits_as_long_as_asked(self, puller: Puller) -> None:
        puller.pull_from(once(Response(429, headers={"Retry-After": "7"}), serving(ONE)))
        assert puller.pauses == [7.0]

    def test_429_with_a_date(self, puller: Puller) -> None:
        date = email.utils.formatdate(time.time() + 20, usegmt=True)
        puller.pull_from(once(Response(429, headers={"Retry-After": date}), serving(ONE)))
        assert 15 < puller.pauses[0] < 21

    def test_429_for_too_long_fails_at_once(self, puller: Puller) -> None:
        with pytest.raises(RegistryError, match="limits how much") as caught:
            puller.pull_from(lambda _: Response(429, headers={"Retry-After": "3600"}))
        assert caught.value.hint == "it asks to wait 3600 seconds"
        assert puller.pauses == []

    @pytest.mark.parametrize("wait", ["soon", "-5", "²", "1.5", "Thu, 99 Foo 2024", "Mon, 01 Jan 99999 00:00:00 GMT"])
    def test_429_with_a_pause_that_nobody_understands(self, puller: Puller, wait: str) -> None:
        puller.pull_from(once(Response(429, headers={"Retry-After": wait}), serving(ONE)))
        assert 0.75 <= puller.pauses[0] <= 1.25

    def test_429_with_a_date_that_is_over(self, puller: Puller) -> None:
        past = {"Retry-After": "Mon, 01 Jan 2024 00:00:00 GMT"}
        puller.pull_from(once(Response(429, headers=past), serving(ONE)))
        assert puller.pauses == [0.0]

    @pytest.mark.parametrize("status", [408, 429, 499, 500, 502, 503, 504, 522])
    def test_statuses_that_pass(self, puller: Puller, status: int) -> None:
        puller.pull_from(once(Response(status), serving(ONE), at="/blobs/"))
        assert len(puller.pauses) == 1

    def test_no_try_begins_after_five_minutes(self, puller: Puller) -> None:
        def slow(_: Request) -> Response:
            puller.clock.time_s += 160
            return Response(503, headers={"Retry-After": "60"})

        with fault_registry(slow) as registry, pytest.raises(RegistryError, match="status 503"):
            puller.pull(registry)
        assert (len(registry.requests), puller.pauses) == (2, [60.0])

    def test_passing_trouble_is_tried_four_times(self, puller: Puller) -> None:
        with fault_registry(lambda _: Response(503)) as registry, pytest.raises(RegistryError, match="status 503"):
            puller.pull(registry)
        assert len(registry.requests) == 4
        assert len(puller.pauses) == 3
        assert all(0.75 * 3**i <= pause <= 1.25 * 3**i for i, pause in enumerate(puller.pauses))

    def test_other_refusals_are_not_tried_again(self, puller: Puller) -> None:
        with fault_registry(lambda _: Response(400)) as registry, pytest.raises(RegistryError, match="status 400"):
            puller.pull(registry)
        assert len(registry.requests) == 1


def token_server(content: Image, *, accept: str = "Bearer t1", realm: str = "http://{host}/token") -> Behaviour:
    """Return a registry that wants a token, and gives one at its own /token."""
    normal = serving(content)

    def behave(request: Request) -> Response:
        if request.path.startswith("/token"):
            return Response(body=b'{"token": "t1"}')
        if request.headers.get("authorization") == accept:
            return normal(request)
        target = realm.format(host=request.headers["host"])
        challenge = f'Bearer realm="{target}",service="a, \\"b\\"",scope="repository:team/app:pull"'
        return Response(401, headers={"WWW-Authenticate": challenge})

    return behave


class TestTokens:
    def test_flow(self, puller: Puller) -> None:
        registry = puller.pull_from(token_server(ONE))
        (token,) = [path for path in registry.paths() if path.startswith("/token")]
        assert parse_qs(urlsplit(token).query) == {"service": ['a, "b"'], "scope": ["repository:team/app:pull"]}
        assert len(puller.place.unpacked) == 1

    def test_expired_token_is_renewed(self, puller: Puller) -> None:
        expired = Response(401, headers={"WWW-Authenticate": 'bearer realm="http://{host}/token"'})
        with fault_registry(lambda request: behaviour(request)) as registry:
            fresh = {"WWW-Authenticate": f'bearer realm="http://{registry.host}/token"'}
            behaviour = once(Response(expired.status, headers=fresh), token_server(ONE), at="/blobs/")
            puller.pull(registry)
        tokens = [path for path in registry.paths() if path.startswith("/token")]
        assert len(tokens) == 2
        assert "scope=repository%3Ateam%2Fapp%3Apull" in tokens[1]

    @pytest.mark.parametrize(
        "realm",
        [
            "http://127.0.0.2:9/token",
            "https://169.254.169.254/token",
            "https://10.0.0.1/t",
            "ftp://{host}/",
            "file:///",
        ],
    )
    def test_realms_that_no_token_server_has(self, puller: Puller, realm: str) -> None:
        with pytest.raises(RegistryError, match="for a token: refused"):
            puller.pull_from(token_server(ONE, realm=realm))

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 1}', b'{"token": "a\\r\\nX: y"}'])
    def test_answers_without_a_token(self, puller: Puller, body: bytes) -> None:
        normal = token_server(ONE)
        with pytest.raises(RegistryError, match="gave no token"):
            puller.pull_from(lambda r: Response(body=body) if r.path.startswith("/token") else normal(r))

    @pytest.mark.parametrize("challenge", ["", "Basic realm=x", "Negotiate abc=="])
    def test_logins_that_are_not_supported(self, puller: Puller, challenge: str) -> None:
        with pytest.raises(RegistryError, match="wants a login"):
            puller.pull_from(lambda _: Response(401, headers={"WWW-Authenticate": challenge}))


class TestRedirects:
    def test_credentials_stay_home(self, puller: Puller) -> None:
        blob = sha256(ONE.layers[0])
        normal = token_server(ONE)
        with fault_registry(lambda request: ranged(request, ONE.layers[0])) as storage:

            def behave(request: Request) -> Response:
                answer = normal(request)
                if request.path.endswith(blob) and answer.status == 200:
                    return Response(307, headers={"Location": f"http://{storage.host}/{blob}?signature=secret"})
                return answer

            puller.pull_from(behave)
        assert storage.paths() == [f"/{blob}?signature=secret"]
        assert "authorization" not in storage.requests[0].headers

    def test_a_401_of_another_host_gets_no_token(self, puller: Puller) -> None:
        challenge = {"WWW-Authenticate": 'Bearer realm="https://evil.example/token"'}
        with fault_registry(lambda _: Response(401, headers=challenge)) as storage:
            there = {"Location": f"http://{storage.host}/x?signature=secret"}
            with pytest.raises(RegistryError, match="denies access") as caught:
                puller.pull_from(blob_changed(ONE, lambda _, __: Response(302, headers=there)))
        assert "secret" not in caught.value.message
        assert len(storage.requests) == 1

    @pytest.mark.parametrize("target", ["", "ftp://127.0.0.1/x", "http://plain.example/x", "http://[bad/"])
    def test_refused(self, puller: Puller, target: str) -> None:
        with pytest.raises(RegistryError, match="redirects to"):
            puller.pull_from(lambda _: Response(302, headers={"Location": target}))

    @pytest.mark.parametrize(
        ("target", "told"),
        [("https://nowhere.invalid/", "there is no host nowhere.invalid"), ("https://a..b/", "a..b is not")],
    )
    def test_to_what_does_not_answer(self, puller: Puller, target: str, told: str) -> None:
        with pytest.raises(RegistryError, match=re.escape(told)):
            puller.pull_from(lambda _: Response(302, headers={"Location": target}))

    def test_loops(self, puller: Puller) -> None:
        circling = fault_registry(lambda r: Response(302, headers={"Location": r.path}))
        with circling as registry, pytest.raises(RegistryError, match="more than 10 times"):
            puller.pull(registry)
        assert len(registry.requests) == 11


def test_messages_hide_signatures(puller: Puller) -> None:
    moved = Response(307, headers={"Location": "/elsewhere?signature=secret"})
    with pytest.raises(RegistryError) as caught:
        puller.pull_from(lambda r: Response(400) if "elsewhere" in r.path else moved)
    assert "secret" not in caught.value.message
    assert "/elsewhere" in caught.value.message


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_z4_compression_is_told_by_content(puller: Puller, compression: str) -> None:
    stored = compress(SMALL, "zstd" if compression == "zstd" else "gzip" if compression == "gzip" else "none")
    puller.pull_from(serving(image([SMALL], compression="none", compressed=[stored])))
    assert (puller.place.layer(Digest(sha256(SMALL))) / "etc" / "motd").read_text() == "hello"

"""Pushing to a registry that answers as told: what is sent, what is not, and what a refusal says."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from ci_env.digest import Digest
from ci_env.errors import RegistryError
from ci_env.events import Event
from ci_env.oci.layout import LayoutSource
from ci_env.oci.pull import PulledImage
from ci_env.oci.reference import parse
from ci_env.oci.registries import Registries
from ci_env.oci.write import write
from tests.fault_registry import FaultRegistry, Request, Response, fault_registry
from tests.oci_builder import Image, d, f, image, tar, write_layout
from tests.push_registry import PushRegistry, Takeover, error
from tests.stored_images import Images, new_images

NOISE = os.urandom(40 * 2**20)
SMALL = image([tar([d("etc"), f("etc/motd", "hello")]), tar([f("top")])])
MIB = 2**20


class Pusher:
    """Pushes an image of a store of its own."""

    def __init__(self, images: Images, path: Path) -> None:
        self.images = images
        self.path = path
        self.events: list[Event] = []
        self.environment: dict[str, str] = {"REGISTRY_AUTH_FILE": str(path / "none.json")}
        (path / "none.json").write_text("{}")
        (path / "none.json").chmod(0o600)
        self.image = self.pull(SMALL)

    def pull(self, content: Image) -> PulledImage:
        layout = write_layout(self.path / f"layout-{os.urandom(4).hex()}", {"x": content})
        return self.images.pull(LayoutSource(layout, "x"))

    def push(self, registry: FaultRegistry, name: str = "team/app:1", *, source: str | None = None) -> Digest:
        (self.path / "spool").mkdir(exist_ok=True)
        registries = Registries(self.environment, self.events.append, pause=lambda _: None)
        origin = parse(f"{registry.host}/{source}") if source else None
        with registries.target(parse(f"{registry.host}/{name}"), self.path / "spool", source=origin) as target:
            return write(self.images.stored(self.image.manifest, self.image.chain), target, self.events.append)

    def push_to(self, registry: PushRegistry, name: str = "team/app:1", *, source: str | None = None) -> FaultRegistry:
        with fault_registry(registry) as running:
            self.push(running, name, source=source)
        assert os.listdir(self.path / "spool") == []
        return running


@pytest.fixture
def pusher(tmp_path: Path) -> Generator[Pusher]:
    with new_images(tmp_path / "store") as images:
        yield Pusher(images, tmp_path)


def methods(running: FaultRegistry) -> list[str]:
    return [request.method for request in running.requests]


def once(test: Takeover) -> Takeover:
    """Return a takeover that is over after its first answer."""
    done: list[Response] = []

    def take(request: Request) -> Response | None:
        answer = None if done else test(request)
        if answer is not None:
            done.append(answer)
        return answer

    return take


def test_push(pusher: Pusher) -> None:
    registry = PushRegistry()
    running = pusher.push_to(registry)
    media_type, manifest = registry.manifests["team/app:1"]
    assert media_type == "application/vnd.oci.image.manifest.v1+json"
    document = json.loads(manifest)
    config = json.loads(registry.blobs["team/app", document["config"]["digest"]])
    assert len(document["layers"]) == len(config["rootfs"]["diff_ids"]) == 2
    assert methods(running)[-1] == "PUT"
    assert running.paths()[-1] == "/v2/team/app/manifests/1"
    assert methods(running).count("PATCH") == 0
    assert registry.uploads == {}


def test_what_is_there_is_not_sent_again(pusher: Pusher) -> None:
    registry = PushRegistry()
    pusher.push_to(registry)
    again = pusher.push_to(registry, "team/app:2")
    assert [method for method in methods(again) if method != "HEAD"] == ["PUT"]
    assert registry.manifests["team/app:2"] == registry.manifests["team/app:1"]


def test_original_layers_that_are_there_keep_the_image_as_it_is(pusher: Pusher) -> None:
    registry = PushRegistry(blobs={("team/app", digest): blob for digest, blob in SMALL.blobs.items()})
    running = pusher.push_to(registry)
    assert registry.manifests["team/app:1"][1] == SMALL.manifest
    assert [method for method in methods(running) if method != "HEAD"] == ["PUT"]


def test_layers_are_mounted_from_where_the_image_was_pulled(pusher: Pusher) -> None:
    registry = PushRegistry(blobs={("base/image", digest): blob for digest, blob in SMALL.blobs.items()})
    running = pusher.push_to(registry, source="base/image:9")
    assert registry.manifests["team/app:1"][1] == SMALL.manifest
    mounts = [request for request in running.requests if "from=base%2Fimage" in request.path]
    assert len(mounts) == 2
    assert registry.uploads == {}


def test_a_mount_that_becomes_an_upload_is_used(pusher: Pusher) -> None:
    registry = PushRegistry()
    running = pusher.push_to(registry, source="base/image:9")
    posts = [request.path for request in running.requests if request.method == "POST"]
    assert len(posts) == 3  # for the two layers, with a mount, and for the config
    assert registry.manifests
    assert registry.uploads == {}


@pytest.mark.parametrize("status", [400, 403, 404, 405])
def test_a_registry_without_mounts(pusher: Pusher, status: int) -> None:
    registry = PushRegistry(lambda request: Response(status) if "mount=" in request.path else None)
    pusher.push_to(registry, source="base/image:9")
    assert registry.manifests


def test_another_registry_is_not_asked_to_mount(pusher: Pusher) -> None:
    registry = PushRegistry()
    with fault_registry(registry) as running:
        registries = Registries(pusher.environment, pusher.events.append, pause=lambda _: None)
        reference = parse(f"{running.host}/team/app:1")
        with registries.target(reference, pusher.path, source=parse("docker.io/library/x:1")) as target:
            write(pusher.images.stored(pusher.image.manifest, pusher.image.chain), target, pusher.events.append)
    assert not any("mount=" in path for path in running.paths())


@pytest.fixture
def large(pusher: Pusher) -> Pusher:
    pusher.image = pusher.pull(image([tar([f("noise", NOISE)])], compression="none"))
    return pusher


def chunks(running: FaultRegistry) -> Sequence[int]:
    return [len(request.body) for request in running.requests if request.method == "PATCH"]


def refuse_whole(request: Request) -> Response | None:
    return Response(413) if request.method == "PUT" and len(request.body) > 20 * MIB else None


def test_in_chunks_where_a_whole_blob_is_too_large(large: Pusher) -> None:
    registry = PushRegistry(refuse_whole)
    running = large.push_to(registry)
    assert registry.manifests
    assert len(chunks(running)) == 3
    assert set(chunks(running)[:-1]) == {16 * MIB}
    assert registry.uploads == {}


def test_the_least_size_of_a_chunk_is_kept(large: Pusher) -> None:
    registry = PushRegistry(refuse_whole, min_chunk_bytes=18 * MIB)
    assert chunks(large.push_to(registry))[:-1] == [18 * MIB, 18 * MIB]


def test_a_chunk_that_is_lost_is_sent_again(large: Pusher) -> None:
    lost = once(lambda request: Response(503) if request.headers.get("content-range", "0").startswith("16") else None)
    registry = PushRegistry(lambda request: refuse_whole(request) or lost(request))
    running = large.push_to(registry)
    assert registry.manifests
    assert len(chunks(running)) == 4
    assert "GET" in methods(running)


def test_a_registry_that_took_half_a_chunk(large: Pusher) -> None:
    def half(request: Request) -> Response | None:
        if not request.headers.get("content-range", "").startswith("0-"):
            return None
        (number,) = registry.uploads
        registry.uploads[number] += request.body[: 8 * MIB]
        location = f"{request.path.partition('?')[0]}?_state=a%2Fb%3D{8 * MIB}"
        return Response(202, headers={"Location": location, "Range": f"0-{8 * MIB - 1}"})

    taken = once(half)
    registry = PushRegistry(lambda request: refuse_whole(request) or taken(request))
    running = large.push_to(registry)
    assert registry.manifests
    ranges = [
        request.headers["content-range"].partition("-")[0] for request in running.requests if request.method == "PATCH"
    ]
    assert ranges[:2] == ["0", str(8 * MIB)]


def test_416_asks_where_to_go_on(large: Pusher) -> None:
    refused = once(
        lambda request: Response(416) if request.headers.get("content-range", "0").startswith("16") else None
    )
    registry = PushRegistry(lambda request: refuse_whole(request) or refused(request))
    large.push_to(registry)
    assert registry.manifests


def test_a_registry_that_never_takes_more_is_given_up(large: Pusher) -> None:
    def never(request: Request) -> Response | None:
        return refuse_whole(request) or (Response(503) if request.method == "PATCH" else None)

    registry = PushRegistry(never)
    with pytest.raises(RegistryError, match="takes no more than 0 bytes"):
        large.push_to(registry)
    assert registry.uploads == {}
    assert registry.manifests == {}


def test_a_connection_that_breaks_in_a_whole_blob(pusher: Pusher) -> None:
    def breaks(request: Request) -> Response | None:
        if request.method == "PUT" and "/uploads/" in request.path:
            raise OSError("the test breaks the connection")
        return None

    registry = PushRegistry(once_raising(breaks))
    pusher.push_to(registry)
    assert registry.manifests
    assert registry.uploads == {}


def once_raising(test: Takeover) -> Takeover:
    raised: list[bool] = []

    def take(request: Request) -> Response | None:
        if raised:
            return None
        try:
            return test(request)
        except OSError:
            raised.append(True)
            raise

    return take


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        (401, "wants a login that is not supported"),
        (403, r"denies pushing to 127\.0\.0\.1:\d+/team/app: no$"),
        (404, "refuses an upload: .* answered with status 404: no"),
        (429, "limits how much may be pushed, and that is reached: no"),
        (500, "refuses an upload: .* answered with status 500: no"),
    ],
)
def test_an_upload_that_is_refused(pusher: Pusher, status: int, complaint: str) -> None:
    refusal = Response(status, error("X", "no"), {"Retry-After": "0"})
    registry = PushRegistry(lambda request: refusal if request.method == "POST" else None)
    with pytest.raises(RegistryError, match=complaint):
        pusher.push_to(registry)
    assert registry.manifests == {}


def test_a_manifest_that_is_too_large(pusher: Pusher) -> None:
    registry = PushRegistry(lambda request: Response(413) if "/manifests/" in request.path else None)
    with pytest.raises(RegistryError, match=r"refuses the manifest: \d+ bytes are too many"):
        pusher.push_to(registry)


def test_a_manifest_that_is_refused(pusher: Pusher) -> None:
    answer = Response(400, error("MANIFEST_INVALID", "no such media type"))
    registry = PushRegistry(lambda request: answer if "/manifests/" in request.path else None)
    with pytest.raises(RegistryError, match=r"refuses the manifest: .*status 400: no such media type"):
        pusher.push_to(registry)


def test_a_registry_that_names_the_image_otherwise(pusher: Pusher) -> None:
    other = Response(201, headers={"Docker-Content-Digest": "sha256:" + "0" * 64})
    registry = PushRegistry(lambda request: other if "/manifests/" in request.path else None)
    with pytest.raises(RegistryError, match="calls the image sha256:0000"):
        pusher.push_to(registry)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "http://example.org/upload",
        "https://10.0.0.1/upload",
        "https://localhost/x",
        "ftp://x/y",
        "http://[bad",
        "https://2130706433/",
    ],
)
def test_an_upload_to_somewhere_else_is_refused(pusher: Pusher, location: str) -> None:
    answer = Response(202, headers={"Location": location} if location else {})
    registry = PushRegistry(lambda request: answer if request.method == "POST" else None)
    with pytest.raises(RegistryError, match=r"sends an upload to .*: refused"):
        pusher.push_to(registry)


def test_a_login_for_pushing(pusher: Pusher) -> None:
    """The token for looking is not enough for an upload."""
    tokens: list[str] = []

    def guard(request: Request) -> Response | None:
        if request.path.startswith("/token"):
            tokens.append("push" if "push" in request.path else "pull")
            return Response(body=json.dumps({"token": tokens[-1]}).encode())
        needed = "pull" if request.method == "HEAD" else "push"
        held = request.headers.get("authorization", "").removeprefix("Bearer ")
        if held == "push" or held == needed:
            return None
        scope = f"repository:team/app:{'pull' if needed == 'pull' else 'pull,push'}"
        challenge = f'Bearer realm="http://{request.headers["host"]}/token",service="s",scope="{scope}"'
        return Response(401, headers={"WWW-Authenticate": challenge})

    registry = PushRegistry(guard)
    pusher.push_to(registry)
    assert registry.manifests
    assert tokens == ["pull", "push"]


def test_a_password_stays_out_of_messages(pusher: Pusher) -> None:
    refusal = Response(403, error("DENIED", "hunter2 is not enough"))

    def guard(request: Request) -> Response | None:
        if "authorization" not in request.headers:
            return Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return refusal if request.method == "POST" else None

    with fault_registry(PushRegistry(guard)) as running:
        login = {"auth": base64.b64encode(b"ann:hunter2").decode()}
        (pusher.path / "none.json").write_text(json.dumps({"auths": {running.host: login}}))
        with pytest.raises(RegistryError, match=r"denies pushing to .*, for user 'ann'") as caught:
            pusher.push(running)
    assert "hunter2" not in caught.value.message


def test_an_interrupted_upload_is_given_up(pusher: Pusher) -> None:
    class Stop(BaseException):
        pass

    def stop(event: Event) -> None:
        raise Stop

    pusher.image = pusher.pull(image([tar([f("noise", NOISE)])], compression="none"))
    registry = PushRegistry()
    with fault_registry(registry) as running:
        registries = Registries(pusher.environment, stop, pause=lambda _: None)
        with (
            registries.target(parse(f"{running.host}/team/app:1"), pusher.path, source=None) as target,
            pytest.raises(Stop),
        ):
            write(pusher.images.stored(pusher.image.manifest, pusher.image.chain), target, pusher.events.append)
    assert registry.uploads == {}
    assert "DELETE" in methods(running)

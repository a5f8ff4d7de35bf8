"""Images in and out of the tools that people have: what they load and save again is the same tree.

The daemon of docker and the storage of podman are the tests' own, in directories that go with them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ci_env.digest import Digest
from ci_env.oci.compress import Compression
from ci_env.oci.docker_archive import open_docker_archive
from ci_env.oci.docker_archive_write import docker_archive
from ci_env.oci.layout import LayoutSource, open_archive
from ci_env.oci.layout_write import LayoutTarget, oci_archive
from ci_env.oci.pull import PulledImage
from ci_env.oci.reference import Reference, parse
from ci_env.oci.registries import Registries
from ci_env.oci.source import ImageSource
from ci_env.oci.write import write
from tests.account import Who
from tests.installed import CiEnv
from tests.layer_stack import Node
from tests.oci_builder import Item, d, f, hard, image, link, opaque, tar, wh, write_layout
from tests.project import project
from tests.real_registry import RealRegistry
from tests.stored_images import Images, new_images

NAME = "example.org/team/app:1"
FORMS = ("oci", "oci-archive", "docker-archive")
LAYERS = [
    tar(
        [
            d("etc", mode=0o750),
            f("etc/gone"),
            f("etc/kept", "kept", mode=0o4755, uid=3, gid=5),
            d("usr"),
            d("usr/lib", mtime=1_234_567_890),
            f("usr/lib/x", "x", mtime="1000000000.5"),
            link("lib", "usr/lib"),
            d("tmp", mode=0o1777),
            f("attributed", "a", SCHILY__xattr__user__note="value"),
            d("long"),
            f("long/" + "n" * 200, "long"),
            f("ünïcode ☃", "snow"),
        ]
    ),
    tar(
        [
            wh("etc/gone"),
            d("usr"),
            d("usr/lib"),
            opaque("usr/lib"),
            f("usr/lib/y", os.urandom(100_000)),
            hard("linked", "usr/lib/y"),
            Item(b"pipe", b"6"),
        ]
    ),
]


@dataclass(frozen=True)
class Stores:
    """Two stores: one that writes, one that reads what came of it."""

    one: Images
    two: Images
    image: PulledImage
    path: Path

    def write(self, form: str, name: str, *, compression: Compression = "gzip") -> Path:
        """Write the image, in a form, to a new file or directory."""
        stored, path, spool = self.one.stored(self.image.manifest, self.image.chain), self.path / name, self.spool(name)
        if form == "oci":
            write(stored, LayoutTarget(path, "1"), lambda _: None, compression=compression)
        elif form == "oci-archive":
            with oci_archive(path, "1", NAME, spool) as target:
                write(stored, target, lambda _: None, compression=compression)
        else:
            with docker_archive(path, NAME, spool) as docker_target:
                write(stored, docker_target, lambda _: None)
        return path

    def read(self, form: str, path: Path, tag: str | None) -> PulledImage:
        return self.two.pull(self._source(form, path, tag))

    def spool(self, name: str) -> Path:
        spool = self.path / f"{name}-spool"
        spool.mkdir(exist_ok=True)
        return spool

    def is_same(self, other: PulledImage) -> bool:
        ours, theirs = self.one.view(self.image), self.two.view(other)
        assert _told(theirs) == _told(ours)
        assert (other.config.env, other.config.command) == (self.image.config.env, self.image.config.command)
        return True

    def _source(self, form: str, path: Path, tag: str | None) -> ImageSource:
        if form == "oci":
            return LayoutSource(path, tag)
        spool = self.spool(f"{path.name}-in")
        return open_archive(path, tag, spool) if form == "oci-archive" else open_docker_archive(path, tag, spool)


def _told(view: Mapping[str, Node]) -> Mapping[str, Node]:
    return {path: replace(node, inode=0) for path, node in view.items()}


@pytest.fixture
def stores(tmp_path: Path) -> Generator[Stores]:
    with new_images(tmp_path / "one") as one, new_images(tmp_path / "two") as two:
        content = image(LAYERS, config={"Env": ["PATH=/bin", "A=b"], "Cmd": ["sh", "-c", "true"]})
        pulled = one.pull(LayoutSource(write_layout(tmp_path / "made", {"x": content}), "x"))
        yield Stores(one, two, pulled, tmp_path)


def run(*argv: object, env: Mapping[str, str] | None = None) -> str:
    environment = None if env is None else {**os.environ, **env}
    done = subprocess.run(
        list(map(str, argv)), capture_output=True, text=True, check=False, timeout=180, env=environment
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def skopeo(path: Path, *arguments: object) -> None:
    policy = path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    run("skopeo", "--policy", policy, "--tmpdir", path, "copy", "--quiet", *arguments)


def needs(*programs: str, packages: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} (Debian packages {packages})")


@pytest.mark.parametrize("to", FORMS)
@pytest.mark.parametrize("form", FORMS)
def test_skopeo(stores: Stores, form: str, to: str) -> None:
    needs("skopeo", packages="skopeo")
    tags = {"oci": ":1", "oci-archive": ":1", "docker-archive": f":{NAME}"}
    ours, theirs = stores.write(form, "ours"), stores.path / "theirs"
    skopeo(stores.path, f"{form}:{ours}{tags[form]}", f"{to}:{theirs}{tags[to]}")
    assert stores.is_same(stores.read(to, theirs, tags[to][1:]))


@pytest.mark.parametrize("form", ["oci", "oci-archive"])
def test_skopeo_copies_zstd(stores: Stores, form: str) -> None:
    needs("skopeo", packages="skopeo")
    ours, theirs = stores.write(form, "ours", compression="zstd"), stores.path / "theirs"
    assert stores.is_same(stores.read(form, ours, "1"))
    skopeo(stores.path, f"{form}:{ours}:1", f"oci:{theirs}:1")
    assert stores.is_same(stores.read("oci", theirs, "1"))


@pytest.mark.root
def test_podman_loads_zstd(stores: Stores, short: Path) -> None:
    needs("podman", packages="podman")
    podman, policy = podman_in(short), policy_in(stores.path)
    theirs, ours = stores.path / "theirs", stores.write("oci-archive", "ours", compression="zstd")
    name = run(*podman, "load", "--signature-policy", policy, "-i", ours).rpartition(" ")[2]
    run(*podman, "save", "--format", "oci-archive", "-o", theirs, name)
    assert stores.is_same(stores.read("oci-archive", theirs, None))


def test_umoci(stores: Stores) -> None:
    needs("umoci", packages="umoci")
    layout, bundle = stores.write("oci", "ours"), stores.path / "bundle"
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    run("umoci", "unpack", *rootless, "--image", f"{layout}:1", bundle)
    root = bundle / "rootfs"
    assert (root / "usr/lib").is_dir()
    assert sorted(os.listdir(root / "usr/lib")) == ["y"]
    assert (root / "lib").readlink() == Path("usr/lib")
    assert (root / "linked").stat().st_ino == (root / "usr/lib/y").stat().st_ino
    assert not (root / "etc/gone").exists()
    assert (root / "etc/kept").stat().st_mode & 0o7777 == 0o4755
    (root / "new").write_text("made there")
    (root / "tmp").rmdir()
    run("umoci", "repack", "--image", f"{layout}:2", bundle)
    changed = stores.two.view(stores.read("oci", layout, "2"))
    assert changed["new"].content == "made there"
    assert set(changed) == set(stores.one.view(stores.image)) - {"tmp"} | {"new"}


def pushed(stores: Stores, reference: Reference) -> Digest:
    """Push the image, and return the digest of its manifest there."""
    with Registries({}, lambda _: None).target(reference, stores.spool("push"), source=None) as target:
        return write(stores.one.stored(stores.image.manifest, stores.image.chain), target, lambda _: None)


def pulled(stores: Stores, reference: Reference) -> PulledImage:
    with Registries({}, lambda _: None).image(reference) as source:
        return stores.two.pull(source)


def test_a_round_trip_through_a_registry(stores: Stores, registry: RealRegistry) -> None:
    """ci-env to docker-registry to skopeo to a layout, and to docker-registry again, to ci-env."""
    first, second = (parse(f"{registry.host}/round/{name}:1") for name in ("one", "two"))
    digest = pushed(stores, first)
    layout = stores.path / "between"
    skopeo(stores.path, "--src-tls-verify=false", f"docker://{first}", f"oci:{layout}:1")
    skopeo(stores.path, "--dest-tls-verify=false", f"oci:{layout}:1", f"docker://{second}")
    back = pulled(stores, second)
    assert back.manifest == digest
    assert stores.is_same(back)


@pytest.fixture
def short() -> Generator[Path]:
    """Give a directory with a short name: podman's may have 50 characters, and docker has sockets in its own."""
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as directory:
        yield Path(directory)


def podman_in(directory: Path) -> list[object]:
    storage: list[object] = [
        "podman",
        "--root",
        directory / "root",
        "--runroot",
        directory / "run",
        "--storage-driver",
        "vfs",
    ]
    return [*storage, "--events-backend", "file", "--cgroup-manager", "cgroupfs"]


def policy_in(directory: Path) -> Path:
    policy = directory / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    return policy


@pytest.mark.root
def test_podman_between_two_registries(stores: Stores, registry: RealRegistry, short: Path) -> None:
    needs("podman", packages="podman")
    first, second = (parse(f"{registry.host}/podman/{name}:1") for name in ("one", "two"))
    pushed(stores, first)
    podman, policy = podman_in(short), policy_in(stores.path)
    run(*podman, "pull", "--quiet", "--tls-verify=false", "--signature-policy", policy, str(first))
    run(
        *podman, "push", "--quiet", "--tls-verify=false", "--signature-policy", policy, str(first), f"docker://{second}"
    )
    assert stores.is_same(pulled(stores, second))


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
@pytest.mark.root
def test_podman(stores: Stores, short: Path, form: str, kind: str) -> None:
    needs("podman", packages="podman")
    podman, policy = podman_in(short), policy_in(stores.path)
    theirs = stores.path / "theirs"
    loaded = run(*podman, "load", "--signature-policy", policy, "-i", stores.write(form, "ours"))
    name = loaded.rpartition(" ")[2]
    run(*podman, "save", "--format", kind, "-o", theirs, name)
    assert stores.is_same(stores.read(kind, theirs, None))


@contextmanager
def dockerd(path: Path) -> Generator[Callable[..., str]]:
    """Run a daemon in private directories; gives what runs the client."""
    path.mkdir()
    address = f"unix://{path}/socket"
    argv = ["dockerd", "--host", address, "--data-root", f"{path}/data", "--exec-root", f"{path}/exec"]
    argv += ["--pidfile", f"{path}/pid", "--bridge=none", "--iptables=false", "--storage-driver=vfs"]
    with (path / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            wait(["docker", "--host", address, "info"], process, path / "log")
            yield lambda *arguments: run("docker", "--host", address, *arguments)
        finally:
            process.terminate()
            process.wait(60)


def wait(argv: Sequence[str], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if subprocess.run(argv, capture_output=True, check=False, timeout=60).returncode == 0:
            return
        time.sleep(0.2)
    pytest.skip(f"dockerd does not start here: {log.read_text(errors='replace')[-300:]}")


@pytest.mark.root
def test_docker(stores: Stores, short: Path) -> None:
    needs("docker", "dockerd", packages="docker.io")
    with dockerd(short / "docker") as docker:
        for form in ("docker-archive", "oci-archive"):
            docker("load", "-i", stores.write(form, f"ours-{form}"))
            docker("save", "-o", stores.path / "theirs", NAME)
            docker("rmi", NAME)
            assert stores.is_same(stores.read("docker-archive", stores.path / "theirs", NAME))


@pytest.mark.root
def test_docker_between_two_registries(stores: Stores, registry: RealRegistry, short: Path) -> None:
    needs("docker", "dockerd", packages="docker.io")
    first, second = (parse(f"{registry.host}/docker/{name}:1") for name in ("one", "two"))
    pushed(stores, first)
    with dockerd(short / "docker") as docker:
        docker("pull", "--quiet", str(first))
        docker("tag", str(first), str(second))
        docker("push", "--quiet", str(second))
    assert stores.is_same(pulled(stores, second))


@pytest.mark.root
def test_docker_loads_what_was_built(stores: Stores, short: Path, ci_env: Callable[[Who], CiEnv]) -> None:
    """The image that docker saves is the one of the store: its tree and its config."""
    needs("docker", "dockerd", packages="docker.io")
    made = project(ci_env("root"), 'a: {steps: [{run: "true"}]}\n', files={"src/main": "x", "src/sub/deep": "y"})
    made.put("Dockerfile", 'FROM scratch\nCOPY --chown=3:5 --chmod=4755 src /srv/\nENV A=b\nWORKDIR /d\nCMD ["sh"]\n')
    assert made.call("image", "build", "-t", NAME).code == 0
    with dockerd(short / "docker") as docker:
        for form in ("docker-archive", "oci-archive"):
            assert made.call("image", "export", NAME, f"{form}:{form}.tar").code == 0
            docker("load", "-i", made.root / f"{form}.tar")
            shown = json.loads(docker("image", "inspect", NAME))[0]
            docker("save", "-o", stores.path / form, NAME)
            docker("rmi", NAME)
            back = stores.read("docker-archive", stores.path / form, NAME)
            assert stores.two.view(back)["srv/sub/deep"].mode == 0o4755
            assert set(stores.two.view(back)) == {".", "d", "srv", "srv/main", "srv/sub", "srv/sub/deep"}
            facts = shown["Config"]
            assert (facts["Env"][-1], facts["WorkingDir"], facts["Cmd"]) == ("A=b", "/d", ["sh"])
            assert len(shown["RootFS"]["Layers"]) == 2

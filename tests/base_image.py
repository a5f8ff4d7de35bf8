"""Debian images, one with a C compiler and one with databases, made with mmdebstrap once per machine and kept outside
the repository.

Each comes from where this machine's apt gets its packages. Kept as an OCI layout with one gzip layer; the name of its
directory changes with what is in it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.oci_builder import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, descriptor, index, sha256
from tests.shared_directory import locked

SUITE = "bookworm"
PACKAGES = ("gcc", "git", "libc6-dev", "make", "python3")
SERVERS = ("postgresql", "redis-server")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def base_image() -> Path:
    """Return the OCI layout of the image with a C compiler, made now if this machine has none.

    Skips the test where it cannot be made.
    """
    return _image("ci", PACKAGES)


def services_image() -> Path:
    """Return likewise the image with PostgreSQL and Redis."""
    return _image("services", SERVERS)


def _image(name: str, packages: Sequence[str]) -> Path:
    if shutil.which("mmdebstrap") is None or not KEYRING.exists():
        pytest.skip("needs mmdebstrap (Debian packages mmdebstrap and debian-archive-keyring)")
    content = hashlib.sha256(repr((SUITE, packages, _LEFT_OUT)).encode()).hexdigest()[:12]
    cache = _cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    layout = cache / f"debian-{name}-{content}"
    with locked(cache / "lock"):
        if not layout.exists():
            _make_layout(cache, layout, packages)
    return layout


def _cache_directory() -> Path:
    if os.geteuid() == 0:
        return Path("/var/cache/ci-env-tests")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ci-env-tests"


def _make_layout(cache: Path, layout: Path, packages: Sequence[str]) -> None:
    building = cache / "building"
    shutil.rmtree(building, ignore_errors=True)
    (building / "blobs" / "sha256").mkdir(parents=True)
    tar = building / "rootfs.tar"
    _bootstrap(tar, packages)
    _write_layout(building, tar)
    tar.unlink()
    building.rename(layout)


def _bootstrap(tar: Path, packages: Sequence[str]) -> None:
    """Write the root filesystem's tar. mmdebstrap's own mirror is used where apt knows no Debian of this suite."""
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", f"--keyring={KEYRING}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    sources = list(_sources())
    subprocess.run([*command, SUITE, str(tar), *sources], stdin=subprocess.DEVNULL, check=True, timeout=900)


def _sources() -> Iterator[str]:
    """Give a sources.list line for each repository of the suite that apt is set up with."""
    if shutil.which("apt-get") is None:
        return
    form = "$(ORIGIN) $(CODENAME) $(REPO_URI) $(RELEASE) $(COMPONENT)"
    asked = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    for line in subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines():
        origin, codename, uri, release, component = line.split()
        if origin == "Debian" and codename.partition("-")[0] == SUITE:
            yield f"deb {uri} {release} {component}"


def _write_layout(layout: Path, tar: Path) -> None:
    layer, diff_id = _compress(layout, tar)
    config = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _write_blob(layout, CONFIG_TYPE, config),
        "layers": [layer],
    }
    (layout / "index.json").write_bytes(index([_write_blob(layout, MANIFEST_TYPE, manifest)]))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _compress(layout: Path, tar: Path) -> tuple[Mapping[str, object], str]:
    """Write the layer's blob; return its descriptor and the digest of the plain tar."""
    plain, packed = hashlib.sha256(), hashlib.sha256()
    temporary = layout / "layer"
    with tar.open("rb") as source, gzip.open(temporary, "wb", compresslevel=1) as target:
        while piece := source.read(1 << 20):
            plain.update(piece)
            target.write(piece)
    with temporary.open("rb") as source:
        while piece := source.read(1 << 20):
            packed.update(piece)
    size = temporary.stat().st_size
    temporary.rename(layout / "blobs" / "sha256" / packed.hexdigest())
    layer = {"mediaType": f"{LAYER_TYPE}+gzip", "digest": f"sha256:{packed.hexdigest()}", "size": size}
    return layer, f"sha256:{plain.hexdigest()}"


def _write_blob(layout: Path, media_type: str, document: Mapping[str, object]) -> Mapping[str, object]:
    content = json.dumps(document).encode()
    (layout / "blobs" / sha256(content).replace(":", "/")).write_bytes(content)
    return descriptor(media_type, content)

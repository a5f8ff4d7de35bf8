"""What the cases' images begin with. Built from what this machine has; an image differs from its base by one layer."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.base_image import base_image
from tests.busybox_image import busybox
from tests.oci_builder import Item, d, f, link

_ROOTS = ("bin", "sbin", "lib", "lib64")
_PROGRAMS = ("usr/bin/bash", "usr/bin/python3", "usr/bin/python3.11")
_LIBRARIES = ("ld-linux", "libc.", "libm.", "libtinfo.", "libz.", "libexpat.")
_PYTHON = "usr/lib/python3"
_LEFT_OUT = (
    "test",
    "lib2to3",
    "idlelib",
    "pydoc_data",
    "ensurepip",
    "distutils",
    "asyncio",
    "dist-packages",
    "tkinter",
)
ACCOUNTS = "root:x:0:0::/root:/bin/sh\nbuilder:x:1000:1000::/home/builder:/bin/sh\n"
_MORE = (d("tmp", mode=0o1777), d("etc"), f("etc/passwd", ACCOUNTS), f("etc/group", "root:x:0:\nbuilder:x:1000:\n"))


def busybox_items() -> Sequence[Item]:
    """Return busybox with all names that it goes by."""
    given = busybox()
    known = {item.path for item in given}
    names = (f"bin/{name}" for name in _names())
    return (*given, *(link(name, "busybox") for name in names if name.encode() not in known), *_MORE)


def python_items() -> Sequence[Item]:
    """Return Python and bash of the Debian image, and busybox for all else."""
    names = (f"usr/bin/{name}" for name in _names() if name not in ("bash", "busybox"))
    program = Path("/bin/busybox").read_bytes()
    return (
        *_chosen(base_image()),
        f("usr/bin/busybox", program, mode=0o755),
        *(link(name, "busybox") for name in names),
        *_MORE,
    )


def _names() -> list[str]:
    told = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True, timeout=30)
    return [name for name in told.stdout.split() if name != "busybox"]


def _chosen(layout: Path) -> Iterator[Item]:
    """Give what Python and bash need of the layer of the image in `layout`."""
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = json.loads(_blob(layout, entry["digest"]).read_text())
    (layer,) = manifest["layers"]
    with tarfile.open(_blob(layout, layer["digest"]), "r|gz") as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            if not _is_chosen(name):
                continue
            if member.isdir():
                yield d(name, mode=member.mode)
            elif member.issym():
                yield link(name, member.linkname)
            elif member.isreg():
                content = tar.extractfile(member)
                assert content
                yield f(name, content.read(), mode=member.mode)


def _is_chosen(name: str) -> bool:
    directory, _, file = name.rpartition("/")
    if name in _ROOTS or name in _PROGRAMS or name in ("usr", "usr/bin", "usr/lib", "usr/lib64"):
        return True
    if name.startswith(_PYTHON):
        return not any(f"/{left_out}/" in f"{name}/" for left_out in _LEFT_OUT)
    is_library_place = directory.startswith("usr/lib") and (
        directory.endswith("-linux-gnu") or directory == "usr/lib64"
    )
    return name.startswith("usr/lib/locale") or (
        (is_library_place and file.startswith(_LIBRARIES)) or (name.endswith("-linux-gnu") and directory == "usr/lib")
    )


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")

"""The program that lists the packages in layers: `python -I -m ci_env.oci.packages TOP [--lower LAYER]...`.

A program of its own because it runs under the ids that layers are owned by (ports.Runner.as_owner). Looks at the layers
as overlayfs would show them, follows links inside of them only, executes nothing, and reads no more than it bounds.
Writes one line of JSON to stdout: `packages`, each with manager, name, version and place, and `odd`, what could not be
read; or `error`.
"""

from __future__ import annotations

import argparse
import fnmatch
import itertools
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ci_env.errors import CiEnvError, ConfigError
from ci_env.oci import package_forms as forms
from ci_env.oci.merged import Directory, MergedView

MAX_PACKAGES = 100_000
_MAX_DATABASE = 2**29
_MAX_DOCUMENT = 2**20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PYTHON = "lib*/python3*"
_PREFIXES = ("usr", "usr/local", "opt/*", "opt/*/*", "root/.local", "home/*/.local")
_ENVIRONMENTS = tuple(
    f"{top}/{name}" for top in ("workspace", "workspace/*", "opt", "srv", "app") for name in (".venv", "venv", "env")
)
_SITES = (
    "usr/lib/python3/dist-packages",
    *(f"{prefix}/{_PYTHON}/{kind}-packages" for prefix in _PREFIXES for kind in ("site", "dist")),
    *(f"{environment}/lib/python3*/site-packages" for environment in _ENVIRONMENTS),
)
_MODULES = (
    *(f"{prefix}/lib/node_modules" for prefix in ("usr", "usr/local", "opt/*")),
    *("node_modules", "workspace/node_modules", "workspace/*/node_modules", "app/node_modules", "srv/*/node_modules"),
)

Package = tuple[str, str, str, str]
"""manager, name, version, and the directory where there may be several"""


def main(argv: Sequence[str]) -> int:
    """List as the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(prog="ci_env.oci.packages")
    parser.add_argument("top", type=Path)
    parser.add_argument("--lower", type=Path, action="append", default=[], help="bottom first")
    arguments = parser.parse_args(argv)
    try:
        with MergedView(arguments.top, arguments.lower) as view:
            answer = _list(view)
    except (OSError, CiEnvError) as error:
        answer = {"error": str(error)}
    os.write(1, json.dumps(answer).encode() + b"\n")
    return 1 if "error" in answer else 0


def _list(view: MergedView) -> dict[str, object]:
    odd: list[str] = []
    found = itertools.chain(_system(view, odd), _python(view), _npm(view))
    return {"packages": sorted(set(itertools.islice(found, MAX_PACKAGES))), "odd": odd}


def _system(view: MergedView, odd: list[str]) -> Iterator[Package]:
    """Yield what the distribution's package manager has installed."""
    yield from (("dpkg", *one, "") for one in forms.dpkg(_read(view, "var/lib/dpkg/status", _MAX_DATABASE)))
    for name in _names(view, "var/lib/dpkg/status.d"):  # distroless images
        if not name.endswith(".md5sums"):
            content = _read(view, f"var/lib/dpkg/status.d/{name}", _MAX_DOCUMENT)
            yield from (("dpkg", *one, "") for one in forms.dpkg(content))
    for path in ("lib/apk/db/installed", "usr/lib/apk/db/installed"):
        yield from (("apk", *one, "") for one in forms.apk(_read(view, path, _MAX_DATABASE)))
    yield from (("rpm", *one, "") for one in _rpm(view, odd))


def _rpm(view: MergedView, odd: list[str]) -> Iterator[forms.Found]:
    for top in ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"):
        for name, way in (("rpmdb.sqlite", "sqlite"), ("Packages.db", "ndb"), ("Packages", "")):
            content = _read(view, f"{top}/{name}", _MAX_DATABASE)
            if content and not way:
                odd.append(f"/{top}/{name}: databases of this kind (Berkeley DB) are not read")
            elif content:
                from ci_env.oci import rpm

                try:
                    yield from list(rpm.from_sqlite(content) if way == "sqlite" else rpm.from_ndb(content))
                except rpm.RpmError as error:
                    odd.append(f"/{top}/{name}: {error}")


def _python(view: MergedView) -> Iterator[Package]:
    for site in _places(view, _SITES):
        for name in _names(view, site):
            if name.endswith(".dist-info"):
                yield from _one(view, "pip", forms.python, f"{site}/{name}/METADATA", site)
            elif name.endswith(".egg-info"):
                yield from _one(view, "pip", forms.python, f"{site}/{name}/PKG-INFO", site)


def _npm(view: MergedView) -> Iterator[Package]:
    for modules in _places(view, _MODULES):
        scoped = (
            f"{name}/{inner}" for name in _names(view, modules, "@*") for inner in _names(view, f"{modules}/{name}")
        )
        for name in itertools.chain(_names(view, modules, "[!.@]*"), scoped):
            yield from _one(view, "npm", forms.npm, f"{modules}/{name}/package.json", modules)


def _one(
    view: MergedView, manager: str, form: Callable[[bytes], Iterator[forms.Found]], path: str, place: str
) -> Iterator[Package]:
    view.trim()
    yield from ((manager, name, version, f"/{place}") for name, version in form(_read(view, path, _MAX_DOCUMENT)))


def _places(view: MergedView, patterns: Sequence[str]) -> Iterator[str]:
    """Yield the directories that match, by their real paths, each once."""
    seen: set[bytes] = set()
    for pattern in patterns:
        for path in _expand(view, "", pattern.split("/")):
            directory = _directory(view, path)
            if directory is not None and directory.path not in seen:
                seen.add(directory.path)
                yield os.fsdecode(directory.path).lstrip("/")


def _expand(view: MergedView, path: str, rest: Sequence[str]) -> Iterator[str]:
    if not rest:
        yield path
        return
    names = [rest[0]] if not set("*?[") & set(rest[0]) else _names(view, path, rest[0])
    for name in names:
        below = f"{path}/{name}" if path else name
        if len(rest) == 1 or _directory(view, below) is not None:
            yield from _expand(view, below, rest[1:])


def _names(view: MergedView, path: str, pattern: str = "*") -> list[str]:
    """Return the names in a directory of the view, sorted; none where there is no such directory."""
    view.trim()
    directory = _directory(view, path)
    if directory is None:
        return []
    names = directory.lower_names()
    if directory.upper is not None:
        names |= set(map(os.fsencode, os.listdir(directory.upper)))
    shown = sorted(os.fsdecode(name) for name in names if directory.find(name) is not None)
    return [name for name in shown if fnmatch.fnmatchcase(name, pattern)]


def _directory(view: MergedView, path: str) -> Directory | None:
    directory, left = _resolve(view, path)
    return None if left else directory


def _read(view: MergedView, path: str, limit: int) -> bytes:
    """Return what a file begins with, at most `limit` bytes; nothing where there is no such file."""
    directory, left = _resolve(view, path)
    found = directory.find(left[0]) if len(left) == 1 else None
    if found is None or not stat.S_ISREG(found[1].st_mode):
        return b""
    with open(os.open(left[0], _OPEN, dir_fd=found[0]), "rb") as file:
        return file.read(limit)


def _resolve(view: MergedView, path: str) -> tuple[Directory, list[bytes]]:
    """Follow a path; where links lead round and round, nothing is there."""
    names = os.fsencode(path).split(b"/")
    try:
        return view.resolve(names)
    except ConfigError:
        return view.root, names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Rules for texts whose expressions are replaced. Each returns what its text means, or raises ValueError saying why."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePosixPath

from ci_env.patterns import PatternError, compile_pattern
from ci_env.pipeline.fields import MAX_NAME_LENGTH
from ci_env.pipeline.positions import shown
from ci_env.pipeline.substitute import MAX_TEXT_BYTES

_WORKSPACE = PurePosixPath("/workspace")
_KERNELS_OWN = tuple(map(PurePosixPath, ("/proc", "/sys", "/dev")))
_ALLOWED = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):([0-9]{1,5})\Z")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?\Z")
_MAX_PORT = 65535
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?(:[A-Za-z0-9_][A-Za-z0-9_.-]*\$?)?\Z")


def step_name(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > MAX_NAME_LENGTH:
        raise ValueError(f"a name is one line of 1 to {MAX_NAME_LENGTH} printable characters, not {shown(text)}")
    return text


def script(text: str) -> str:
    if not text.strip():
        raise ValueError("there is nothing to run")
    return argument(text)


def argument(text: str) -> str:
    """Return `text` if it can be one argument of a process."""
    return _handed_over(text, len(text.encode()))


def variable(name: str, text: str) -> str:
    """Return `text` if it can be the value of the environment variable `name`, which the limit counts too."""
    return _handed_over(text, len(f"{name}={text}".encode()), what="with its name ")


def shell(text: str) -> tuple[str, ...]:
    try:
        argv = shlex.split(argument(text))
    except ValueError as error:
        raise ValueError(f"cannot be split into words: {str(error).lower()}") from error
    if not argv or not argv[0]:
        raise ValueError("names no program")
    return tuple(argv)


def workdir(text: str) -> str:
    path = PurePosixPath(argument(text))
    if not text or ".." in path.parts:
        raise ValueError(f"expected a path below /workspace, or an absolute one, without `..`; found {shown(text)}")
    return _tidy(path)


def user(text: str) -> str:
    if not _USER.match(text):
        raise ValueError(f"expected `user` or `user:group`, names or numbers; found {shown(text)}")
    return text


def allowed(text: str) -> str:
    """Return `text` if it is `host:port`: a name, an IPv4 address, or an IPv6 address in brackets."""
    found = _ALLOWED.match(text)
    if found is None or not 0 < int(found[2]) <= _MAX_PORT:
        raise ValueError(f"expected `host:port`, such as pypi.org:443 or [2001:db8::1]:443; found {shown(text)}")
    return text


def host_name(text: str) -> str:
    if not _HOST_NAME.match(text) or text == "localhost":
        raise ValueError(f"expected a host name of 1 to 63 letters, digits, `-`, `_` and `.`; found {shown(text)}")
    return text


def pattern(text: str) -> str:
    try:
        compile_pattern(text)
    except PatternError as error:
        raise ValueError(f"{shown(text)} {error.reason}") from error
    return text


def cache(text: str) -> str:
    path = PurePosixPath(text)
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError(f"expected an absolute path without `..`; found {shown(text)}")
    tidy = PurePosixPath(_tidy(path))
    if tidy in (PurePosixPath("/"), _WORKSPACE) or any(tidy.is_relative_to(own) for own in _KERNELS_OWN):
        raise ValueError(f"{tidy} cannot be a cache; name a directory of your own, such as /root/.cache")
    return str(tidy)


def _handed_over(text: str, size: int, *, what: str = "") -> str:
    if size > MAX_TEXT_BYTES:
        limit = f"{what}{size} bytes long; Linux hands at most {MAX_TEXT_BYTES} to a process in one piece"
        raise ValueError(f"{limit}. Put it in a file of the repository")
    return text


def _tidy(path: PurePosixPath) -> str:
    """Return `path` with one slash at its start: POSIX lets `//` mean something else, Linux does not."""
    return re.sub(r"\A//", "/", str(path))

"""Why a key is another one: the facts that differ, in words for people. Owns these words; looks nothing up."""

from __future__ import annotations

import itertools
import json
import stat
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from ci_env.digest import Json, canonical_json
from ci_env.frozen import dataclass
from ci_env.pipeline.positions import shown
from ci_env.tree import Entry, in_order

_WORDS = {
    "version": "the rules by which ci-env makes keys",
    "start.host": "this machine's operating system",
    "start.layers": "the image",
    "start.platform": "the platform",
    "start.takes": "the artifacts that the job takes from others",
    "start.services": "the service",
    "parent": "a step before",
    "source": "the inputs",
    "argv": "the command",
    "env": "the environment variable",
    "user": "the user",
    "workdir": "the working directory",
    "umask": "the umask",
    "hostname": "the host name",
    "network": "the network",
    "secrets": "the secrets",
    "caches": "the cached directories",
    "timeout_s": "the timeout in seconds",
    "artifacts": "the patterns of artifacts",
    "junit": "the patterns of reports",
    "copy.origin": "what is copied from",
    "copy.sources": "the files to copy",
    "copy.files": "the text of files",
    "copy.destination": "the destination",
    "copy.chown": "the owner",
    "copy.chmod": "the mode",
    "copy.is_unpacking": "the unpacking of archives",
}
_SERVED = {
    "layers": "image",
    "host": "image",
    "platform": "image",
    "argv": "command",
    "env": "environment",
    "user": "user",
    "workdir": "working directory",
    "aliases": "aliases",
}
"""facts about a service, in words"""
_SERVICES = "start.services."
_UNSHOWN = {"start.host", "start.layers", "start.takes", "parent", "source", "copy.origin", "copy.files"}
"""digests, which tell people nothing"""
_CONTEXT = 12
_LONG = 60


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact that is not what it was."""

    field: str
    """its place in the preimage: `argv`, `env.TZ`, `start.layers`"""
    words: str
    """the whole difference, as a sentence without its full stop"""
    old: str | None
    """shortened to where they differ; None where there was nothing, or nothing that people can read"""
    new: str | None


@dataclass(frozen=True, slots=True)
class FileChange:
    path: str
    how: Literal["added", "changed", "removed", "mode"]
    """`mode`: same content, other permissions"""


@dataclass(frozen=True, slots=True)
class Node:
    """A file, link or directory of a build's context."""

    mode: int
    """st_mode: type and permissions"""
    content: str
    """tells it from any other; empty for a directory"""


def differences(old: str, new: Mapping[str, Json] | str) -> tuple[Difference, ...]:
    """Return what differs between two preimages of steps. ValueError where one is not the JSON of a preimage."""
    before, after = _read(old), _read(new)
    both_first = isinstance(before.get("start"), dict) and isinstance(after.get("start"), dict)
    was, now = _flat(before, with_start=both_first), _flat(after, with_start=both_first)
    changed = [field for field in sorted(was.keys() | now.keys(), key=_rank) if was.get(field) != now.get(field)]
    if any(field.startswith("start.") for field in changed):
        changed = [field for field in changed if field != "parent"]  # it is the key of that very start
    return tuple(_difference(field, was.get(field), now.get(field)) for field in changed)


def changed_files(old: Sequence[Entry], new: Sequence[Entry]) -> tuple[FileChange, ...]:
    """Return how the files of two listings differ, in a listing's order."""
    was, now = ({entry.path: entry for entry in entries} for entries in (old, new))
    union = in_order({**was, **now}.values())
    return tuple(change for entry in union if (change := _change(was.get(entry.path), now.get(entry.path))))


def changed_nodes(old: Mapping[str, Node], new: Mapping[str, Node]) -> tuple[FileChange, ...]:
    """Return how the files differ that a COPY takes, by path."""
    paths = sorted(old.keys() | new.keys())
    return tuple(change for path in paths if (change := _node_change(path, old.get(path), new.get(path))))


def _node_change(path: str, old: Node | None, new: Node | None) -> FileChange | None:
    if old == new:
        return None
    if old is None:
        return FileChange(path, "added")
    if new is None:
        return FileChange(path, "removed")
    is_same = old.content == new.content and stat.S_IFMT(old.mode) == stat.S_IFMT(new.mode)
    return FileChange(path, "mode" if is_same else "changed")


def _change(old: Entry | None, new: Entry | None) -> FileChange | None:
    if old is None:
        return FileChange(new.path, "added") if new else None
    if new is None:
        return FileChange(old.path, "removed")
    if old == new:
        return None
    same_kind = {old.mode, new.mode} == {0o100644, 0o100755}
    return FileChange(new.path, "mode" if old.blob == new.blob and same_kind else "changed")


def _read(preimage: Mapping[str, Json] | str) -> dict[str, Json]:
    text = preimage if isinstance(preimage, str) else canonical_json(preimage)
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("a preimage is a JSON object")
    return cast("dict[str, Json]", value)


def _flat(preimage: Mapping[str, Json], *, with_start: bool) -> dict[str, Json]:
    """Return the facts by name, those of `env`, `start` and `copy` one by one."""
    facts = {name: value for name, value in preimage.items() if name not in ("env", "start", "copy")}
    for assignment in _texts(preimage.get("env")):
        name, _, value = assignment.partition("=")
        facts[f"env.{name}"] = value
    copy = preimage.get("copy")
    if isinstance(copy, Mapping):
        facts.update({f"copy.{name}": value for name, value in copy.items()})
    start = preimage.get("start")
    if with_start and isinstance(start, Mapping):
        facts.update({f"start.{name}": value for name, value in start.items() if name not in ("version", "services")})
        services = start.get("services")
        if isinstance(services, Mapping):
            facts.update({f"{_SERVICES}{name}": value for name, value in services.items()})
    return facts


def _rank(field: str) -> tuple[int, str]:
    ranks = (rank for rank, known in enumerate(_WORDS) if field == known or field.startswith(f"{known}."))
    return next(ranks, len(_WORDS)), field


def _difference(field: str, old: Json, new: Json) -> Difference:
    if field.startswith(_SERVICES):
        return Difference(field, _service(field.removeprefix(_SERVICES), old, new), None, None)
    section, _, name = field.partition(".")
    what = f"{_WORDS['env']} {name}" if section == "env" else _WORDS.get(field, field)
    if field in _UNSHOWN:
        return Difference(field, f"{what} changed", None, None)
    was, now = _shorten(*_first_difference(field, old, new))
    return Difference(field, _sentence(what, was, now, is_variable=section == "env"), was, now)


def _service(name: str, old: Json, new: Json) -> str:
    """Say how a service is another one: by its facts, of which each is too long to show."""
    service = f"{_WORDS['start.services']} {name}"
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return f"{service} is {'gone' if new is None else 'new'}"
    changed = dict.fromkeys(words for fact, words in _SERVED.items() if old.get(fact) != new.get(fact))
    return f"{service} has another {' and '.join(changed)}"


def _sentence(what: str, old: str | None, new: str | None, *, is_variable: bool) -> str:
    if is_variable and old is None and new is not None:
        return f"{what} is new: {shown(new)}"
    if is_variable and old is not None and new is None:
        return f"{what} is gone; it was {shown(old)}"
    return f"{what} changed from {_value(old)} to {_value(new)}"


def _value(text: str | None) -> str:
    return "nothing" if text is None else shown(text)


def _first_difference(field: str, old: Json, new: Json) -> tuple[str | None, str | None]:
    """Return both values as text; of a command only the first line, or argument, in which they differ."""
    if field != "argv":
        return _text(field, old), _text(field, new)
    pair = _first_pair(_texts(old), _texts(new))
    return _first_pair(*((text or "").split("\n") for text in pair)) if None not in pair else pair


def _first_pair(old: Sequence[str], new: Sequence[str]) -> tuple[str | None, str | None]:
    pairs = itertools.zip_longest(old, new)
    return next((pair for pair in pairs if pair[0] != pair[1]), (None, None))


def _text(field: str, value: Json) -> str | None:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_item, value)) or None
    if isinstance(value, int) and field == "umask":
        return f"{value:03o}"
    return None if value is None else str(value)


def _item(value: Json) -> str:
    """Return one of several values; of a secret its name and, in brackets, its variables."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return str(value)
    name, *variables = map(str, value)
    return f"{name} ({', '.join(variables)})" if variables else name


def _texts(value: Json) -> list[str]:
    return [str(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else []


def _shorten(old: str | None, new: str | None) -> tuple[str | None, str | None]:
    """Cut what two long texts begin with alike, so that the difference is within sight."""
    if old is None or new is None:
        return _cut(old), _cut(new)
    same = next((place for place, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    if same <= 2 * _CONTEXT:
        return _cut(old), _cut(new)
    return _cut(f"...{old[same - _CONTEXT :]}"), _cut(f"...{new[same - _CONTEXT :]}")


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONG else f"{text[: _LONG - 3]}..."

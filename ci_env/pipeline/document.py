"""The bytes of a pipeline file to plain data, and where each part of it stands. Must not know what the keys mean.

Aliases (`*name`) and merge keys (`<<`) are followed here, by a walk that counts what it makes: nothing grows beyond
`MAX_NODES` values, whatever the file says.
"""

from __future__ import annotations

import re

from ci_env.errors import ConfigError
from ci_env.frozen import dataclass
from ci_env.pipeline.nodes import MAX_DEPTH, MAX_NODES, Alias, List, Map, Node, Scalar, parse
from ci_env.pipeline.positions import KeyPath, Mark, Positions, in_words
from ci_env.pipeline.scalars import Plain, resolve

MAX_BYTES = 2**20
_NOT_IN_YAML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_IN_TEXT = re.compile("[\0\ud800-\udfff]")  # escapes can make them; no file name or argument can hold them

Value = Plain | list["Value"] | dict[str, "Value"]
_Entries = dict[str, tuple[Scalar, Node]]


@dataclass(frozen=True, slots=True)
class Document:
    data: Value
    positions: Positions


def read(content: bytes, file: str) -> Document:
    """Return what `content` says; `file` is its name in messages. ConfigError where it is not strict, small YAML."""
    text = _decode(content, file)
    walk = _Walk(file)
    data = walk.value(parse(text, file), ())
    return Document(data, Positions(file, text, walk.keys, walk.values))


def _decode(content: bytes, file: str) -> str:
    if len(content) > MAX_BYTES:
        raise ConfigError(f"the file is larger than {MAX_BYTES // 2**20} MiB", where=f"{file}:1:1")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8 text", where=_where(content[: error.start].decode(), file)) from error
    bad = _NOT_IN_YAML.search(text)
    if bad:
        code = f"U+{ord(bad[0]):04X}"
        raise ConfigError(f"YAML does not allow the character {code}", where=_where(text[: bad.start()], file))
    return text


def _where(before: str, file: str) -> str:
    return f"{file}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


class _Walk:
    """Turns nodes to data, once, and keeps where each part of it was written."""

    def __init__(self, file: str) -> None:
        self.keys: dict[KeyPath, Mark] = {}
        self.values: dict[KeyPath, Mark] = {}
        self._file = file
        self._count = 0

    def value(self, node: Node, path: KeyPath) -> Value:
        """Return the data of `node`, which stands at `path`."""
        self._limit(node, path, depth=len(path))
        self.values[path] = node.mark
        content = node.target if isinstance(node, Alias) else node
        if isinstance(content, Scalar):
            return self._scalar(content, path)
        if isinstance(content, List):
            return [self.value(item, (*path, index)) for index, item in enumerate(content.items)]
        entries = self._entries(content, path, depth=len(path))
        self.keys.update({(*path, name): key.mark for name, (key, _) in entries.items()})
        return {name: self.value(item, (*path, name)) for name, (_, item) in entries.items()}

    def _scalar(self, node: Scalar, path: KeyPath) -> Plain:
        bad = _NOT_IN_TEXT.search(node.text)
        if bad:
            raise self._refused(node, path, f"text cannot contain the character U+{ord(bad[0]):04X}")
        return resolve(node.text) if node.is_plain else node.text

    def _entries(self, node: Map, path: KeyPath, *, depth: int) -> _Entries:
        """Return the entries by name: merged ones first, each overruled by one of the same name in `node` itself."""
        merged: _Entries = {}
        own: _Entries = {}
        for key, value in node.entries:
            name = self._name(key, path)
            if name.text in own:
                before = own[name.text][0].mark.line
                raise self._refused(name, (*path, name.text), f"this key is there twice, first in line {before}")
            own[name.text] = (name, value)
            if name.is_plain and name.text == "<<":
                merged = self._merged(value, path, depth=depth + 1)
        return merged | {name: entry for name, entry in own.items() if not _is_merge(entry[0])}

    def _merged(self, node: Node, path: KeyPath, *, depth: int) -> _Entries:
        """Return what a merge key brings in; of several mappings, the first has the say (yaml.org/type/merge)."""
        content = node.target if isinstance(node, Alias) else node
        result: _Entries = {}
        for source in content.items if isinstance(content, List) else (node,):
            mapping = source.target if isinstance(source, Alias) else source
            if not isinstance(mapping, Map):
                raise self._refused(source, path, "`<<` takes a mapping, or a list of mappings, to merge in")
            self._limit(source, path, depth=depth)
            result = self._entries(mapping, path, depth=depth) | result
        return result

    def _name(self, key: Node, path: KeyPath) -> Scalar:
        self._limit(key, path, depth=0)
        content = key.target if isinstance(key, Alias) else key
        if not isinstance(content, Scalar):
            raise self._refused(key, path, "a key must be one word, not a list or a mapping")
        self._scalar(content, path)
        return Scalar(content.text, content.is_plain, key.mark)

    def _limit(self, node: Node, path: KeyPath, *, depth: int) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            raise self._refused(node, (), f"the file has more than {MAX_NODES} values when its aliases are followed")
        if depth > MAX_DEPTH:
            raise self._refused(node, path, f"values are nested more than {MAX_DEPTH} deep when aliases are followed")

    def _refused(self, node: Node, path: KeyPath, message: str) -> ConfigError:
        where = f"{self._file}:{node.mark.line}:{node.mark.column}"
        return ConfigError(f"{in_words(path)}: {message}" if path else message, where=where)


def _is_merge(key: Scalar) -> bool:
    return key.is_plain and key.text == "<<"

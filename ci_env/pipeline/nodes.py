"""YAML text to a tree of nodes with their positions. PyYAML's only door. Must not know what the file is about.

Works on PyYAML's events and not on its own nodes: its composer follows brackets by recursion in C, without a limit, and
an alias costs it nothing, so that a small file can stand for any number of nodes.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from ci_env.errors import ConfigError
from ci_env.frozen import dataclass
from ci_env.pipeline.positions import Mark

MAX_DEPTH = 50
MAX_NODES = 50_000
_MAX_ALIASES = 100
_STANDARD_TAGS = {None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # without libyaml ten times slower, else the same

_ADVICE = {
    "mapping values are not allowed in this context": "a second `: ` here; put text that contains `: ` in quotes",
    "could not find expected ':'": "this line is neither `key: value` nor the continuation of one",
    "did not find expected key": "the indentation does not fit, or the lines above did not end where they should",
    "did not find expected '-' indicator": "this does not continue the list above; check the indentation",
    "found unexpected end of stream": "a quote or bracket is opened here and never closed",
}


@dataclass(frozen=True, slots=True)
class Scalar:
    text: str
    is_plain: bool
    """neither quoted, nor a block, nor tagged as text: its form decides its type"""
    mark: Mark


@dataclass(frozen=True, slots=True)
class List:
    items: tuple[Node, ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Map:
    entries: tuple[tuple[Node, Node], ...]
    """as written: with duplicates, and merge keys not followed"""
    mark: Mark


@dataclass(frozen=True, slots=True)
class Alias:
    target: Scalar | List | Map
    mark: Mark


Node = Scalar | List | Map | Alias


def parse(text: str, file: str) -> Node:
    """Return the only document in `text`. ConfigError where it is not YAML, or more than the limits allow.

    The tree is as deep as written: to follow its aliases is to multiply it, which the caller must limit.
    """
    try:
        return _Parser(text, file).document()
    except yaml.MarkedYAMLError as error:
        raise _explained(error, text, file) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", where=f"{file}:1:1") from error


class _Parser:
    """Takes the events of one text, once."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=_LOADER))
        self._anchors: dict[str, Scalar | List | Map] = {}
        self._nodes = 0
        self._aliases = 0

    def document(self) -> Node:
        next(self._events)  # the stream's start
        start = next(self._events)
        if not isinstance(start, yaml.DocumentStartEvent):
            raise self._refused(start, "the file is empty")
        root = self._node(next(self._events), depth=0)
        next(self._events)  # the document's end
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._refused(after, "a second document begins here; a pipeline file is one document")
        return root

    def _node(self, event: yaml.Event, *, depth: int) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._refused(event, f"the file has more than {MAX_NODES} values")
        if depth > MAX_DEPTH:
            raise self._refused(event, f"values are nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        node = self._content(event, depth=depth)
        if isinstance(event, yaml.NodeEvent) and event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _content(self, event: yaml.Event, *, depth: int) -> Scalar | List | Map:
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag not in _STANDARD_TAGS:
            raise self._refused(event, f"the tag {event.tag} is not supported; leave it out")
        if isinstance(event, yaml.ScalarEvent):
            is_plain = event.tag is None and event.implicit[0]
            return Scalar(event.value, is_plain, _mark(event))
        if isinstance(event, yaml.SequenceStartEvent):
            return List(tuple(self._rest(depth=depth + 1)), _mark(event))
        nodes = list(self._rest(depth=depth + 1))
        return Map(tuple(zip(nodes[::2], nodes[1::2], strict=True)), _mark(event))

    def _rest(self, *, depth: int) -> Iterator[Node]:
        """Yield the nodes up to the end of the list or mapping that has begun."""
        while not isinstance(event := next(self._events), yaml.CollectionEndEvent):
            yield self._node(event, depth=depth)

    def _alias(self, event: yaml.AliasEvent) -> Alias:
        self._aliases += 1
        if self._aliases > _MAX_ALIASES:
            raise self._refused(event, f"the file has more than {_MAX_ALIASES} aliases (`*name`)")
        target = self._anchors.get(event.anchor or "")
        if target is None:
            raise self._refused(event, f"`*{event.anchor}` stands for nothing: no `&{event.anchor}` ends above it")
        return Alias(target, _mark(event))

    def _refused(self, event: yaml.Event, message: str) -> ConfigError:
        mark = _mark(event)
        return ConfigError(message, where=f"{self._file}:{mark.line}:{mark.column}")


def _mark(event: yaml.Event) -> Mark:
    start, end = event.start_mark, event.end_mark
    assert start, "PyYAML marks every event"
    assert end, "PyYAML marks every event"
    return Mark(start.line + 1, start.column + 1, start.index, end.index)


def _explained(error: yaml.MarkedYAMLError, text: str, file: str) -> ConfigError:
    """Return libyaml's complaint in plainer words, at the place that a person has to change."""
    problem = error.problem or "it ends in the middle of something"
    begins_earlier = problem in {"could not find expected ':'", "found unexpected end of stream"}
    mark = (error.context_mark if begins_earlier else None) or error.problem_mark or error.context_mark
    assert mark, "PyYAML marks every error of its grammar"
    if problem.startswith("found character"):
        problem = _bad_start(text[mark.index])
    return ConfigError(f"not YAML: {_ADVICE.get(problem, problem)}", where=f"{file}:{mark.line + 1}:{mark.column + 1}")


def _bad_start(letter: str) -> str:
    if letter == "\t":
        return "a tab cannot indent; use spaces"
    return f"text that begins with `{letter}` must be in quotes"

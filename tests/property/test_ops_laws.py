"""The way of a plan to the process that executes it, and back."""

from __future__ import annotations

import json
import typing

from hypothesis import given
from hypothesis import strategies as st

from ci_env_runners import ops
from ci_env_runners.control import message
from ci_env_runners.ops import Op, Spec, from_wire, to_wire
from tests.strategies import texts

_KINDS: tuple[type[Op], ...] = typing.get_args(Op)
_VALUES: dict[object, st.SearchStrategy[object]] = {
    str: texts,
    int: st.integers(0, 2**32),
    bool: st.booleans(),
    tuple[str, ...]: st.lists(texts, max_size=3).map(tuple),
    tuple[tuple[str, tuple[str, ...]], ...]: st.lists(
        st.tuples(texts, st.lists(texts, max_size=2).map(tuple)), max_size=3
    ).map(tuple),
    tuple[tuple[str, str], ...]: st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    tuple[Op, ...]: st.deferred(lambda: st.lists(operations, max_size=4).map(tuple)),
    dict[str, str]: st.dictionaries(texts, texts, max_size=3),
}


def instances(kind: type[Op] | type[Spec]) -> st.SearchStrategy[object]:
    hints = typing.get_type_hints(kind, dict(vars(ops)))
    return st.builds(kind, **{name: _VALUES[hints[name]] for name in kind._fields})


operations: st.SearchStrategy[object] = st.one_of(*map(instances, _KINDS))
specs = typing.cast("st.SearchStrategy[Spec]", instances(Spec))


@given(specs)
def test_what_is_sent_arrives(spec: Spec) -> None:
    assert from_wire(json.loads(json.dumps(to_wire(spec)))) == spec


@given(specs)
def test_every_operation_can_be_told(spec: Spec) -> None:
    assert all(op.describe() for op in spec.ops)


@given(st.binary(max_size=64))
def test_a_message_says_how_long_it_is(content: bytes) -> None:
    assert int.from_bytes(message(content)[:4], "little") == len(content)
    assert message(content)[4:] == content

"""Random values of the product's data types."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, cast

from hypothesis import strategies as st

from ci_env.digest import Digest, Json

T = TypeVar("T")

digests = st.binary(max_size=4).map(Digest.of)
texts = st.text(st.characters(), max_size=4)
"""any letters, lone surrogates too: they stand for the bytes of a file name that is not UTF-8"""
integers = st.integers(-(2**53) + 1, 2**53 - 1)
json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | integers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def instances(kind: type[T]) -> st.SearchStrategy[T]:
    """Return any value of the dataclass `kind`, its collections kept small."""
    hints = typing.get_type_hints(kind)
    fields = {field.name: _values(hints[field.name]) for field in dataclasses.fields(cast("Any", kind))}
    return st.builds(kind, **fields)


def _values(kind: Any) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return instances(cast("type[Any]", kind))
    if origin in (Union, types.UnionType):
        return st.one_of(*map(_values, arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(_values(arguments[0]), max_size=2).map(tuple)
    if origin is Mapping:
        return st.dictionaries(_values(arguments[0]), _values(arguments[1]), max_size=2)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        Digest: digests,
        str: texts,
        int: integers,
        bool: st.booleans(),
        types.NoneType: st.none(),
    }
    return plain[kind]

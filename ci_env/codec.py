"""Frozen dataclasses to JSON and back. Owns the written form of Plan, Record and the store's small files.

Our own because the fully cached path cannot pay for importing a validation library (docs/adr/0003). Strict: an unknown
key, a missing key or a value of another type is a ValueError, so a damaged or newer file is never half understood.
A field that has its default is left out: what a class has got since can be absent from what an older version wrote,
and equal values have equal bytes.
"""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, cast

from ci_env.digest import Digest, Json

if TYPE_CHECKING:
    from typing import Protocol

    from _typeshed import DataclassInstance

    class _Dataclass(Protocol):
        __match_args__: tuple[str, ...]


T = TypeVar("T", bound="DataclassInstance")


def encode(value: object) -> Json:
    """Return `value` as JSON data: dataclasses and mappings as objects, tuples as arrays."""
    if _is_dataclass(type(value)):
        defaults = _defaults(type(value))
        fields = ((name, getattr(value, name)) for name in _names(type(value)))
        return {name: encode(field) for name, field in fields if name not in defaults or field != defaults[name]}
    if isinstance(value, tuple):
        return [encode(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, Mapping):
        return {str(name): encode(item) for name, item in cast("Mapping[object, object]", value).items()}
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(f"cannot encode {type(value).__name__}")


def dumps(value: object) -> bytes:
    """Return `value` as one JSON document, keys in field order, ASCII only (so any file name survives)."""
    return json.dumps(encode(value), separators=(",", ":")).encode()


def loads(kind: type[T], content: bytes) -> T:
    """Return the `kind` that `content` describes; ValueError says where it does not."""
    return decode(kind, json.loads(content))


def decode(kind: type[T], data: Json) -> T:
    """Return `data` as a `kind`; ValueError names the place that does not fit."""
    return cast("T", _decode(kind, data, kind.__name__))


def _is_dataclass(kind: object) -> bool:
    return "__dataclass_fields__" in getattr(kind, "__dict__", ())


def _names(kind: type) -> tuple[str, ...]:
    """Return the fields of a dataclass, in order; `dataclasses.fields` would take an import to say the same."""
    return cast("_Dataclass", kind).__match_args__


def _defaults(kind: type) -> Mapping[str, object]:
    """Return the fields that came later than their class: absent from JSON where they say nothing."""
    return cast("Mapping[str, object]", getattr(kind, "__frozen_defaults__", {}))


@functools.cache
def _field_types(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {name: hints[name] for name in _names(kind)}


def _decode(kind: Any, data: Any, at: str) -> object:
    origin = typing.get_origin(kind)
    if _is_dataclass(kind):
        return _decode_object(cast("type", kind), data, at)
    if origin in (Union, types.UnionType):
        return _decode_union(kind, data, at)
    if origin is Literal:
        if data in typing.get_args(kind) and type(data) in map(type, typing.get_args(kind)):
            return data
    elif origin is tuple and isinstance(data, list):
        (item, _) = typing.get_args(kind)
        return tuple(_decode(item, entry, f"{at}[{i}]") for i, entry in enumerate(cast("list[object]", data)))
    elif origin is Mapping and isinstance(data, dict):
        (_, item) = typing.get_args(kind)
        return {name: _decode(item, entry, f"{at}.{name}") for name, entry in cast("dict[str, object]", data).items()}
    elif kind is Digest and isinstance(data, str):
        return Digest.parse(data)
    elif type(data) is kind:
        return data
    raise ValueError(f"{at}: {data!r} is not {kind}")


def _decode_union(kind: Any, data: object, at: str) -> object:
    """Decode the only supported union: `X | None`."""
    if data is None:
        return None
    (inner,) = (option for option in typing.get_args(kind) if option is not types.NoneType)
    return _decode(inner, data, at)


def _decode_object(kind: type, data: object, at: str) -> object:
    fields = _field_types(kind)
    required = fields.keys() - _defaults(kind).keys()
    if not isinstance(data, dict) or not required <= data.keys() <= fields.keys():
        raise ValueError(f"{at}: does not have exactly the keys {', '.join(fields)}")
    values = cast("dict[str, object]", data)
    given = ((name, field) for name, field in fields.items() if name in values)
    decoded = {name: _decode(field, values[name], f"{at}.{name}") for name, field in given}
    for name, default in _defaults(kind).items():
        if name in decoded and decoded[name] == default:
            raise ValueError(f"{at}.{name}: is there though it says what its absence does")
    return kind(**decoded)

"""Dataclasses that are frozen and have slots, made without compiling code: a run pays for them each time it starts.

`dataclasses` writes the source of six methods for each class and compiles it: half of all that importing a cached run's
modules costs (docs/adr/0015). Here the methods are shared, and see the fields through the class's slots. What
they do is the same, `dataclasses.replace`, `fields` and `is_dataclass` included; to type checkers it is the same thing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from dataclasses import Field, dataclass, replace
else:

    def dataclass(*, frozen: bool, slots: bool) -> Callable[[type], type]:
        """Return a decorator that makes a frozen class with slots of its fields, which is the only kind there is."""
        assert frozen, "the standard library's makes others"
        assert slots, "likewise"
        return _make

    def replace(instance: T, /, **changes: object) -> T:
        """Return a copy of `instance` with other values for some fields."""
        kept = {name: getattr(instance, name) for name in type(instance).__match_args__}
        return type(instance)(**{**kept, **changes})


__all__ = ["dataclass", "replace"]
T = TypeVar("T")


def _make(kind: type) -> type:
    names = tuple(kind.__annotations__)
    defaults = {name: kind.__dict__[name] for name in names if name in kind.__dict__}
    left_out = {"__dict__", "__weakref__", *names}
    namespace = {name: value for name, value in kind.__dict__.items() if name not in left_out}
    own = {"__slots__": names, "__match_args__": names, "__annotations__": dict(kind.__annotations__)}
    made = cast(
        "type[_Made]",
        type(kind)(kind.__name__, kind.__bases__, {**_METHODS, **namespace, **own, "__qualname__": kind.__qualname__}),
    )
    made.__frozen_set__ = tuple(made.__dict__[name].__set__ for name in names)
    made.__frozen_get__ = attrgetter(*names) if names else _nothing
    made.__frozen_defaults__ = defaults
    return made


def _nothing(_: object) -> tuple[()]:
    return ()


def _init(self: object, *args: object, **kwargs: object) -> None:
    kind = cast("type[_Made]", type(self))
    if not args and tuple(kwargs) == kind.__match_args__:  # what readers of large archives do a million times
        args = tuple(kwargs.values())
    elif kwargs or len(args) != len(kind.__match_args__):
        args = _bind(kind, args, kwargs)
    for put, value in zip(kind.__frozen_set__, args, strict=True):
        put(self, value)


def _bind(kind: type[_Made], args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[object, ...]:
    """Return the values in the order of the fields; TypeError where they do not fit."""
    names = kind.__match_args__
    given = {**kind.__frozen_defaults__, **dict(zip(names, args, strict=False)), **kwargs}
    twice = [name for name in names[: len(args)] if name in kwargs]
    unknown = [name for name in kwargs if name not in names]
    missing = [name for name in names if name not in given]
    if len(args) > len(names) or twice or unknown or missing:
        what = f"{len(args)} values" if len(args) > len(names) else f"{', '.join(twice or unknown or missing)}"
        wrong = "too many:" if len(args) > len(names) else "twice:" if twice else "unknown:" if unknown else "missing:"
        raise TypeError(f"{kind.__name__}() takes {', '.join(names) or 'nothing'}; {wrong} {what}")
    return tuple(given[name] for name in names)


def _refuse(self: object, name: str, *_: object) -> None:
    raise AttributeError(f"cannot assign to or delete field {name!r} of {type(self).__name__}")


def _values(instance: object) -> tuple[object, ...]:
    kind = cast("type[_Made]", type(instance))
    return tuple(getattr(instance, name) for name in kind.__match_args__)


def _eq(self: object, other: object) -> object:
    if other.__class__ is not self.__class__:
        return NotImplemented
    get = cast("type[_Made]", type(self)).__frozen_get__
    return get(self) == get(other)


def _hash(self: object) -> int:
    return hash(_values(self))


def _repr(self: object) -> str:
    kind = cast("type[_Made]", type(self))
    fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in kind.__match_args__)
    return f"{kind.__qualname__}({fields})"


def _reduce(self: object) -> tuple[type, tuple[object, ...]]:
    return type(self), _values(self)


class _Fields:
    """Makes what `dataclasses` knows a class by, when it is asked for."""

    def __get__(self, _: object, kind: type[_Made]) -> Mapping[str, Field[Any]]:
        import dataclasses

        stand_in = dataclasses.make_dataclass(
            kind.__name__, kind.__match_args__, namespace=dict(kind.__frozen_defaults__)
        )
        return {field.name: field for field in dataclasses.fields(stand_in)}


_METHODS: Mapping[str, object] = {
    "__init__": _init,
    "__eq__": _eq,
    "__hash__": _hash,
    "__repr__": _repr,
    "__reduce__": _reduce,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
    "__dataclass_fields__": _Fields(),
}

if TYPE_CHECKING:

    class _Made:
        __match_args__: tuple[str, ...]
        __frozen_set__: tuple[Callable[[object, object], None], ...]
        __frozen_get__: Callable[[object], object]
        __frozen_defaults__: dict[str, object]

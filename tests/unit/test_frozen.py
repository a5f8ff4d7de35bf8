"""Our dataclasses do what the standard library's do, in all that is used of them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
import typing

import pytest

from ci_env import frozen


@frozen.dataclass(frozen=True, slots=True)
class Ours:
    """Words."""

    first: int
    second: str = "default"
    third: tuple[int, ...] = ()

    @property
    def twice(self) -> int:
        return 2 * self.first


@dataclasses.dataclass(frozen=True, slots=True)
class Theirs:
    """Words."""

    first: int
    second: str = "default"
    third: tuple[int, ...] = ()

    @property
    def twice(self) -> int:
        return 2 * self.first


@frozen.dataclass(frozen=True, slots=True)
class Empty:
    """Nothing."""


KINDS = pytest.mark.parametrize("kind", [Ours, Theirs])


@KINDS
def test_making(kind: type[Ours]) -> None:
    assert (kind(1).first, kind(1).second, kind(1, "x", (2,)).third) == (1, "default", (2,))
    assert kind(third=(3,), first=1) == kind(1, "default", (3,))
    assert (kind(4).twice, kind.__doc__, kind.__match_args__) == (8, "Words.", ("first", "second", "third"))


@KINDS
@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, "x", (), 4), {}), ((1,), {"first": 2}), ((1,), {"fourth": 4})]
)
def test_wrong_values_are_refused(kind: type[Ours], args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        kind(*args, **kwargs)  # type: ignore[arg-type]  # that is the point


@KINDS
def test_equality_and_hash(kind: type[Ours]) -> None:
    assert kind(1) == kind(1)
    assert kind(1) != kind(2)
    others: tuple[object, ...] = ((1, "default", ()), Theirs(1) if kind is Ours else Ours(1))
    assert kind(1) not in others
    assert hash(kind(1)) == hash(kind(1))
    assert len({kind(1), kind(1), kind(2)}) == 2


@KINDS
def test_nothing_can_be_changed(kind: type[Ours]) -> None:
    made, name = kind(1), "first"
    with pytest.raises(AttributeError):
        made.first = 2  # type: ignore[misc]  # that is the point
    with pytest.raises(AttributeError):
        delattr(made, name)
    assert made == kind(1)
    assert not hasattr(made, "__dict__")


@KINDS
def test_copies(kind: type[Ours]) -> None:
    made = kind(1, "x", (2,))
    assert pickle.loads(pickle.dumps(made)) == copy.copy(made) == copy.deepcopy(made) == made
    assert dataclasses.replace(made, second="y") == kind(1, "y", (2,))
    assert frozen.replace(made, first=5) == kind(5, "x", (2,))


@KINDS
def test_what_others_see(kind: type[Ours]) -> None:
    assert dataclasses.is_dataclass(kind)
    assert [(field.name, field.default) for field in dataclasses.fields(kind)] == [
        ("first", dataclasses.MISSING),
        ("second", "default"),
        ("third", ()),
    ]
    assert typing.get_type_hints(kind) == {"first": int, "second": str, "third": tuple[int, ...]}
    assert repr(kind(1, "x")) == f"{kind.__name__}(first=1, second='x', third=())"


def test_matching() -> None:
    match Ours(1, "x"):
        case Ours(first, second):
            assert (first, second) == (1, "x")


def test_without_fields() -> None:
    assert Empty() == Empty()
    assert (repr(Empty()), hash(Empty()), dataclasses.fields(Empty)) == ("Empty()", hash(()), ())


def test_making_a_class_imports_nothing_dear() -> None:
    program = "import sys, ci_env.events, ci_env.plan.plan, ci_env.capsule.record; print('dataclasses' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"

"""Every case of applying layers, in each way that the product joins them. docs/images.md has the table.

Run by root, by a user with subordinate ids and by one without (tests/e2e/test_kernel_suite.py), each mode is tried as
all three.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.layer_cases.case import Refused, Shown, located
from tests.layer_cases.outcome import Outcome, Result, decode
from tests.layer_cases.program import attempts
from tests.layer_cases.tree import expected
from tests.sandboxes import Place, new_place

_ATTEMPTS = attempts()
_START = """
import sys
sys.path[:] = sys.argv.pop(1).split(":")
from tests.layer_cases.program import main
main(sys.argv[1:])
"""


@dataclass(frozen=True)
class Tried:
    directory: Path
    is_squashed: bool
    outcome: Outcome


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Generator[Tried]:
    """Try all cases at once, as the owner of layers."""
    with new_place(tmp_path_factory.mktemp("cases") / "store") as place:
        directory = place.store / "layers"
        directory.mkdir()
        yield Tried(directory, not place.runner.is_owner_mapped(), _outcome(place, directory))


def _outcome(place: Place, directory: Path) -> Outcome:
    unshare = shutil.which("unshare")
    assert unshare is not None
    owners = "keep" if place.runner.is_owner_mapped() else "squash"
    argv = [unshare, "-m", sys.executable, "-c", _START, ":".join(sys.path), str(directory), owners]
    with open(os.memfd_create("outcome"), "w+b") as output:
        assert place.runner.as_owner(argv, stdout=output.fileno()) == 0
        output.seek(0)
        return decode(output.read())


def _shown() -> Iterator[object]:
    for key, attempt in _ATTEMPTS.items():
        if isinstance(attempt, Shown):
            modes = ["flattened", "overlay"] + ["packed"] * attempt.packs
            yield from (pytest.param(key, mode, id=f"{key}-{mode}") for mode in modes)


def _result(tried: Tried, key: str) -> Result:
    """Return what came of an attempt, once it is sure that nothing happened outside its layers."""
    result = tried.outcome.results[key]
    assert result.outside == ()
    assert result.seconds < 1
    return result


@pytest.mark.parametrize(("key", "mode"), list(_shown()))
def test_case(tried: Tried, key: str, mode: str) -> None:
    attempt, result = _ATTEMPTS[key], _result(tried, key)
    assert isinstance(attempt, Shown)
    assert result.error is None
    items = located(attempt.tree, tried.directory / key / "victim")
    assert result.trees[mode] == expected(items, squashed=tried.is_squashed)
    assert len(result.warnings) == len(attempt.warnings)
    for part, warning in zip(attempt.warnings, result.warnings, strict=True):
        assert part in warning


@pytest.mark.parametrize("key", [key for key, attempt in _ATTEMPTS.items() if isinstance(attempt, Refused)])
def test_refused(tried: Tried, key: str) -> None:
    attempt, result = _ATTEMPTS[key], _result(tried, key)
    assert isinstance(attempt, Refused)
    if attempt.unless_squashed and tried.is_squashed:
        assert result.error is None
        return
    assert result.error is not None
    kind, message = result.error
    assert kind == attempt.kind.__name__
    assert attempt.message in message
    assert message.isprintable()


def test_t6_quickly_and_with_little_memory(tried: Tried) -> None:
    assert tried.outcome.memory_bytes < 64 * 2**20

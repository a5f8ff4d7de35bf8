"""The program that unpacks all cases and reads what they show: `program.py DIRECTORY (squash|keep)`.

A program of its own because it runs as what owns layers, in a mount namespace; one for all cases, to be quick. Writes
the outcome to stdout.
"""

from __future__ import annotations

import io
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ci_env.digest import Digest
from ci_env.errors import CiEnvError
from ci_env.oci.layer import Applied, apply
from ci_env.oci.merged import MergedView
from ci_env.oci.pack import pack
from ci_env.oci.tar import Archive
from ci_env.oci.unpack import unpack
from ci_env_runners import syscalls
from tests.layer_cases.case import Layer, Shown, Stored, Try, located
from tests.layer_cases.outcome import Outcome, Result, encode
from tests.layer_cases.table import CASES
from tests.layer_cases.tree import Tree, read_directory, read_merged
from tests.oci_builder import tar


def attempts() -> dict[str, Try]:
    """Return what all cases try, by name: the case's id and a number."""
    return {f"{case.id}.{number}": attempt for case in CASES for number, attempt in enumerate(case.tries, 1)}


def main(arguments: Sequence[str]) -> None:
    directory, owners = Path(arguments[0]), arguments[1]
    os.umask(0o077)
    sys.setrecursionlimit(10_000)
    before = _peak_bytes()
    results = {
        key: _result(attempt, directory / key, squash_ids=owners == "squash") for key, attempt in attempts().items()
    }
    sys.stdout.write(encode(Outcome(_peak_bytes() - before, results)))


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _result(attempt: Try, directory: Path, *, squash_ids: bool) -> Result:
    victim = directory / "victim"
    victim.mkdir(parents=True)
    (victim / "kept").write_text("kept")
    before = _outside(directory)
    roots = [_new(directory / "layers" / str(number) / "root") for number in range(len(attempt.layers))]
    layers = [_for(victim, layer) for layer in attempt.layers]
    for number, layer in enumerate(layers[:-1]):
        _apply(layer, roots[number], roots[:number], squash_ids=squash_ids)
    error: tuple[str, str] | None = None
    warnings: tuple[str, ...] = ()
    began = time.process_time()
    try:
        warnings = _apply(layers[-1], roots[-1], roots[:-1], squash_ids=squash_ids).warnings
    except CiEnvError as caught:
        error = type(caught).__name__, str(caught)
    seconds = time.process_time() - began
    outside = tuple(sorted(before ^ _outside(directory)))
    trees: dict[str, Tree] = {}
    if isinstance(attempt, Shown) and error is None:
        trees = _trees(directory, roots, packs=attempt.packs, squash_ids=squash_ids)
    return Result(seconds, error, warnings, outside, trees)


def _trees(directory: Path, roots: Sequence[Path], *, packs: bool, squash_ids: bool) -> dict[str, Tree]:
    trees = {"flattened": _flattened(directory, roots), "overlay": _overlay(directory / "overlay", roots)}
    if packs:
        again = _packed(directory / "packed", roots, squash_ids=squash_ids)
        trees["packed"] = _overlay(directory / "overlay-packed", again)
    return trees


def _apply(layer: Stored, root: Path, lowers: Sequence[Path], *, squash_ids: bool) -> Applied:
    return unpack(io.BytesIO(layer.content), root, lowers, Digest.of(layer.plain), squash_ids=squash_ids)


def _for(victim: Path, layer: Layer) -> Stored:
    """Return `layer` as it is stored, the victim's true path in it."""
    if isinstance(layer, Stored):
        return layer
    content = tar(located(layer, victim))
    return Stored(content, content)


def _flattened(directory: Path, roots: Sequence[Path]) -> Tree:
    with MergedView(_new(directory / "nothing"), roots) as view:
        return read_merged(view)


def _overlay(directory: Path, roots: Sequence[Path]) -> Tree:
    """Mount the layers as an overlay, and return what it shows."""
    point, empty = _new(directory / "point"), _new(directory / "empty")
    # a read-only overlay needs two lower directories
    lowers = ":".join(map(str, (*reversed(roots), empty)))
    syscalls.mount("overlay", str(point), "overlay", 0, f"userxattr,lowerdir={lowers}")
    descriptor = os.open(point, os.O_RDONLY)
    try:
        return read_directory(descriptor)
    finally:
        os.close(descriptor)


def _packed(directory: Path, roots: Sequence[Path], *, squash_ids: bool) -> list[Path]:
    """Pack each layer and unpack it again; return the new ones."""
    again: list[Path] = []
    for number, root in enumerate(roots):
        pieces: list[bytes] = []
        pack(root.parent, pieces.append)
        destination = _new(directory / str(number) / "root")
        apply(Archive(pieces), destination, again, squash_ids=squash_ids)
        again.append(destination)
    return again


def _new(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


def _outside(directory: Path) -> set[str]:
    """Return all that an archive must not change: the victim, and what is beside it."""
    victim = directory / "victim"
    facts = {(victim / "kept").read_text(), *(name for name in os.listdir(directory) if name != "layers")}
    for file in (victim, *victim.iterdir()):
        status = file.lstat()
        facts.add(f"{file.name}: {status.st_ino} {status.st_mode:o} {status.st_nlink} {status.st_mtime_ns}")
    return facts


if __name__ == "__main__":
    main(sys.argv[1:])

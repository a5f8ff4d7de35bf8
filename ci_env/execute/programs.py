"""Programs of ours that run under the ids that layers are owned by, as functions. Owns their command lines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from ci_env import codec
from ci_env.digest import Digest
from ci_env.errors import HostError
from ci_env.oci.order import Order
from ci_env.ports import Runner


def layer_digest(runner: Runner, layer: Path) -> Digest:
    """Return the digest of all that is in a layer directory."""
    status, answer = _ask(runner, ["ci_env.oci.layer_digest", str(layer)])
    try:
        if status == 0:
            return Digest.parse(answer.decode().strip())
    except ValueError:
        pass  # the status alone says little, but all that there is
    raise HostError(f"cannot read what a step has left in {layer}: exit status {status}")


def collect(
    runner: Runner, output: Path, upper: Path, lowers: Sequence[Path], artifacts: Sequence[str], reports: Sequence[str]
) -> list[str]:
    """Write the workspace's files that either list chooses to the new tar `output`; return patterns that match none."""
    argv = ["ci_env.oci.collect", str(output), str(upper)]
    argv += [f"--lower={lower}" for lower in lowers]
    argv += [f"--artifact={pattern}" for pattern in artifacts]
    argv += [f"--report={pattern}" for pattern in reports]
    status, content = _ask(runner, argv)
    answer = _parsed(content)
    if status or "unmatched" not in answer:
        raise HostError(f"cannot collect artifacts: {answer.get('error', 'its program ended')}: exit status {status}")
    return cast("list[str]", answer["unmatched"])


def packages(runner: Runner, layers: Sequence[Path]) -> tuple[list[tuple[str, str, str, str]], list[str]]:
    """Return the packages in layers (directories of an overlay, bottom first, at least one), and what is odd there."""
    *lowers, top = layers
    answer = _answer(runner, ["ci_env.oci.packages", str(top), *(f"--lower={lower}" for lower in lowers)], "packages")
    found = cast("list[list[str]]", answer["packages"])
    return [(manager, name, version, place) for manager, name, version, place in found], cast(
        "list[str]", answer["odd"]
    )


def layer_changes(runner: Runner, one: Path, other: Path) -> tuple[list[tuple[str, str]], int]:
    """Return how two layer directories differ, the first paths and how each does; and how many there are."""
    answer = _answer(runner, ["ci_env.oci.layer_changes", str(one), str(other)], "changes")
    return [(path, how) for path, how in cast("list[list[str]]", answer["changes"])], cast("int", answer["count"])


def layer_contrast(runner: Runner, one: Path, other: Path) -> dict[str, object]:
    """Return where two layer directories differ, as oci/layer_contrast.py says it."""
    return _answer(runner, ["ci_env.oci.layer_contrast", str(one), str(other)], "contrasts")


def copy(runner: Runner, order: Order) -> tuple[str | None, list[str]]:
    """Copy files as ordered; return why that cannot be done, and lines for its log. HostError for this machine's fault.

    Where it cannot be done, the upper directory holds a part of it.
    """
    status, content = _ask(runner, ["ci_env.oci.copy"], codec.dumps(order))
    answer = _parsed(content)
    if status == 0 and "warnings" in answer:
        return None, [f"warning: {text}" for text in cast("list[str]", answer["warnings"])]
    error = cast("dict[str, str | None]", answer.get("error", {"kind": "host", "message": "its program ended"}))
    message = f"{error['message']}"
    if error["kind"] == "host":
        raise HostError(f"cannot copy files: {message}: exit status {status}", hint=error.get("hint"))
    return message, [text for text in (message, error.get("hint")) if text]


def _answer(runner: Runner, argv: Sequence[str], wanted: str) -> dict[str, object]:
    """Return the answer of a program, which must hold what is `wanted`."""
    status, content = _ask(runner, argv)
    answer = _parsed(content)
    if status or wanted not in answer:
        raise HostError(f"cannot look into layers: {answer.get('error', 'the program ended')}: exit status {status}")
    return answer


def _parsed(content: bytes) -> dict[str, object]:
    """Return an answer, an empty one where the program ended before it was whole."""
    return cast("dict[str, object]", json.loads(content)) if content.endswith(b"\n") else {}


def _ask(runner: Runner, arguments: Sequence[str], question: bytes = b"") -> tuple[int, bytes]:
    """Run a program; return its exit status and what it prints. Its complaints go where ours go."""
    with open(os.memfd_create("question"), "w+b") as asked, open(os.memfd_create("answer"), "w+b") as answer:
        asked.write(question)
        asked.seek(0)
        argv = [sys.executable, "-I", "-m", *arguments]
        status = runner.as_owner(argv, stdin=asked.fileno() if question else None, stdout=answer.fileno())
        answer.seek(0)
        return status, answer.read()

"""The capsule that a run leaves behind: when there is one, and where. Nothing here changes how a run has ended."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ci_env.cli.opened import Opened
from ci_env.events import Emit, Note
from ci_env.frozen import dataclass

if TYPE_CHECKING:
    from ci_env.capsule.record import Record
    from ci_env.store.home import Store

When = Literal["always", "on-failure", "never"]
_WHEN: tuple[When, ...] = ("always", "on-failure", "never")
_MAX_BYTES_HERE = 2**24


@dataclass(frozen=True, slots=True)
class CapsuleWish:
    """What `--capsule` says."""

    when: When = "on-failure"
    path: Path | None = None
    """None: beside the run's record"""


ON_FAILURE = CapsuleWish()


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--capsule`."""
    parser.add_argument(
        "--capsule",
        type=_parsed,
        default=ON_FAILURE,
        metavar="|".join((*_WHEN, "FILE")),
        help="when to write the run to a file for other machines, or to which, whatever the outcome "
        "(default: on-failure, beside its record in the store)",
    )


def kept_capsule(record: Record, opened: Opened, wish: CapsuleWish, emit: Emit, secrets: tuple[bytes, ...]) -> str:
    """Write the run's capsule if it is wished for; return its path, or nothing where there is none.

    An error is a warning: the run has ended, and whatever became of it can still be packed. On a developer's machine,
    which has the run itself, only one that is quickly written is.
    """
    if record.status == "cancelled":  # and with it everything that would pack
        return ""
    is_wanted = wish.path is not None or wish.when == "always" or (wish.when == "on-failure" and _has_failed(record))
    if not is_wanted:
        return ""
    from ci_env.capsules.file_write import TooLarge
    from ci_env.capsules.pack import Wish, pack
    from ci_env.errors import CiEnvError, Interrupted

    path = wish.path or capsule_beside(record, opened.store)
    is_asked_for = wish != ON_FAILURE or bool(record.ci)
    try:
        max_bytes = None if is_asked_for else _MAX_BYTES_HERE
        pack(record, path, opened.shelf(emit), Wish(max_bytes=max_bytes, secrets=secrets))
    except TooLarge:
        emit(Note("info", f"no capsule was written, since it would be large: `ci-env capsule pack {record.run_id}`"))
    except Interrupted:
        raise
    except (CiEnvError, OSError) as error:
        emit(Note("warning", f"no capsule of the run was written: {error}"))
    else:
        return str(path)
    return ""


def capsule_beside(record: Record, store: Store) -> Path:
    """Return where a run's capsule is, if it was put nowhere else."""
    return store.runs / record.run_id / "capsule.cienv"


def _has_failed(record: Record) -> bool:
    return any(step.status == "failed" for job in record.jobs for step in job.steps)


def _parsed(text: str) -> CapsuleWish:
    if text in _WHEN:
        return CapsuleWish(when=text)
    if not text:
        raise argparse.ArgumentTypeError("expected always, on-failure, never or a file")
    return CapsuleWish(path=Path(text))

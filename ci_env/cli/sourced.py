"""What a command that looks at a run was given: a run of the store, a capsule in a file, or one in a registry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.capsule.record import RECORD_VERSION, Record
from ci_env.cli.opened import Opened
from ci_env.errors import ConfigError
from ci_env.events import Emit, Note
from ci_env.frozen import dataclass
from ci_env.oci.reference import Reference, parse
from ci_env.store.home import Store
from ci_env.store.runs import Runs

if TYPE_CHECKING:
    from ci_env.oci.registries import Registries

SUFFIX = ".cienv"
_REGISTRY = "oci://"


@dataclass(frozen=True, slots=True)
class Sourced:
    """A run whose layers and blobs are in the store, as far as they are anywhere."""

    record: Record
    is_capsule: bool
    """the work of strangers, maybe: it gets nothing that it is not given by name"""


def is_file(text: str) -> bool:
    """Tell whether `text` is the path of a file, and not a run's id: it says `.cienv`, or has a slash."""
    return not is_in_registry(text) and (text.endswith(SUFFIX) or "/" in text)


def is_in_registry(text: str) -> bool:
    return text.startswith(_REGISTRY)


def reference(text: str) -> Reference:
    """Return where in a registry a capsule is, with `oci://` before it or not. ConfigError."""
    try:
        return parse(text.removeprefix(_REGISTRY))
    except ValueError as error:
        raise ConfigError(str(error)) from error


def ended_run(text: str, store: Store, *, hint: str) -> Record:
    """Return the record of the run of the store that `text` names. ConfigError with `hint` while it goes on."""
    runs = Runs(store, Record, version=RECORD_VERSION)
    run_id = runs.find(text)
    if runs.is_running(run_id):
        raise ConfigError(f"run {run_id} goes on", hint=hint)
    return runs.load(run_id)


def load(text: str, opened: Opened, emit: Emit) -> Sourced:
    """Return the run that `text` names; a capsule is brought into the store. Raises what that raises.

    What makes a capsule's state another than the recorded one is told to `emit`.
    """
    if not is_file(text) and not is_in_registry(text):
        runs = Runs(opened.store, Record, version=RECORD_VERSION)
        return Sourced(runs.load(runs.find(text)), is_capsule=False)
    from ci_env.capsules.file import CapsuleFile
    from ci_env.capsules.opening import open_capsule

    shelf = opened.shelf(emit)
    if is_in_registry(text):
        with _registries(emit).image(reference(text)) as source:
            record, capsule = open_capsule(source, shelf, what=text)
    else:
        with CapsuleFile(Path(text)) as file:
            record, capsule = open_capsule(file, shelf, what=text, check=file.check)
    redacted = sum(part.redacted for part in capsule.layers)
    if redacted:
        emit(Note("warning", f"{redacted} files of the recorded state held secrets, which are blotted out"))
    return Sourced(record, is_capsule=True)


def _registries(emit: Emit) -> Registries:
    from ci_env.oci.registries import Registries

    return Registries(os.environ, emit)

"""What the execution of a plan works with: the runner, the store's parts, and who is told. Owns nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.digest import Digest
from ci_env.events import Emit
from ci_env.execute.sandbox import Furnisher
from ci_env.frozen import dataclass
from ci_env.plan.plan import SourceLayer
from ci_env.ports import Runner
from ci_env.store.blobs import Blobs
from ci_env.store.layers import Layers
from ci_env.store.steps import Steps

if TYPE_CHECKING:
    from ci_env.execute.running import RunningStep


@dataclass(frozen=True, slots=True)
class Workbench:
    run_id: str
    runner: Runner
    layers: Layers
    furnisher: Furnisher
    blobs: Blobs
    steps: Steps
    project: Digest
    have_source: Callable[[SourceLayer], None]
    """makes sure that the source layer is in the store"""
    emit: Emit
    is_caching: bool
    """results of earlier runs are good enough"""
    begin: Callable[[str, str, Path], RunningStep]
    """notes that a step of a job begins to run, with the path of its log, for others to look at"""

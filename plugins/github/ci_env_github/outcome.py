"""What a run has come to, told to the workflow: outputs for later steps, a summary for people."""

from __future__ import annotations

from collections.abc import Mapping

from ci_env.events import Event, RunFinished, StepFailure, StepFinished
from ci_env_github.files import add_summary, set_outputs
from ci_env_github.summary import summary


class Outcome:
    """Collects one run; writes when it has ended."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._steps: list[StepFinished] = []
        self._failures: list[StepFailure] = []

    def note(self, event: Event) -> None:
        match event:
            case StepFinished():
                self._steps.append(event)
            case StepFailure():
                self._failures.append(event)
            case RunFinished():
                self._write(event)
            case _:
                pass

    def _write(self, run: RunFinished) -> None:
        first = next(iter(self._failures), None)
        outputs = {
            "result": run.status,
            "run-id": run.run_id,
            "failed-step": f"{first.job}/{first.step}" if first else "",
            "cache-hits": str(sum(step.status == "cached" for step in self._steps)),
        }
        set_outputs(self._env, outputs)
        ending = f"{run.status} in {run.duration_ms / 1000:.1f} s"
        add_summary(self._env, summary(run.run_id, self._steps, self._failures, ending=ending))

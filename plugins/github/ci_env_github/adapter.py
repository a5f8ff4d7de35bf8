"""ci-env inside GitHub Actions, as `ci_env.ports.Adapter` asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ci_env.events import Emit, Event


def detect(env: Mapping[str, str]) -> bool:
    """Tell whether this is a step of a GitHub Actions job."""
    return env.get("GITHUB_ACTIONS") == "true"


def context(env: Mapping[str, str]) -> Mapping[str, str]:
    """Return facts about the run, without secrets."""
    from ci_env_github.context import read_context

    return read_context(env)


def hide(secrets: Sequence[bytes]) -> str:
    """Return commands to mask these values, for what other steps of the job write."""
    from ci_env_github.reporter import mask_commands

    return mask_commands(secrets)


def reporter(env: Mapping[str, str], write: Callable[[str], None]) -> Emit:
    """Return a view that writes a log with groups and annotations, and at the end the step's outputs and summary."""
    from ci_env_github.outcome import Outcome
    from ci_env_github.reporter import Reporter

    log, outcome = Reporter(write), Outcome(env)

    def report(event: Event) -> None:
        log.report(event)
        outcome.note(event)

    return report

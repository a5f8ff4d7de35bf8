"""ci-env inside GitLab CI, as `ci_env.ports.Adapter` asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ci_env.events import Emit


def detect(env: Mapping[str, str]) -> bool:
    """Tell whether this is a job of GitLab CI."""
    return env.get("GITLAB_CI") == "true"


def context(env: Mapping[str, str]) -> Mapping[str, str]:
    """Return facts about the run, without secrets."""
    from ci_env_gitlab.context import read_context

    return read_context(env)


def hide(secrets: Sequence[bytes]) -> str:  # noqa: ARG001  # a job of GitLab's has no way to ask for it
    """Return nothing: GitLab masks the variables that its settings say, and ci-env what it writes itself."""
    return ""


def reporter(env: Mapping[str, str], write: Callable[[str], None]) -> Emit:  # noqa: ARG001  # the format needs none
    """Return a view that writes a log with collapsible sections."""
    from ci_env_gitlab.reporter import Reporter

    return Reporter(write).report

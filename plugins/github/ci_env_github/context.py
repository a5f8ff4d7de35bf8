"""What GitHub Actions says about a run, for the record. Copies variables by name, so that no secret can slip in.

Source: docs.github.com, "Variables reference". Every one may be absent: older servers and act lack some.
"""

from __future__ import annotations

from collections.abc import Mapping

_FACTS = {
    "server": "GITHUB_SERVER_URL",
    "repository": "GITHUB_REPOSITORY",
    "run": "GITHUB_RUN_ID",
    "number": "GITHUB_RUN_NUMBER",
    "attempt": "GITHUB_RUN_ATTEMPT",
    "workflow": "GITHUB_WORKFLOW",
    "workflow_ref": "GITHUB_WORKFLOW_REF",
    "job": "GITHUB_JOB",
    "event": "GITHUB_EVENT_NAME",
    "ref": "GITHUB_REF",
    "head_ref": "GITHUB_HEAD_REF",
    "base_ref": "GITHUB_BASE_REF",
    "sha": "GITHUB_SHA",
    "actor": "GITHUB_ACTOR",
    "runner_name": "RUNNER_NAME",
    "runner_os": "RUNNER_OS",
    "runner_arch": "RUNNER_ARCH",
    "runner_environment": "RUNNER_ENVIRONMENT",
    "runner_image": "ImageOS",
    "runner_image_version": "ImageVersion",
}


def read_context(env: Mapping[str, str]) -> dict[str, str]:
    """Return what is known, by short names, and the address of the run's page."""
    facts = {name: env[variable] for name, variable in _FACTS.items() if env.get(variable)}
    if {"server", "repository", "run"} <= facts.keys():
        facts["url"] = f"{facts['server']}/{facts['repository']}/actions/runs/{facts['run']}"
    return {"service": "github", **facts}

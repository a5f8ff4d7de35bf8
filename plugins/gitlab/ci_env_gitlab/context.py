"""What GitLab CI says about a job, for the record. Copies variables by name, so that no secret can slip in.

Source: docs.gitlab.com, "Predefined CI/CD variables reference". CI_REPOSITORY_URL is not among them: it holds a token.
"""

from __future__ import annotations

from collections.abc import Mapping

_FACTS = {
    "server": "CI_SERVER_URL",
    "repository": "CI_PROJECT_PATH",
    "project": "CI_PROJECT_ID",
    "pipeline": "CI_PIPELINE_ID",
    "run": "CI_JOB_ID",
    "job": "CI_JOB_NAME",
    "stage": "CI_JOB_STAGE",
    "event": "CI_PIPELINE_SOURCE",
    "ref": "CI_COMMIT_REF_NAME",
    "head_ref": "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
    "base_ref": "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
    "sha": "CI_COMMIT_SHA",
    "image": "CI_JOB_IMAGE",
    "url": "CI_JOB_URL",
    "actor": "GITLAB_USER_LOGIN",
    "runner_name": "CI_RUNNER_DESCRIPTION",
    "runner_arch": "CI_RUNNER_EXECUTABLE_ARCH",
    "runner_version": "CI_RUNNER_VERSION",
}


def read_context(env: Mapping[str, str]) -> dict[str, str]:
    """Return what is known, by short names."""
    facts = {name: env[variable] for name, variable in _FACTS.items() if env.get(variable)}
    return {"service": "gitlab", **facts}

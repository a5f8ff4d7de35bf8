"""A job for a Go project."""

from __future__ import annotations

import re

from ci_env.cli.starter.project import Project
from ci_env.cli.starter.recipe import Job, Step

_BUILD_CACHE = ("/root/.cache/go-build",)


def go_job(project: Project) -> Job | None:
    """Return the job; None where there is no Go project."""
    if not project.has("go.mod"):
        return None
    version = re.search(r"^go +(1\.[0-9]+)", project.text("go.mod"), re.MULTILINE)
    image = f"golang:{version[1] if version else '1'}"
    checks = (
        Step("vet", "go vet ./...", caches=_BUILD_CACHE),
        Step("test", "go test ./...", caches=_BUILD_CACHE),
    )
    if project.has("vendor/modules.txt"):
        return Job("go", image, checks)
    comment = "Sees only these files. Modules become part of its result, so the steps below need no network."
    deps = Step("deps", "go mod download", comment, downloads=True, inputs=project.present("go.mod", "go.sum"))
    if re.search(r"=> +\.", project.text("go.mod")):  # a module of this repository in place of a published one
        deps = Step("deps", "go mod download", downloads=True)
    return Job("go", image, (deps, *checks))

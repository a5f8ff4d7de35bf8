"""Which jobs fit a directory: one for each language that is found."""

from __future__ import annotations

from pathlib import Path

from ci_env.cli.starter.c import c_job
from ci_env.cli.starter.go import go_job
from ci_env.cli.starter.node import node_job
from ci_env.cli.starter.project import Project
from ci_env.cli.starter.python import python_job
from ci_env.cli.starter.recipe import Job
from ci_env.cli.starter.rust import rust_job


def find_jobs(directory: Path) -> tuple[Job, ...]:
    """Return the jobs; none where nothing is known."""
    project = Project(directory)
    makers = (python_job, node_job, rust_job, go_job, c_job)
    return tuple(job for job in (make(project) for make in makers) if job)

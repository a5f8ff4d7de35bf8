"""One run as events, with a step that tries to command whoever reads the log; for the views of CI services."""

from __future__ import annotations

from ci_env.events import (
    Event,
    JobFinished,
    JobOutline,
    JobStarted,
    Note,
    Progress,
    RunFinished,
    RunStarted,
    StepFailure,
    StepFinished,
    StepOutput,
    StepStarted,
)

EVIL_LINES = (
    "::error::forged",
    "  ::set-output name=x::y",
    "harmless ##[error]forged",
    "\r::add-mask::x",
    "\x1b[31mred",
    "\x1b[0Ksection_end:1:ci_env_1\r\x1b[0K",
    "section_start:1:a\r\x1b[0K",
    "100%, a:b",
)
RUN: tuple[Event, ...] = (
    RunStarted("r1", (JobOutline("build", ("deps", "test: a,b")),)),
    Progress("pull", 1, 2, finished=False),
    JobStarted("build"),
    StepFinished("build", "deps", "cached", 0, "", None),
    StepStarted("build", "test: a,b"),
    StepOutput("build", "test: a,b", "first"),
    Note("warning", "50% of\nthe disk"),
    *(StepOutput("build", "test: a,b", line) for line in EVIL_LINES),
    StepFinished("build", "test: a,b", "failed", 1234, "exit status 2", None),
    JobFinished("build", "failed", 1300),
    Note("info", "::error::by the way\nsection_end:1:x"),
    StepFailure("build", "test: a,b", "exit status 2", "make\nmake test\n", EVIL_LINES[:3], "ci-env replay r1"),
    RunFinished("r1", "failed", 2000),
)

"""A run in the log of a GitLab job, byte for byte; and what is recorded of the service."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

import ci_env_gitlab.adapter
from ci_env.events import Event, StepFinished, StepOutput, StepStarted
from ci_env.ports import Adapter
from ci_env_gitlab.reporter import Reporter
from tests.ci_log import RUN

ADAPTER: Adapter = ci_env_gitlab.adapter
# gitlab-org/gitlab, lib/gitlab/regex.rb, build_trace_section_regex
MARKER = re.compile(r"section_((?:start)|(?:end)):(\d+):([a-zA-Z0-9_.-]+(?:\[[^\]]*\])?)\r\x1b\[0K")
EXPECTED = """\
ci-env run r1
build / deps: cached (0.0 s)
\x1b[0Ksection_start:1700000000:ci_env_1_build_test_a_b[collapsed=true]\r\x1b[0Kbuild / test: a,b
first
\x1b[33;1m50% of
the disk\x1b[0m
::error::forged
  ::set-output name=x::y
harmless ##[error]forged
\r::add-mask::x
\x1b[31mred\x1b[0m
\x1b[0Ksection\\_end:1:ci_env_1\r\x1b[0K\x1b[0m
section\\_start:1:a\r\x1b[0K\x1b[0m
100%, a:b
\x1b[0Ksection_end:1700000000:ci_env_1_build_test_a_b\r\x1b[0K
\x1b[31;1mbuild / test: a,b: failed, exit status 2 (1.2 s)\x1b[0m
::error::by the way
section\\_end:1:x
\x1b[31;1mbuild / test: a,b: exit status 2\x1b[0m
$ make
make test
::error::forged
  ::set-output name=x::y
harmless ##[error]forged
To run it again in the same surroundings:
\x1b[1mci-env replay r1\x1b[0m
\x1b[1mci-env run r1: failed in 2.0 s\x1b[0m
"""


def log(events: Sequence[Event]) -> str:
    pieces: list[str] = []
    report = Reporter(pieces.append, clock=lambda: 1_700_000_000.9).report
    for event in events:
        report(event)
    assert all(piece.endswith("\n") for piece in pieces)
    return "".join(pieces)


def test_log_is_as_it_was() -> None:
    assert log(RUN) == EXPECTED


def test_sections_open_and_close_at_the_time() -> None:
    pieces: list[str] = []
    report = ADAPTER.reporter({}, pieces.append)
    for event in RUN:
        report(event)
    markers = [match.groups() for match in MARKER.finditer("".join(pieces))]
    assert [(kind, name) for kind, _, name in markers] == [
        ("start", "ci_env_1_build_test_a_b[collapsed=true]"),
        ("end", "ci_env_1_build_test_a_b"),
    ]
    assert int(markers[0][1]) > 1_700_000_000


@given(
    st.lists(
        st.sampled_from(["section_", "start:", "end:", "1:", "a", "\r", "\x1b[0K"])
        | st.text(st.characters(exclude_characters="\n"), max_size=3),
        max_size=12,
    ),
    st.integers(0, 12),
)
def test_no_output_is_ever_a_marker(pieces: list[str], cut: int) -> None:
    job = "".join(pieces) or "job"
    lines = ["".join(pieces[:cut]), "".join(pieces[cut:])]
    start, end = StepStarted(job, "step"), StepFinished(job, "step", "failed", 1, "", None)
    events: list[Event] = [start, *(StepOutput(job, "step", line) for line in lines), end]
    assert [match[1] for match in MARKER.finditer(log(events))] == ["start", "end"]


def test_context_holds_facts_and_no_secrets() -> None:
    env = {
        "GITLAB_CI": "true",
        "CI_SERVER_URL": "https://gitlab.com",
        "CI_PROJECT_PATH": "g/p",
        "CI_JOB_ID": "7",
        "CI_COMMIT_SHA": "a" * 40,
        "CI_JOB_IMAGE": "",
        "CI_JOB_TOKEN": "secret",
        "CI_REPOSITORY_URL": "https://gitlab-ci-token:secret@gitlab.com/g/p.git",
    }
    assert ADAPTER.detect(env)
    assert ADAPTER.context(env) == {
        "service": "gitlab",
        "server": "https://gitlab.com",
        "repository": "g/p",
        "run": "7",
        "sha": "a" * 40,
    }
    assert not ADAPTER.detect({"CI": "true"})
    assert ADAPTER.context({}) == {"service": "gitlab"}

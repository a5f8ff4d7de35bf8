"""A run in the log of GitHub Actions, byte for byte; and what is recorded of the service."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

import ci_env_github.adapter
from ci_env.events import Event, StepFinished, StepOutput, StepStarted
from ci_env.ports import Adapter
from tests.ci_log import RUN

ADAPTER: Adapter = ci_env_github.adapter
TOKEN = re.compile("[0-9a-f]{32}")
EXPECTED = """\
ci-env run r1
build / deps: cached (0.0 s)
::group::build / test: a,b
::stop-commands::TOKEN
first
::TOKEN::
::warning title=ci-env::50%25 of%0Athe disk
::stop-commands::TOKEN
::error::forged
  ::set-output name=x::y
harmless ##[error]forged
\r::add-mask::x
\x1b[31mred
\x1b[0Ksection_end:1:ci_env_1\r\x1b[0K
section_start:1:a\r\x1b[0K
100%, a:b
::TOKEN::
::endgroup::
build / test: a,b: failed, exit status 2 (1.2 s)
: :error::by the way section_end:1:x
::stop-commands::TOKEN
$ make
make test
::error::forged
  ::set-output name=x::y
harmless ##[error]forged
exit status 2
::TOKEN::
::error title=build / test%3A a%2Cb::exit status 2%0A%0ATo run it again in the same surroundings:%0Aci-env replay r1
ci-env run r1: failed in 2.0 s
"""


def log(events: Sequence[Event]) -> str:
    pieces: list[str] = []
    report = ADAPTER.reporter({}, pieces.append)
    for event in events:
        report(event)
    assert all(piece.endswith("\n") for piece in pieces)
    return "".join(pieces)


def obeyed(text: str) -> list[str]:
    """Return the commands that the runner obeys, as actions/runner's ActionCommandManager reads a log."""
    commands: list[str] = []
    stopped_until = ""
    for line in re.split(r"\r\n|\n|\r", text):
        command = re.match(r"\s*::(\S+?)( .*?)?::", line) or re.search(r"##\[([^\] ]+)", line)
        if stopped_until:
            stopped_until = "" if line.strip() == f"::{stopped_until}::" else stopped_until
        elif command:
            commands.append(command[1])
            stopped_until = line.partition("::stop-commands::")[2]
    return commands


def test_log_is_as_it_was() -> None:
    assert TOKEN.sub("TOKEN", log(RUN)) == EXPECTED


def test_every_stop_has_a_token_of_its_own() -> None:
    tokens = re.findall("^::stop-commands::(.*)$", log(RUN), re.MULTILINE)
    assert len(set(tokens)) == len(tokens) == 3
    assert obeyed(log(RUN)) == [
        "group",
        *["stop-commands", "warning", "stop-commands"],
        "endgroup",
        "stop-commands",
        "error",
    ]


@given(st.lists(st.text(st.sampled_from("\r:# [a-sto\t\u2028") | st.characters(exclude_characters="\n")), max_size=5))
def test_no_output_is_ever_a_command(lines: list[str]) -> None:
    job = "".join(lines) or "job"
    start, end = StepStarted(job, "step"), StepFinished(job, "step", "passed", 1, "", None)
    events: list[Event] = [start, *(StepOutput(job, "step", line) for line in lines), end]
    assert obeyed(log(events)) == ["group", "stop-commands", "endgroup"]


def test_context_holds_facts_and_no_secrets() -> None:
    env = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_RUN_ID": "7",
        "GITHUB_SHA": "a" * 40,
        "GITHUB_HEAD_REF": "",
        "GITHUB_TOKEN": "ghs_secret",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret",
    }
    assert ADAPTER.detect(env)
    assert ADAPTER.context(env) == {
        "service": "github",
        "server": "https://github.com",
        "repository": "o/r",
        "run": "7",
        "sha": "a" * 40,
        "url": "https://github.com/o/r/actions/runs/7",
    }
    assert not ADAPTER.detect({"CI": "true"})
    assert ADAPTER.context({}) == {"service": "github"}

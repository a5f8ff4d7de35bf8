"""What services need of the runner: a sandbox that is asked, ended by itself, and has names of its own."""

from __future__ import annotations

import dataclasses
import time

import pytest

from ci_env.errors import ConfigError
from ci_env.ports import Answer, Exit, Sandbox, Visit
from tests.going_on import going_on
from tests.processes import wait_until
from tests.sandboxes import Place

KILLED = Exit(None, 9, "timeout")


def visit(script: str, user: str | None = None) -> Visit:
    return Visit(("sh", "-c", script), {}, user, None, has_terminal=False)


def test_a_sandbox_is_asked(place: Place, nap: str) -> None:
    sandbox = place.sandbox(f"echo mine >/file; echo; {nap}")
    with going_on(place, sandbox):
        asked = place.runner.ask(sandbox, visit("cat /file; echo wrong >&2; exit 3"), timeout_s=30)
        assert asked == Answer(Exit(3, None, "exit"), b"mine\nwrong\n")
        assert place.runner.ask(sandbox, visit("kill -9 $$"), timeout_s=30) == Answer(Exit(None, 9, "signal"), b"")
    assert place.runner.ask(sandbox, visit("true"), timeout_s=30) is None


def test_only_so_long_and_of_what_it_says_only_the_end(place: Place, nap: str) -> None:
    sandbox = place.sandbox(f"echo; {nap}")
    with going_on(place, sandbox):
        began = time.monotonic()
        asked = place.runner.ask(sandbox, visit(f"echo before; {nap}"), timeout_s=0.5)
        assert asked == Answer(KILLED, b"before\n")
        assert time.monotonic() - began < 20
        much = place.runner.ask(sandbox, visit("yes | head -c 3000000; echo end"), timeout_s=60)
        assert much is not None
        assert (much.exit.code, len(much.said), much.said[-4:]) == (0, 4096, b"end\n")
        wait_until(lambda: _count(place, sandbox) == b"1\n")


def _count(place: Place, sandbox: Sandbox) -> bytes:
    """Return how many naps there are in the sandbox."""
    script = "for one in /proc/[0-9]*/comm; do cat $one; done 2>/dev/null | grep -c sleep"
    asked = place.runner.ask(sandbox, visit(script), timeout_s=30)
    return b"" if asked is None else asked.said


def test_who_cannot_join_says_so(place: Place, nap: str) -> None:
    sandbox = place.sandbox(f"echo; {nap}")
    with going_on(place, sandbox), pytest.raises(ConfigError, match="no user 'nobody-here'"):
        place.runner.ask(sandbox, visit("true", user="nobody-here"), timeout_s=30)


@pytest.mark.parametrize(
    ("trap", "ends"),
    [("trap 'echo bye; exit 4' TERM", (4, None, "cancelled")), (":", (None, 15, "cancelled"))],
)
def test_one_sandbox_ends_and_others_go_on(place: Place, trap: str, ends: tuple[int | None, int | None, str]) -> None:
    one, other = place.sandbox(f"{trap}; echo; while :; do sleep 0.1; done"), place.sandbox("echo; sleep 2; echo whole")
    with going_on(place, other) as second, going_on(place, one) as first:
        assert place.runner.end(one, now=False)
        first.thread.join(20)
        assert first.ending == ends
        assert not place.runner.end(one, now=True)
        second.thread.join(20)
        assert second.ending == (0, None, "exit")
        assert second.output == b"\nwhole\n"


def test_who_does_not_listen_is_killed(place: Place) -> None:
    sandbox = place.sandbox("trap '' TERM; echo; while :; do sleep 0.1; done")
    with going_on(place, sandbox) as step:
        assert place.runner.end(sandbox, now=False)
        step.thread.join(0.5)
        assert place.runner.end(sandbox, now=True)
        step.thread.join(20)
        assert step.ending == (None, 9, "cancelled")


def test_has_further_names(place: Place) -> None:
    sandbox = place.sandbox("getent hosts db; getent hosts database; cat /etc/hosts")
    process = dataclasses.replace(sandbox.process, host_names=("db", "database"))
    lines = place.execute(dataclasses.replace(sandbox, process=process)).lines()
    assert [line.split() for line in lines[:2]] == [["127.0.0.1", "db", "database"], ["127.0.0.1", "db", "database"]]
    assert lines[2] == "127.0.0.1\tdb database"

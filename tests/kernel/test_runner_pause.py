"""A pause: all that runs stands still, and time limits with it."""

from __future__ import annotations

import threading
import time

import pytest

from tests.going_on import Running, going_on
from tests.processes import running, wait_until
from tests.sandboxes import Place

COUNT = "while :; do echo; sleep 0.05; done"


def stands_still(step: Running) -> bool:
    time.sleep(0.2)  # what had been written by then is read
    before = len(step.output)
    time.sleep(0.5)
    return len(step.output) == before


def test_all_inside_stand_still_and_go_on(place: Place) -> None:
    daemon = f"(setsid sh -c '{COUNT}' &) ; {COUNT}"
    with going_on(place, place.sandbox(daemon)) as step:
        for _ in range(2):
            place.runner.pause()
            place.runner.pause()  # twice is no more than once
            assert stands_still(step)
            place.runner.resume()
            place.runner.resume()
            assert not stands_still(step)


def test_time_limits_stand_still(place: Place) -> None:
    began = time.monotonic()
    step = Running(place, place.sandbox(f"{COUNT}", timeout_s=2))
    wait_until(lambda: step.output)
    clock = place.runner.clock()
    place.runner.pause()
    time.sleep(3)
    assert place.runner.clock() - clock < 0.5
    assert step.exit is None
    place.runner.resume()
    step.thread.join(timeout=10)
    assert step.ending == (None, 9, "timeout")
    assert 5 <= time.monotonic() - began < 8


def test_nothing_starts_during_a_pause(place: Place) -> None:
    place.runner.pause()
    step = Running(place, place.sandbox("echo"))
    time.sleep(0.5)
    assert (step.output, step.exit) == (b"", None)
    place.runner.resume()
    step.thread.join(timeout=10)
    assert step.ending == (0, None, "exit")


def test_a_pause_at_any_moment_of_the_start(place: Place) -> None:
    """Whatever stage a sandbox is at, it stands still then, or as soon as there is something to stand still."""
    place.execute(place.sandbox("true"))
    for after_ms in range(0, 60, 4):
        step = Running(place, place.sandbox("sleep 0.1; echo; sleep 0.1"))
        time.sleep(after_ms / 1000)
        place.runner.pause()
        assert stands_still(step), after_ms
        place.runner.resume()
        step.thread.join(timeout=10)
        assert step.ending == (0, None, "exit")


@pytest.mark.parametrize("now", [True, False])
def test_cancelled_during_a_pause(place: Place, nap: str, now: bool) -> None:
    with going_on(place, place.sandbox(f"trap 'echo tidied; exit 3' TERM; echo; {nap}& wait")) as step:
        place.runner.pause()
        began = time.monotonic()
        place.runner.cancel(now=now)
        step.thread.join(timeout=20)
        assert time.monotonic() - began < 3
        assert step.ending == ((None, 9, "cancelled") if now else (3, None, "cancelled"))
        assert now or b"tidied" in step.output
    assert not running(nap)


def test_cancelled_before_it_starts_during_a_pause(place: Place, nap: str) -> None:
    place.runner.pause()
    step = Running(place, place.sandbox(nap))
    threading.Timer(0.2, place.runner.cancel, kwargs={"now": False}).start()
    step.thread.join(timeout=10)
    assert step.ending[2] == "cancelled"

"""What a process finds of a recorded machine in place of this one: the number of processors, and how much memory."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ci_env.ports import Machine, Sandbox
from tests.sandboxes import Place

HERE = len(os.sched_getaffinity(0))
MUCH = 1 << 50
COUNTS = "nproc; getconf _NPROCESSORS_ONLN; cat /sys/devices/system/cpu/online; cat /sys/devices/system/cpu/possible"


def like(sandbox: Sandbox, machine: Machine) -> Sandbox:
    return replace(sandbox, process=replace(sandbox.process, machine=machine))


def test_fewer_processors(place: Place) -> None:
    ran = place.execute(like(place.sandbox(COUNTS), Machine(1, 1, MUCH)))
    assert ran.lines() == ["1", "1", "0", "0"]


def test_processors_of_which_few_could_be_used(place: Place) -> None:
    ran = place.execute(like(place.sandbox(COUNTS), Machine(1, 6, MUCH)))
    assert ran.lines() == ["1", "6", "0-5", "0-5"]


def test_more_processors_than_here(place: Place) -> None:
    """They are shown, but there are not more of them."""
    ran = place.execute(like(place.sandbox(COUNTS), Machine(HERE + 4, HERE + 4, MUCH)))
    assert ran.lines() == [str(HERE), str(HERE + 4), f"0-{HERE + 3}", f"0-{HERE + 3}"]


def test_what_the_standard_library_says(place: Place) -> None:
    python = "import os; print(os.cpu_count(), len(os.sched_getaffinity(0)))"
    ran = place.execute(like(place.sandbox(["/usr/bin/python3", "-I", "-c", python]), Machine(1, 3, MUCH)))
    assert ran.lines() == ["3 1"]


def test_with_the_network_of_the_host(place: Place) -> None:
    ran = place.execute(like(place.sandbox(COUNTS, network="host"), Machine(1, 7, MUCH)))
    assert ran.lines() == ["1", "7", "0-6", "0-6"]
    assert Path("/sys/devices/system/cpu/online").read_text().strip() != "0-6"


def test_it_cannot_be_written_to(place: Place) -> None:
    script = "echo 0-99 >/sys/devices/system/cpu/online || cat /sys/devices/system/cpu/online"
    ran = place.execute(like(place.sandbox(script), Machine(1, 7, MUCH)))
    assert ran.lines()[-1] == "0-6"


def test_nothing_is_changed_unless_asked_for(place: Place) -> None:
    assert place.execute(place.sandbox("nproc")).lines() == [str(HERE)]


@pytest.mark.groups
def test_less_memory(place: Place) -> None:
    greedy = ["/usr/bin/python3", "-I", "-c", "print('begun', flush=True); x = b'x' * (200 << 20); print('had')"]
    ran = place.execute(like(place.sandbox(greedy), Machine(1, 1, 64 << 20)))
    assert (ran.exit.reason, ran.lines()) == ("oom", ["begun"])
    assert place.execute(like(place.sandbox(greedy), Machine(1, 1, MUCH))).lines() == ["begun", "had"]

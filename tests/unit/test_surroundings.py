"""The recorded machine: what steps are to find of it, and what is told where they cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ci_env.capsule.record import Host
from ci_env.ports import Machine
from ci_env.replay.surroundings import machine_of, unlike

HOST = Host("6.1", "x86_64", 2, 8 << 30, "ext4", "root", (), 4)


def test_the_machine_of_a_record() -> None:
    assert machine_of(HOST) == Machine(2, 4, 8 << 30)
    assert machine_of(replace(HOST, cpus_online=None)) == Machine(2, 2, 8 << 30)


def test_a_record_that_somebody_made_up() -> None:
    assert machine_of(replace(HOST, cpus=-3, cpus_online=0, memory_bytes=1)) == Machine(1, 1, 0)


@pytest.mark.parametrize(
    ("here", "holds_memory", "said"),
    [
        (HOST, False, ()),
        (replace(HOST, cpus=8, memory_bytes=(8 << 30) + 1000), False, ()),
        (replace(HOST, cpus=1), True, ("2 processors then, 1 here: as many things at a time there cannot be",)),
        (replace(HOST, memory_bytes=4 << 30), True, ("8.0 GiB of memory then, 4.0 GiB here",)),
        (replace(HOST, memory_bytes=16 << 30), True, ()),
        (
            replace(HOST, memory_bytes=16 << 30),
            False,
            ("8.0 GiB of memory then, 16.0 GiB here, and no control group to keep the step from having them",),
        ),
    ],
)
def test_what_cannot_be_as_it_was(here: Host, holds_memory: bool, said: tuple[str, ...]) -> None:
    assert unlike(HOST, here, holds_memory=holds_memory) == said

"""Times whole processes side by side: A B A B, so that a slow minute of the machine hits all alike."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Command:
    """A process to time. `name` is what the table calls it."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]


class CommandFailed(Exception):
    """A timed process did not end with 0: its times mean nothing."""


def times_ms(commands: Sequence[Command], rounds: int) -> dict[str, list[float]]:
    """Run each command once in every round, after one round that is not counted; milliseconds by name."""
    for command in commands:
        run(command)
    measured: dict[str, list[float]] = {command.name: [] for command in commands}
    for _ in range(rounds):
        for command in commands:
            measured[command.name].append(run(command))
    return measured


def run(command: Command) -> float:
    """Run to the end and return the milliseconds that took."""
    started = time.perf_counter()
    done = subprocess.run(
        command.argv,
        cwd=command.cwd,
        env=command.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=300,
    )
    elapsed = (time.perf_counter() - started) * 1000
    if done.returncode != 0:
        output = done.stdout.decode(errors="replace")[-2000:]
        raise CommandFailed(f"{' '.join(command.argv)}: exit status {done.returncode}\n{output}")
    return elapsed

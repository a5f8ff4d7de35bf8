"""Measures ci-env beside its peers and prints a Markdown page: scripts/bench [--smoke] [--rounds N]."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import pull
from bench.material import STEPS, Absent, Material, describe_machine, make, unmount
from bench.measure import Command, CommandFailed, times_ms
from bench.peers import PEERS, Peer
from tests.installed import install


def main() -> None:
    """Set everybody up, measure, print."""
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("--smoke", action="store_true", help="one round, to see that everything runs")
    parser.add_argument("--pull", action="store_true", help="only how fast images are pulled")
    parser.add_argument("--rounds", type=int, help="(default: 21, with --pull 7)")
    parser.add_argument("--directory", type=Path, help="where everybody works (default: the temporary directory)")
    arguments = parser.parse_args()
    rounds = 1 if arguments.smoke else arguments.rounds or (7 if arguments.pull else 21)
    with ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ci-env-bench-", dir=arguments.directory)))
        stack.callback(unmount, path)
        (path / "tool").mkdir()
        program = install(path / "tool").program
        material = make(path)
        if arguments.pull:
            _pull(stack, material, program, rounds)
            return
        peers = list(_present(stack, material))
        _head(path, rounds)
        print(f"Peers: {'; '.join(peer.version for peer in peers)}.\n")
        _cached(material, program, peers, rounds)
        _one_step(material, program, peers, rounds)
        _help(material, program, peers, rounds)


def _head(path: Path, rounds: int) -> None:
    print(f"{describe_machine(path)}; medians of {rounds} interleaved rounds, whole processes. Made by\n")
    print(f"    {' '.join(['scripts/bench', *sys.argv[1:]])}\n")


def _pull(stack: ExitStack, material: Material, program: Path, rounds: int) -> None:
    contestants = list(pull.contestants(stack, material, program))
    _head(material.path / "tmpfs", rounds)
    print(f"The image: {pull.describe(material)}.\n")
    _table("Pull and unpack", pull.times_ms(contestants, rounds))
    print(f"The largest process of `ci-env image pull` took {pull.peak_memory_mib(contestants[0])} MiB.\n")


def _present(stack: ExitStack, material: Material) -> Iterable[Peer]:
    for setup in PEERS.values():
        try:
            yield stack.enter_context(setup(material))
        except Absent as reason:
            print(f"Not measured: {reason}\n")


def _cached(material: Material, program: Path, peers: Sequence[Peer], rounds: int) -> None:
    ours = _ci_env(material, program, f"ci-env run, {STEPS} steps", "run", "-f", f"{STEPS}.yml")
    others = [peer.build for peer in peers if peer.build]
    _table(f"{STEPS} steps, all cached", times_ms([ours, *others], rounds))


def _one_step(material: Material, program: Path, peers: Sequence[Peer], rounds: int) -> None:
    """Beside the others' whole processes: what one more step adds to a run, as a tenth of what ten more add."""
    few = _ci_env(material, program, "ci-env run, 1 step", "run", "--no-cache", "-f", "1.yml")
    many = _ci_env(material, program, f"ci-env run, {STEPS + 1} steps", "run", "--no-cache", "-f", f"{STEPS + 1}.yml")
    measured = times_ms([few, many, *[peer.true for peer in peers if peer.true]], rounds)
    more = zip(measured[many.name], measured.pop(few.name), strict=True)
    del measured[many.name]
    added = {"ci-env: one more step of a run": [(long - short) / STEPS for long, short in more]}
    _table("One `true`, not cached", added | measured)


def _help(material: Material, program: Path, peers: Sequence[Peer], rounds: int) -> None:
    python = Command("python -c pass", (str(program.with_name("python")), "-c", "pass"), material.project, material.env)
    ours = _ci_env(material, program, "ci-env --help", "--help")
    _table("Help", times_ms([ours, python, *[peer.help for peer in peers if peer.help]], rounds))


def _ci_env(material: Material, program: Path, name: str, *arguments: str) -> Command:
    env = {**material.env, "CI_ENV_HOME": str(material.path / "store")}
    return Command(name, (str(program), *arguments), material.project, env)


def _table(title: str, measured: dict[str, list[float]]) -> None:
    """Print medians; the ratio is to the first line, which is ours."""
    ours = statistics.median(next(iter(measured.values())))
    print(f"| {title} | median ms | fastest | ratio |\n|---|---:|---:|---:|")
    for name, times in measured.items():
        median = statistics.median(times)
        print(f"| `{name}` | {median:.1f} | {min(times):.1f} | {median / ours:.2f} |")
    print()


try:
    main()
except (Absent, CommandFailed) as reason:
    sys.exit(f"scripts/bench: {reason}")

"""`ci-env verify`: the pipeline twice, under different circumstances; and what does not come to the same."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.cli.pipeline_file import DEFAULT
from ci_env.cli.secrets import add_arguments as add_secrets
from ci_env.cli.secrets import given
from ci_env.events import Event, Note, StepFailure

if TYPE_CHECKING:
    from ci_env.capsule.record import Record
    from ci_env.cli.compiled import Compiled
    from ci_env.cli.interrupt import Interruption
    from ci_env.cli.opened import Opened
    from ci_env.plan.plan import Plan
    from ci_env.plan.variation import Change
    from ci_env.ports import Machine
    from ci_env.replay.contrast import Contrast
    from ci_env.replay.verify import Finding, Verified

EXIT_NOT_REPRODUCIBLE = 1
"""a step has failed, or has come to something else"""
_APART_S = 2
_SHOWN_FILES = 5
_SHOWN_BYTES = 60
_DIFFOSCOPE_S = 60
_DIFFOSCOPE_LINES = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("jobs", metavar="JOB", nargs="*", help="these jobs and those they need (default: all)")
    parser.add_argument("-f", "--file", type=Path, default=Path(DEFAULT), help=f"pipeline file (default: {DEFAULT})")
    parser.add_argument("--offline", action="store_true", help="ask no registry; images must be in the store")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    parser.add_argument(
        "--umask",
        action="store_true",
        help="change the umask, too: what a step makes without setting its mode differs then",
    )
    add_secrets(parser)
    parser.epilog = "exit codes: 0 reproducible, 1 not, or a step has failed"


def run(arguments: argparse.Namespace) -> int:
    """Run twice and compare; the exit code says whether everything came to the same."""
    from ci_env.cli.compiled import Request, compile_request
    from ci_env.cli.interrupt import interruptible
    from ci_env.cli.opened import opened
    from ci_env.plan.variation import changes

    request = Request(
        Path(arguments.file),
        tuple(arguments.jobs),
        None,
        is_offline=arguments.offline,
        is_renewed=False,
        secrets=given(arguments),
    )
    with interruptible() as interruption, opened() as everything:
        compiled = compile_request(request, everything, _tell, interruption)
        in_plan = (change for change in changes(compiled.plan) if change.circumstance != "umask" or arguments.umask)
        changed = (*in_plan, *_processors())
        records, verified = _verify(compiled, changed, everything, interruption)
        if arguments.json:
            _print_json(records, changed, verified)
        else:
            _print(records, changed, verified)
    is_good = verified.finding is None and records[0].status == "passed"
    return 0 if is_good else EXIT_NOT_REPRODUCIBLE


def _verify(
    compiled: Compiled, changed: tuple[Change, ...], opened: Opened, interruption: Interruption
) -> tuple[tuple[Record, Record], Verified]:
    from ci_env.execute.sandbox import Furnisher
    from ci_env.plan.variation import vary
    from ci_env.replay.again import Stage
    from ci_env.replay.verify import machine_of, verify
    from ci_env.store.caches import Caches
    from ci_env.store.home import open_store

    began = time.monotonic()
    _say("running as usual")
    usual = _run(compiled, compiled.plan, "usual", opened, interruption)
    time.sleep(max(began + _APART_S - time.monotonic(), 0))
    _say("running under other circumstances")
    with _other_ids(opened) as under_others:
        plan = vary(compiled.plan, [change.circumstance for change in changed])
        other = _run(compiled, plan, "other", under_others, interruption, machine_of(changed))
    caches = Caches(open_store(opened.scratch / "again"), opened.uses)
    furnisher = Furnisher(compiled.plan, opened.layers, caches, compiled.secrets)
    stage = Stage(opened.runner, opened.layers, furnisher, opened.blobs)
    with interruption.during(opened.runner):
        verified = verify(usual, other, changed, stage, _say)
    interruption.check()
    return (usual, other), verified


def _processors() -> Iterator[Change]:
    """Yield that there is one fewer, where there are several."""
    from ci_env.plan.variation import Change

    count = len(os.sched_getaffinity(0))
    if count > 1:
        yield Change("processors", str(count), str(count - 1))


def _run(
    compiled: Compiled,
    plan: Plan,
    name: str,
    opened: Opened,
    interruption: Interruption,
    machine: Machine | None = None,
) -> Record:
    """Run with no result of earlier runs, and none for later ones; caches begin empty."""
    from ci_env.cli.kept import CapsuleWish
    from ci_env.cli.recorded import Work, run_recorded
    from ci_env.store.home import open_store

    work = Work(plan, compiled.file, compiled.project, compiled.sources.have, compiled.secrets)
    record = run_recorded(
        work,
        opened,
        _tell,
        interruption,
        context={},
        parallel=len(os.sched_getaffinity(0)),
        is_caching=False,
        capsule=CapsuleWish(when="never"),
        apart=open_store(opened.scratch / name),
        machine=machine,
    )
    interruption.check()
    return record


@contextmanager
def _other_ids(opened: Opened) -> Generator[Opened]:
    """Give another runner: root's has ids of its own, at random."""
    from ci_env.frozen import replace

    with opened.factory.open(opened.store.root) as runner:
        yield replace(opened, runner=runner)


def _say(text: str) -> None:
    from ci_env.ui.clean import clean

    sys.stderr.write(f"{clean(text)}\n")


def _tell(event: Event) -> None:
    from ci_env.cli.telling import tell

    if isinstance(event, StepFailure):
        _say(f"{event.job}/{event.step} failed: {event.ending}")
        for line in event.tail:
            _say(f"  {line}")
    elif isinstance(event, Note):
        tell(event)


def _print_json(records: tuple[Record, Record], changed: tuple[Change, ...], verified: Verified) -> None:
    import json

    finding = verified.finding
    facts = {
        "reproducible": finding is None and records[0].status == "passed",
        "status": records[0].status,
        "runs": [record.run_id for record in records],
        "changed": {change.circumstance: [change.usual, change.other] for change in changed},
        "steps": verified.steps,
        "times_only": verified.times,
        "finding": None if finding is None else _as_json(finding),
    }
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")


def _as_json(finding: Finding) -> dict[str, object]:
    return {
        "step": finding.step,
        "kinds": list(finding.kinds),
        "endings": finding.endings,
        "count": finding.count,
        "files": [
            {"path": one.path, "how": one.how, "modes": one.modes, "at": one.at, **_bytes(one)}
            for one in finding.contrasts
        ],
    }


def _bytes(contrast: Contrast) -> dict[str, str]:
    if contrast.at is None:
        return {}
    return {"was": _readable(contrast, contrast.was), "now": _readable(contrast, contrast.now)}


def _print(records: tuple[Record, Record], changed: tuple[Change, ...], verified: Verified) -> None:
    from ci_env.ui.clean import clean

    if verified.finding is not None:
        sys.stdout.writelines(clean(line) + "\n" for line in _lines(verified.finding, changed))
        sys.stdout.write(f"  all that differs: ci-env diff {records[0].run_id} {records[1].run_id}\n")
    elif records[0].status != "passed":
        sys.stdout.write(f"failed: both runs came to the same, but the run has {records[0].status}\n")
    else:
        what = ", ".join(change.circumstance for change in changed)
        sys.stdout.write(f"reproducible: {verified.steps} steps came to the same ({what}, time)\n")
    if verified.times:
        sys.stdout.write(f"  {verified.times} files differ in their time of change only\n")


def _lines(finding: Finding, changed: tuple[Change, ...]) -> Iterator[str]:
    yield f"not reproducible: {finding.step}: {', '.join(finding.kinds)}"
    for change in changed:
        if change.circumstance in finding.kinds:
            yield f"  {change.circumstance}: {change.usual} then {change.other}"
    if finding.endings is not None:
        yield f"  it ended with {finding.endings[0]}, then {finding.endings[1]}"
    for contrast in finding.contrasts[:_SHOWN_FILES]:
        yield from _shown(contrast)
    if finding.count > _SHOWN_FILES:
        yield f"  and {finding.count - _SHOWN_FILES} more"
    yield from _diffoscope(finding)


def _shown(contrast: Contrast) -> Iterator[str]:
    if contrast.how == "mode":
        modes = " then ".join(f"{(mode or 0) & 0o7777:04o}" for mode in contrast.modes)
        yield f"  mode     {contrast.path}: {modes}"
        return
    yield f"  {contrast.how:8} {contrast.path}" + (f", byte {contrast.at}" if contrast.at is not None else "")
    if contrast.at is not None:
        yield f"    was  {_readable(contrast, contrast.was)}"
        yield f"    now  {_readable(contrast, contrast.now)}"


def _readable(contrast: Contrast, piece: bytes) -> str:
    """Return the line, or a part of it, that differs."""
    before = contrast.before.rpartition(b"\n")[2][-_SHOWN_BYTES // 3 :]
    line = (before + piece.partition(b"\n")[0])[:_SHOWN_BYTES]
    text = line.decode(errors="backslashreplace")
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _diffoscope(finding: Finding) -> Iterator[str]:
    """Yield what diffoscope says of the first file, where it is installed."""
    import subprocess

    program = shutil.which("diffoscope")
    files = next((one.files for one in finding.contrasts if one.files is not None), None)
    if program is None or files is None:
        return
    argv = [program, "--text", "-", "--max-report-size", "65536", "--", *files]
    try:
        done = subprocess.run(
            argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=_DIFFOSCOPE_S, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        _say(f"diffoscope: {error}")
        return
    if done.returncode not in (0, 1):
        _say(f"diffoscope: exit status {done.returncode}")
        return
    yield from (f"  {line}" for line in done.stdout.splitlines()[:_DIFFOSCOPE_LINES])

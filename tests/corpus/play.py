"""Plays a case: one account records the failure, all that made it goes, another account replays it from the file.

What is left for the replay: the capsule; a registry whose tag means another image by then; a home with nothing in it;
and an environment, a umask and a number of processors that are not those of the one who recorded.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from tests.corpus.case import Asked, Case, Elsewhere, Setting
from tests.corpus.twin import give_ending
from tests.corpus.work import Tree, set_up
from tests.corpus.world import World, wipe
from tests.installed import CiEnv
from tests.project import Run

_CODES = {"same": 0, "flaky": 0, "different": 6, "passes": 7}
_MOST_TRIES = 60
"""until a flaky step fails: less than one in 10**7 never would"""
_FOREIGN = {
    "LANG": "tr_TR.UTF-8",
    "LC_ALL": "tr_TR.UTF-8",
    "TZ": "Asia/Tokyo",
    "MODE": "lax",
    "PYTHONHASHSEED": "7",
    "SOURCE_DATE_EPOCH": "1",
    "TOKEN": "of somebody else",
    "USER": "somebody-else",
}


class Wrong(Exception):
    """The case did not go as it must; the message says where."""


@dataclass(frozen=True)
class Score:
    """What a replay of the failure, and of its twin, has said."""

    case: Case
    verdict: str
    twin: str
    seconds: float
    trouble: str
    """empty if all was as it must be"""


@dataclass(frozen=True)
class Recorded:
    """A run in the store of the one who records."""

    run_id: str
    step: str
    """JOB/STEP that failed, or was to"""
    record: Path


def play(case: Case, world: World) -> Score:
    """Play a case to its end; what goes wrong is in the score."""
    began = time.monotonic()
    said = {"verdict": "-", "twin": "-"}
    trouble = ""
    try:
        _play(case, world, said)
    except (Wrong, AssertionError) as error:
        trouble = str(error)
    return Score(case, said["verdict"], said["twin"], time.monotonic() - began, trouble)


def _play(case: Case, world: World, said: dict[str, str]) -> None:
    tag = f"{case.name}-{os.urandom(4).hex()}"
    with world.outside() as outside:
        with world.player(case.accounts[0]) as one:
            capsule, twin = _record(case, world, one, outside, tag)
            wipe(one)
        world.push_other(case.it, tag)
        with world.player(case.accounts[1]) as other:
            said["verdict"] = _judged(case, other, capsule)
            if isinstance(case.twin, Asked):
                said["twin"] = _replay(other, capsule, case.twin.options, case.twin_is)
            else:
                said["twin"] = _replay(other, twin, case.options, case.twin_is)


def _judged(case: Case, other: CiEnv, capsule: Path) -> str:
    if not case.is_flaky:
        return _replay(other, capsule, case.options, "same")
    verdict = _facts(other, capsule, case.options, "flaky")
    rate, interval = verdict["rate"], verdict["interval"]
    assert isinstance(rate, float)
    assert isinstance(interval, list)
    low, high = (float(str(bound)) for bound in cast("list[object]", interval))
    if not 0 < low < rate < high < 1:
        raise Wrong(f"a rate of {rate} in {low} to {high}")
    return f"flaky, {rate:.0%} ({low:.0%} to {high:.0%})"


def _record(case: Case, world: World, one: CiEnv, outside: Path, tag: str) -> tuple[Path, Path]:
    """Return the capsules of the failure and of its twin, outside of the home of the one who recorded them."""
    inside = one.home / "failure.cienv"
    failed = _run_to_failure(case, one, world.push(case.it, tag), inside)
    capsule = Path(shutil.move(inside, outside))
    if isinstance(case.twin, Asked):
        return capsule, capsule
    twin = failed
    if isinstance(case.twin, Elsewhere):
        twin = replace(failed, step=case.twin.step)
    else:
        run = _run(_ready(one, case.twin, world.push(case.twin, f"{tag}-twin")), case.twin, ("--capsule", "never"))
        twin = replace(failed, run_id=run.id, record=_record_of(one, run))
    give_ending(failed.record, twin.record, failed=failed.step, step=twin.step)
    packed = one.home / "twin.cienv"
    done = one.run("capsule", "pack", twin.run_id, "-o", str(packed))
    if done.returncode:
        raise Wrong(f"capsule pack of the twin: {done.stderr}")
    return capsule, Path(shutil.move(packed, outside))


def _run_to_failure(case: Case, one: CiEnv, image: str, capsule: Path) -> Recorded:
    tree = _ready(one, case.it, image)
    options = ("--capsule", str(capsule), *(("--no-cache",) if case.is_flaky else ()))
    runs = (_run(tree, case.it, options) for _ in range(_MOST_TRIES if case.is_flaky else 1))
    run = next((run for run in runs if run.of("StepFailure")), None)
    if run is None:
        raise Wrong("the run to record has not failed")
    (failure,) = run.of("StepFailure")
    ending, lines = _seen(run, str(failure["job"]), str(failure["step"]))
    if ending != case.ending or case.says not in lines:
        raise Wrong(f"recorded {ending!r} with {lines[-5:]}, meant {case.ending!r} with {case.says!r}")
    if not capsule.exists():
        raise Wrong(f"no capsule: {run.of('Note')}")
    return Recorded(run.id, f"{failure['job']}/{failure['step']}", _record_of(one, run))


def _seen(run: Run, job: str, step: str) -> tuple[str, list[str]]:
    """Return how a step ended, and what it wrote."""
    events = [event for event in run.events if (event.get("job"), event.get("step")) == (job, step)]
    (ending,) = [str(event["ending"]) for event in events if event["event"] == "StepFinished"]
    return ending, [str(event["line"]) for event in events if event["event"] == "StepOutput"]


def _record_of(one: CiEnv, run: Run) -> Path:
    return one.store / "runs" / run.id / "record.json"


def _ready(one: CiEnv, setting: Setting, image: str) -> Tree:
    """Return the project as it is right before the run that counts."""
    tree = set_up(one, setting, image)
    if setting.before is not None:
        run = _run(tree, setting, ("--capsule", "never"))
        if run.of("StepFailure"):
            raise Wrong("the run before the one that counts has failed")
        setting.before(tree)
    return tree


def _run(tree: Tree, setting: Setting, options: Sequence[str]) -> Run:
    words = ("run", "--format", "json", *setting.options, *options)
    done = _call(tree.player, words, cwd=tree.root, env=setting.secrets, processors=setting.processors)
    if done.returncode not in (0, 1):
        raise Wrong(f"ci-env {' '.join(words)} ended with {done.returncode}: {done.stderr}{done.stdout[-2000:]}")
    return Run(tuple(json.loads(line) for line in done.stdout.splitlines()))


def _replay(other: CiEnv, capsule: Path, options: Sequence[str], wanted: str) -> str:
    return f"{wanted} ({_facts(other, capsule, options, wanted)['reason']})"


def _facts(other: CiEnv, capsule: Path, options: Sequence[str], wanted: str) -> Mapping[str, object]:
    """Replay as a stranger with nothing but the file; raise Wrong unless the verdict is the wanted one."""
    given = Path(shutil.copy(capsule, other.home))
    os.chown(given, other.account.uid, other.account.gid)
    words = ("replay", "--json", str(given), *options)
    done = _call(other, words, cwd=other.home, env=_FOREIGN, umask=0o077)
    facts: Mapping[str, object] = json.loads(done.stdout) if done.stdout else {}
    if (facts.get("verdict"), done.returncode) != (wanted, _CODES[wanted]):
        told = json.dumps(facts.get("reasons", [])) + f" {facts.get('then')} {facts.get('here')}"
        raise Wrong(f"{given.name}: {facts.get('verdict')}, exit code {done.returncode}: {told} {done.stderr[-2000:]}")
    return facts


def _call(
    player: CiEnv,
    words: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    umask: int = 0o022,
    processors: int | None = None,
) -> subprocess.CompletedProcess[str]:
    few = () if processors is None else ("taskset", "--cpu-list", f"0-{processors - 1}")
    return subprocess.run(
        (*few, *player.argv(*words)),
        cwd=cwd,
        env=player.environment(env),
        umask=umask,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )

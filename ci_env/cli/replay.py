"""`ci-env replay`: run a recorded step again, on the state that it saw, and say whether it ends the same way."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.cli.secrets import Declared, gather, given
from ci_env.cli.secrets import add_arguments as add_secrets
from ci_env.errors import ConfigError
from ci_env.execute.secrets import NO_SECRETS, Secrets

if TYPE_CHECKING:
    from ci_env.capsule.record import Record
    from ci_env.cli.interrupt import Interruption
    from ci_env.cli.opened import Opened
    from ci_env.replay.again import Stage
    from ci_env.replay.choice import Chosen
    from ci_env.replay.edit import Edit
    from ci_env.replay.repetition import Tally
    from ci_env.replay.verdict import Outcome, Verdict

_MOST_TIMES = 10_000
_APART = (
    ("--json", "--shell", "it prints a verdict, and a shell has none"),
    ("--times", "--shell", "it repeats a step, and a shell is none"),
    *(
        (option, "--shell", "a shell opens at one step, which --step names")
        for option in ("--from", "--until", "--all")
    ),
    *((option, "--step", "no other step runs then") for option in ("--from", "--until", "--all")),
    ("--from", "--all", "both say where to begin"),
    ("--until", "--all", "it begins at the job's first step without that"),
    ("--edit", "--after", "what a step has left was made of other sources"),
)
"""options that say nothing together"""
_WORDS = {
    ("same", False): "same failure",
    ("same", True): "same success",
    ("different", False): "fails differently",
    ("different", True): "passes, but differently",
    ("passes", True): "passes here",
    ("cannot-tell", False): "cannot tell",
    ("cannot-tell", True): "cannot tell",
    ("flaky", False): "flaky",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "source", metavar="RUN|FILE", nargs="?", default="last", help="run id, its beginning, `last`, or a capsule"
    )
    parser.add_argument("--step", metavar="NAME", help="STEP or JOB/STEP (default: the first that failed)")
    parser.add_argument("--from", dest="first", metavar="STEP", help="run the steps from this one on, up to that one")
    parser.add_argument("--until", metavar="STEP", help="run all steps of the job from its first on, up to this one")
    parser.add_argument("--all", action="store_true", help="run all steps of the job from its first on, up to that one")
    edit = "run with what differs in DIR from the recorded sources; where there is no DIR, it gets a copy of them"
    parser.add_argument("--edit", metavar="DIR", type=Path, help=edit)
    parser.add_argument("--shell", action="store_true", help="open a shell in the state before the step instead")
    parser.add_argument("--after", action="store_true", help="with --shell: in the state that the step left")
    add_secrets(parser)
    parser.add_argument("--without-secrets", action="store_true", help="go on where the step's secrets have no value")
    times = "run it so often, and say how often it fails"
    parser.add_argument("--times", metavar="N", type=_times, default=1, help=times)
    parser.add_argument(
        "--json", action="store_true", help="print the verdict as JSON; output of the step is not shown"
    )
    parser.epilog = (
        "exit codes: 0 the same outcome, 6 fails differently, 7 passes here, 8 cannot tell; of what is flaky: "
        "0 the recorded failure was among what was seen, 6 it was not"
    )


def _times(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MOST_TIMES:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MOST_TIMES}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Replay; the exit code is the verdict, with --shell the shell's."""
    from ci_env.cli.interrupt import interruptible
    from ci_env.cli.opened import opened
    from ci_env.cli.platform import check_can_run
    from ci_env.cli.sourced import load
    from ci_env.cli.telling import tell
    from ci_env.execute.sandbox import Furnisher
    from ci_env.replay.again import Stage
    from ci_env.replay.choice import choose_steps
    from ci_env.replay.surroundings import machine_of

    _check(arguments)
    with interruptible() as interruption, opened() as everything:
        sourced = load(arguments.source, everything, tell)
        record = sourced.record
        name = arguments.step or arguments.until
        whole = arguments.all or (arguments.until is not None and arguments.first is None)
        steps = choose_steps(record, name, first=arguments.first, whole=whole)
        check_can_run(steps[-1].job.image.platform)
        secrets = _secrets(arguments, record, steps, is_capsule=sourced.is_capsule)
        machine = machine_of(record.host)
        furnisher = Furnisher(record.plan, everything.layers, everything.caches, secrets, machine)
        host = None if steps[-1].job.image.host is None else everything.factory.host_fingerprint()
        stage = Stage(everything.runner, everything.layers, furnisher, everything.blobs, host)
        edit = None if arguments.edit is None else _edit(arguments.edit, record, steps, stage)
        if arguments.shell:
            return _shell(stage, record, steps[-1], edit, after=arguments.after)
        return _replay(stage, record, steps, edit, everything, interruption, arguments.times, as_json=arguments.json)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options that say nothing together. ConfigError."""
    if arguments.after and not arguments.shell:
        raise ConfigError("--after says where to open a shell", hint="add --shell")
    given = {
        "--all": arguments.all,
        "--edit": arguments.edit is not None,
        "--from": arguments.first is not None,
        "--json": arguments.json,
        "--shell": arguments.shell,
        "--step": arguments.step is not None,
        "--times": arguments.times > 1,
        "--until": arguments.until is not None,
        "--after": arguments.after,
    }
    for one, other, why in _APART:
        if given[one] and given[other]:
            raise ConfigError(f"{one} does not go with {other}: {why}", hint="leave one of them out")


def _edit(place: Path, record: Record, steps: Sequence[Chosen], stage: Stage) -> Edit:
    """Return the directory with what was edited, made where it is not there."""
    from ci_env.replay.edit import Edit

    edit = Edit(place.resolve(), record.plan, stage.layers)
    sources = steps[-1].record.before
    if edit.prepare(sources):
        sys.stderr.write(f"{place} holds the recorded sources now; edit them, and run the same command again\n")
    else:
        sys.stderr.write(f"{place}: {edit.difference(sources).describe()}\n")
    return edit


def _secrets(arguments: argparse.Namespace, record: Record, steps: Sequence[Chosen], *, is_capsule: bool) -> Secrets:
    """Return the values for the steps, which no record has. A capsule, maybe a stranger's, takes none by itself."""
    from ci_env.cli.telling import tell

    values = given(arguments)
    if arguments.without_secrets:
        if values.values:
            raise ConfigError("--without-secrets uses no values, and some are given", hint="leave one of them out")
        return NO_SECRETS
    wanted = {secret.name: (secret, chosen) for chosen in steps for secret in chosen.step.secrets}
    names = [name for name in wanted if name not in values.values]
    if is_capsule and names:
        raise ConfigError(
            f"the step {wanted[names[0]][1].name!r} wants the secrets {', '.join(names)}, "
            "and a capsule is given only what you name",
            hint=f"name them, if you trust it: `--secret {names[0]}`; or go on with `--without-secrets`",
        )
    declared = (
        Declared(secret, f"the step {chosen.name!r} of run {record.run_id}") for secret, chosen in wanted.values()
    )
    return gather(values, declared, tell, otherwise="; or go on with `--without-secrets`")


def _replay(
    stage: Stage,
    record: Record,
    steps: Sequence[Chosen],
    edit: Edit | None,
    opened: Opened,
    interruption: Interruption,
    times: int,
    *,
    as_json: bool,
) -> int:
    from ci_env.replay.again import recorded
    from ci_env.replay.repetition import exit_code, tally
    from ci_env.replay.verdict import ending

    def say(text: str) -> None:
        if not as_json:
            sys.stderr.write(f"{text}\n")

    chosen = steps[-1]

    def replay() -> Outcome:
        with interruption.during(stage.runner):
            outcome = _run(stage, steps, edit, say if times == 1 else lambda _: None)
        interruption.check()
        return outcome

    def replays() -> Iterator[Outcome]:
        for number in range(1, times + 1):
            yield (outcome := replay())
            if times > 1:
                say(f"  {number:>{len(str(times))}} of {times}: {ending(outcome)}")

    def one_more() -> Outcome:
        say("once more, to see what of its output changes by itself")
        return replay()

    beginning = f"{steps[0].name} to " if len(steps) > 1 else ""
    say(f"replaying {beginning}{chosen.name} of run {record.run_id}")
    old = recorded(stage, chosen)
    found = tally(old, replays(), one_more)
    hide = stage.furnisher.secrets.hidden_in  # what reports say is as the step wrote it
    reasons = (*map(hide, found.verdict.reasons), *_remarks(record, steps, opened))
    code = exit_code(found, old)
    if as_json:
        _print_json(record, steps, old, found, reasons, code)
    else:
        _print(found.verdict, reasons)
    return code


def _run(stage: Stage, steps: Sequence[Chosen], edit: Edit | None, say: Callable[[str], None]) -> Outcome:
    from ci_env.replay.again import run_again
    from ci_env.ui.clean import clean

    def begin(chosen: Chosen) -> None:
        if len(steps) > 1:
            say(f"  {chosen.name}")

    return run_again(stage, steps, lambda line: say(f"  | {clean(line)}"), edit, begin)


def _print(verdict: Verdict, reasons: tuple[str, ...]) -> None:
    first, *others = reasons
    sys.stdout.write(f"{_WORDS[verdict.kind, verdict.success]}: {first}\n")
    sys.stdout.writelines(f"  {line}\n" for reason in others for line in reason.splitlines())


def _print_json(
    record: Record, steps: Sequence[Chosen], old: Outcome, found: Tally, reasons: tuple[str, ...], code: int
) -> None:
    import json

    from ci_env import codec
    from ci_env.replay.repetition import CONFIDENCE
    from ci_env.replay.verdict import signature

    facts: dict[str, object] = {
        "verdict": found.verdict.kind,
        "reason": found.verdict.reason,
        "success": found.verdict.success,
        "exit_code": code,
        "reasons": list(reasons),
        "then": codec.encode(signature(old)),
        "here": [codec.encode(one) for one in found.signatures],
        "run": record.run_id,
        "job": steps[-1].job.name,
        "step": steps[-1].step.name,
        "steps": [chosen.step.name for chosen in steps],
    }
    if len(found.verdicts) > 1:
        low, high = found.interval
        facts |= {"times": len(found.verdicts), "counts": found.counts, "failed": found.failed, "rate": found.rate}
        facts |= {"interval": [low, high], "confidence": CONFIDENCE}
    sys.stdout.write(json.dumps(facts) + "\n")


def _remarks(record: Record, steps: Sequence[Chosen], opened: Opened) -> tuple[str, ...]:
    """Return what else may explain a difference."""
    from ci_env.capsule.machine import describe
    from ci_env.replay.surroundings import unlike

    measures = opened.runner.measures()
    here = describe(opened.store.root, user=record.host.user, measures=measures)
    remarks = unlike(record.host, here, holds_memory=any(name.endswith("-memory") for name in measures))
    job = steps[0].job
    if job.services and steps[0].step != job.steps[0]:
        return ("services began as their images have them: what earlier steps did to them is not kept", *remarks)
    return remarks


def _shell(stage: Stage, record: Record, chosen: Chosen, edit: Edit | None, *, after: bool) -> int:
    from ci_env.capsule.ending import describe
    from ci_env.cli.telling import tell
    from ci_env.replay.again import open_shell

    where, done = "after" if after else "before", chosen.record
    ending = ""
    if after:
        limits, timeout_s = chosen.step.limits, chosen.timeout_s
        ending = describe(done.ended, done.exit_code, done.signal, timeout_s=timeout_s, limits=limits)
    sys.stderr.write(f"the state {where} {chosen.name} of run {record.run_id}{f' ({ending})' if ending else ''}\n")
    if not after:
        sys.stderr.write("its command:\n")
        command = stage.furnisher.secrets.hidden_in(chosen.step.argv[-1])
        sys.stderr.writelines(f"  $ {line}\n" for line in command.rstrip().splitlines())
    sys.stderr.write("what you change here is gone when you leave\n")
    sys.stderr.flush()
    terminal = os.environ.get("TERM", "dumb") if os.isatty(0) else "dumb"
    ended = open_shell(stage, chosen, tell, after=after, terminal=terminal, edit=edit)
    return ended.code if ended.code is not None else 128 + (ended.signal or 0)

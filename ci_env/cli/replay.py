"""`ci-env replay`: run a recorded step again, on the state that it saw, and say whether it ends the same way."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
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
    from ci_env.replay.repetition import Tally
    from ci_env.replay.verdict import Outcome, Verdict

_MOST_TIMES = 10_000
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
    from ci_env.replay.choice import choose_step

    if arguments.after and not arguments.shell:
        raise ConfigError("--after says where to open a shell", hint="add --shell")
    if arguments.json and arguments.shell:
        raise ConfigError("--json prints a verdict, and a shell has none", hint="leave one of them out")
    if arguments.times > 1 and arguments.shell:
        raise ConfigError("--times repeats a step, and a shell is none", hint="leave one of them out")
    with interruptible() as interruption, opened() as everything:
        sourced = load(arguments.source, everything, tell)
        record = sourced.record
        chosen = choose_step(record, arguments.step)
        check_can_run(chosen.job.image.platform)
        secrets = _secrets(arguments, record, chosen, is_capsule=sourced.is_capsule)
        furnisher = Furnisher(record.plan, everything.layers, everything.caches, secrets)
        stage = Stage(everything.runner, everything.layers, furnisher, everything.blobs)
        if arguments.shell:
            return _shell(stage, record, chosen, after=arguments.after)
        return _replay(stage, record, chosen, everything, interruption, arguments.times, as_json=arguments.json)


def _secrets(arguments: argparse.Namespace, record: Record, chosen: Chosen, *, is_capsule: bool) -> Secrets:
    """Return the values for the step, which no record has. A capsule, maybe a stranger's, takes none by itself."""
    from ci_env.cli.telling import tell

    values = given(arguments)
    if arguments.without_secrets:
        if values.values:
            raise ConfigError("--without-secrets uses no values, and some are given", hint="leave one of them out")
        return NO_SECRETS
    names = [secret.name for secret in chosen.step.secrets if secret.name not in values.values]
    if is_capsule and names:
        raise ConfigError(
            f"the step {chosen.name!r} wants the secrets {', '.join(names)}, and a capsule is given only what you name",
            hint=f"name them, if you trust it: `--secret {names[0]}`; or go on with `--without-secrets`",
        )
    wanted = (Declared(secret, f"the step {chosen.name!r} of run {record.run_id}") for secret in chosen.step.secrets)
    return gather(values, wanted, tell, otherwise="; or go on with `--without-secrets`")


def _replay(
    stage: Stage,
    record: Record,
    chosen: Chosen,
    opened: Opened,
    interruption: Interruption,
    times: int,
    *,
    as_json: bool,
) -> int:
    from ci_env.replay.again import recorded, run_again
    from ci_env.replay.repetition import exit_code, tally
    from ci_env.replay.verdict import ending
    from ci_env.ui.clean import clean

    def say(text: str) -> None:
        if not as_json:
            sys.stderr.write(f"{text}\n")

    def replay() -> Outcome:
        with interruption.during(stage.runner):
            outcome = run_again(stage, chosen, lambda line: say(f"  | {clean(line)}") if times == 1 else None)
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

    say(f"replaying {chosen.name} of run {record.run_id}")
    old = recorded(stage, chosen)
    found = tally(old, replays(), one_more)
    hide = stage.furnisher.secrets.hidden_in  # what reports say is as the step wrote it
    reasons = (*map(hide, found.verdict.reasons), *_remarks(chosen, opened))
    code = exit_code(found, old)
    if as_json:
        _print_json(record, chosen, old, found, reasons, code)
    else:
        _print(found.verdict, reasons)
    return code


def _print(verdict: Verdict, reasons: tuple[str, ...]) -> None:
    first, *others = reasons
    sys.stdout.write(f"{_WORDS[verdict.kind, verdict.success]}: {first}\n")
    sys.stdout.writelines(f"  {line}\n" for reason in others for line in reason.splitlines())


def _print_json(
    record: Record, chosen: Chosen, old: Outcome, found: Tally, reasons: tuple[str, ...], code: int
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
        "job": chosen.job.name,
        "step": chosen.step.name,
    }
    if len(found.verdicts) > 1:
        low, high = found.interval
        facts |= {"times": len(found.verdicts), "counts": found.counts, "failed": found.failed, "rate": found.rate}
        facts |= {"interval": [low, high], "confidence": CONFIDENCE}
    sys.stdout.write(json.dumps(facts) + "\n")


def _remarks(chosen: Chosen, opened: Opened) -> tuple[str, ...]:
    """Return what else may explain a difference."""
    then = chosen.job.image.host
    if then is not None and then != opened.factory.host_fingerprint():
        return ("`image: host` is not what it was: this machine's operating system has changed since",)
    if chosen.job.services and chosen.step != chosen.job.steps[0]:
        return ("services began as their images have them: what earlier steps did to them is not kept",)
    return ()


def _shell(stage: Stage, record: Record, chosen: Chosen, *, after: bool) -> int:
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
    ended = open_shell(stage, chosen, tell, after=after, terminal=terminal)
    return ended.code if ended.code is not None else 128 + (ended.signal or 0)

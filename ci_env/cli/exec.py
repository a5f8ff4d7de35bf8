"""`ci-env exec`: run a command beside the step of a run that goes on."""

from __future__ import annotations

import argparse
import os
import sys

from ci_env.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.usage = "ci-env exec [OPTIONS] RUN [JOB] [-- COMMAND [ARGUMENT…]]"
    parser.add_argument("words", metavar="RUN [JOB] -- COMMAND", nargs=argparse.REMAINDER, help="default: -- sh")
    parser.add_argument("--user", help="user, or user:group, of the image (default: the step's)")
    parser.add_argument("--workdir", metavar="DIR", help="where to start (default: where the step did)")
    parser.add_argument(
        "--env", metavar="NAME[=VALUE]", action="append", default=[], help="a variable beside the step's; repeatable"
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("-t", "--tty", action="store_true", help="a terminal (default: where this is one)")
    choice.add_argument("-T", "--no-tty", action="store_true", help="no terminal: input, output and errors apart")
    parser.epilog = (
        "The command is in the same sandbox as the step, under the same limits, and may do no more than it.\n"
        "It ends with the step. RUN is a run id, its beginning, or `last`; JOB says which where several run."
    )


def run(arguments: argparse.Namespace) -> int:
    """Run it; the exit code is the command's, 128+n after a signal."""
    from ci_env.cli.going import Going
    from ci_env.cli.wiring import runner_factory
    from ci_env.live.messages import Request
    from ci_env.ports import Visit

    name, job, command = _split(arguments.words)
    has_terminal = arguments.tty or (not arguments.no_tty and os.isatty(0) and os.isatty(1))
    if has_terminal and not os.isatty(0):
        raise ConfigError("standard input is not a terminal, which -t wants to join", hint="leave -t out")
    env = _variables(arguments.env)
    if has_terminal:
        env = {"TERM": os.environ.get("TERM", "dumb"), **env}
    going = Going()
    run_id = going.find(name)
    visit = Visit(command, env, arguments.user, arguments.workdir, has_terminal=has_terminal)
    answer, visitor = going.ask(run_id, Request("exec", job, visit))
    if visitor is None:
        raise ConfigError(f"run {run_id} {answer.message}")
    ended = runner_factory().attend(visitor)
    if ended.reason == "cancelled":
        sys.stderr.write(f"the step {answer.message} has ended, and with it this command\n")
    return ended.code if ended.code is not None else 128 + (ended.signal or 0)


def _split(words: list[str]) -> tuple[str, str | None, tuple[str, ...]]:
    """Return run, job and command. What stands before the first `--` is ours."""
    cut = words.index("--") if "--" in words else len(words)
    names, command = words[:cut], tuple(words[cut + 1 :]) or ("sh",)
    option = next((word for word in names if word.startswith("-")), None)
    if option is not None:
        raise ConfigError(
            f"{option} comes after the run", hint="options come first: ci-env exec OPTIONS RUN -- COMMAND"
        )
    if not names or len(names) > 2:
        message = "which run?" if not names else f"a run and a job were expected, found {' '.join(names)!r}"
        raise ConfigError(message, hint="$ ci-env exec RUN [JOB] -- COMMAND\n`ci-env ps` lists the runs that go on")
    return names[0], names[1] if len(names) == 2 else None, command


def _variables(given: list[str]) -> dict[str, str]:
    """Return the variables of `--env`; a name alone takes the caller's value, where there is one."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name:
            raise ConfigError(f"--env {text!r} has no name")
        if equals or name in os.environ:
            found[name] = value if equals else os.environ[name]
    return found

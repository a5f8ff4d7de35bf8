"""The command `ci-env`: its verbs, the error boundary and exit codes. The only place that prints errors and exits.

A verb is a module of this package with `add_arguments(parser)` and `run(arguments) -> int`, imported when it is chosen:
`ci-env --help` and a cached run pay for nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import IO, NoReturn, Protocol, cast

from ci_env.errors import CiEnvError, ConfigError

VERBS = {
    "run": "run the pipeline",
    "replay": "run a recorded step again and compare",
    "diff": "say what differs between two runs",
    "verify": "run twice under different circumstances, and say what is not reproducible",
    "explain": "say why a step was not cached",
    "capsule": "pack a run into a file for other machines; show and check such files",
    "runs": "list, show and remove recorded runs",
    "ps": "list the runs that go on",
    "logs": "print what the steps of a run wrote, or follow it",
    "exec": "run a command beside the step of a run that goes on",
    "pause": "have a run stand still",
    "resume": "have a paused run go on",
    "stop": "end a run, and wait for it",
    "image": "pull, push, import, export and list images",
    "prune": "remove from the store what has not been used for long",
    "store": "check the store, and repair it",
    "lock": "write down what the images of the pipeline are, so that runs stay with them",
    "validate": "check the pipeline file",
    "schema": "print the pipeline file's JSON schema, for editors",
    "init": "write a pipeline file that fits the project",
    "doctor": "say what this host can do, and how to get what is missing",
}
_DESCRIPTION = "Run a pipeline in an isolated root file system, record it, and replay its failure."
_DEBUG = "show a traceback with every error, and what libraries log"
_WIDEST = 100


class Verb(Protocol):
    """What each module of VERBS is."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it and return the exit code."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run `ci-env ARGV` (default: this process's arguments) and return its exit code. Never raises."""
    words = list(sys.argv[1:] if argv is None else argv)
    _prepare_streams()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where the caller ignores it, no child of ours would have a status
    try:
        code = _dispatch(words)
        sys.stdout.flush()
    except BaseException as error:
        return _end(error, is_debugging="--debug" in words)
    return code


def load(verb: str) -> Verb:
    """Return the module of `verb`, one of VERBS."""
    return cast("Verb", importlib.import_module(f"ci_env.cli.{verb}"))


def _dispatch(words: list[str]) -> int:
    """Do what `words` ask for and return the exit code."""
    try:
        return _run_verb(words)
    except SystemExit as done:  # argparse, when it has printed its help
        return int(done.code or 0)


def _run_verb(words: list[str]) -> int:
    before = next((index for index, word in enumerate(words) if not word.startswith("-")), len(words))
    options = _top_parser().parse_args(words[:before])
    if before == len(words):
        raise ConfigError("no command given", hint=f"choose one of: {', '.join(VERBS)}\n$ ci-env --help")
    name = words[before]
    if name not in VERBS:
        raise ConfigError(f"there is no command `{name}`{_suggestion(name)}", hint="$ ci-env --help")
    verb = load(name)
    arguments = _verb_parser(name, verb).parse_args(words[before + 1 :])
    if options.debug or arguments.debug:
        _log_to_stderr()
    return verb.run(arguments)


def _suggestion(name: str) -> str:
    import difflib

    nearest = difflib.get_close_matches(name, VERBS, n=1)
    return f"; did you mean `{nearest[0]}`?" if nearest else ""


def _top_parser() -> argparse.ArgumentParser:
    width = max(map(len, VERBS))
    commands = "\n".join(f"  {name:{width}}  {line}" for name, line in VERBS.items())
    parser = _Parser(
        prog="ci-env",
        usage="ci-env [--debug] COMMAND [ARGUMENTS]",
        description=f"{_DESCRIPTION}\n\ncommands:\n{commands}",
        epilog="`ci-env COMMAND --help` says more about each.",
    )
    parser.add_argument("--version", action=_Version)
    parser.add_argument("--debug", action="store_true", help=_DEBUG)
    return parser


def _verb_parser(name: str, verb: Verb) -> argparse.ArgumentParser:
    line = VERBS[name]
    parser = _Parser(prog=f"ci-env {name}", description=f"{line[0].upper()}{line[1:]}.")
    parser.add_argument("--debug", action="store_true", help=_DEBUG)
    verb.add_arguments(parser)
    return parser


class _Parser(argparse.ArgumentParser):
    """Complains as everything else does: by a ConfigError, and by an OSError where nobody reads its help."""

    def __init__(self, *, prog: str, description: str, usage: str | None = None, epilog: str | None = None) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )

    def print_help(self, file: object = None) -> None:  # noqa: ARG002  # argparse's signature
        sys.stdout.write(self.format_help())

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message, hint=f"$ {self.prog} --help")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """argparse's own would import shutil, with five compression libraries, to learn the width: 8 ms."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(_terminal_width(), _WIDEST))


def _terminal_width() -> int:
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


class _Version(argparse.Action):
    """Looks for the version only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        sys.stdout.write(f"ci-env {_version()}\n")
        parser.exit()


def _version() -> str:
    from ci_env.cli.entry_points import version

    return version("ci-env")


def _log_to_stderr() -> None:
    import logging

    logging.basicConfig(stream=sys.stderr, level=logging.DEBUG, format="debug: %(name)s: %(message)s")


def _end(error: BaseException, *, is_debugging: bool) -> int:
    """Say what happened, in whatever state the streams are, and return the exit code."""
    from ci_env.cli import boundary

    if isinstance(error, BrokenPipeError) and _has_reader_gone():
        _drop(sys.stdout)
        return boundary.EXIT_BROKEN_PIPE
    ending = boundary.judge(error)
    if ending.kind == "bug":
        _say(lambda: boundary.describe_bug(error, _about()))
    elif is_debugging and isinstance(error, CiEnvError | OSError):
        _say(lambda: boundary.trace(error))
    if ending.kind != "bug":
        _say(lambda: boundary.describe(ending, colour=_has_colour()))
    try:
        sys.stdout.flush()
    except OSError:
        _drop(sys.stdout)
    return ending.code


def _say(text: Callable[[], str]) -> None:
    try:
        sys.stderr.write(text())
        sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)  # nobody is left to be told


def _about() -> str:
    system = os.uname()
    python = ".".join(map(str, sys.version_info[:3]))
    return f"ci-env {_version()}, Python {python}, {system.sysname} {system.release} {system.machine}"


def _has_colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def _has_reader_gone() -> bool:
    """Tell whether it is our own output that nobody reads any more, and not some pipe to a process of ours."""
    import select

    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _drop(stream: IO[str]) -> None:
    """Send what `stream` still holds nowhere, or Python would fail again when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _prepare_streams() -> None:
    """Make stdout take any text, such as the name of a file that is not UTF-8; and be there, though it was closed.

    The descriptors of closed streams are taken, or what is opened next would be 1 or 2, and be written to as such.
    """
    for descriptor in range(3):
        if not _is_open(descriptor):
            nothing = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            os.set_inheritable(nothing, True)
    if sys.stdout is None or sys.stderr is None:
        nowhere = open(os.devnull, "w")  # noqa: SIM115  # until the process ends
        sys.stdout = sys.stdout or nowhere
        sys.stderr = sys.stderr or nowhere
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="backslashreplace")

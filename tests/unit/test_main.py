"""The command as a process and as a function: help, wrong command lines, and what becomes of every exception."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ci_env.cli import main as command
from ci_env.cli.boundary import Ending, describe, describe_bug, judge
from ci_env.errors import ConfigError, HostError, IntegrityError, Interrupted, RegistryError

REPOSITORY = Path(__file__).parents[2]
CI_ENV = "import sys; from ci_env.cli.main import main; sys.exit(main())"
# A verb that does what its environment says, in place of `schema`.
TRIAL = """
import os, sys, types
verb = types.ModuleType("ci_env.cli.schema")
verb.add_arguments = lambda parser: None
def run(arguments):
    exec(os.environ["TRIAL"])
    return 0
verb.run = run
sys.modules["ci_env.cli.schema"] = verb
from ci_env.cli.main import main
sys.exit(main(["schema", *sys.argv[1:]]))
"""


def ci_env(*arguments: str, program: str = CI_ENV, trial: str = "", **options: int) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"TRIAL": trial},
        stdin=subprocess.DEVNULL,
        stdout=options.get("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, (done.stdout or b"").decode(), done.stderr.decode())


def test_help_lists_every_verb_with_a_line() -> None:
    done = ci_env("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for verb, line in command.VERBS.items():
        assert re.search(rf"^  {verb} +{re.escape(line)}$", done.stdout, re.MULTILINE)


def test_version_is_that_of_the_project() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert ci_env("--version").stdout == f"ci-env {version}\n"


@pytest.mark.parametrize("verb", command.VERBS)
def test_verb_is_a_module_that_can_be_asked_for_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = command.load(verb)
    assert callable(module.add_arguments)
    assert callable(module.run)
    assert command.main([verb, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: ci-env {verb}")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "error: no command given\nhint: choose one of: run, "),
        (["rnu"], "error: there is no command `rnu`; did you mean `run`?\nhint: $ ci-env --help\n"),
        (["x\x1b[31m"], "error: there is no command `x\\x1b[31m`\nhint: $ ci-env --help\n"),
        (["--verbose", "run"], "error: unrecognized arguments: --verbose\nhint: $ ci-env --help\n"),
        (["validate", "a", "b"], "error: unrecognized arguments: b\nhint: $ ci-env validate --help\n"),
        (["validate", "no\nfile"], "error: there is no pipeline file no\n       file\nhint: check the path\n"),
    ],
)
def test_wrong_command_line(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(complaint)


def test_debug_shows_the_traceback_and_the_log() -> None:
    log = "import logging; logging.getLogger('x').debug('seen')"
    trial = f"{log}\nfrom ci_env.errors import HostError\nraise HostError('y')"
    for words in (["--debug"], []):
        done = ci_env(*words, program=TRIAL, trial=trial)
        assert done.returncode == 3
        assert ("debug: x: seen" in done.stderr) == ("Traceback" in done.stderr) == bool(words)
        assert done.stderr.endswith("error: y\n")


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConfigError("wrong", where="f:1:2"), 2, "error: f:1:2: wrong\n"),
        (HostError("a\nb", hint="do\n$ this"), 3, "error: a\n       b\nhint: do\n      $ this\n"),
        (RegistryError("r"), 4, "error: r\n"),
        (IntegrityError("\x1b[2Ji\udcff"), 5, "error: \\x1b[2Ji\\udcff\n"),
        (Interrupted(signal.SIGTERM), 143, "interrupted by signal 15\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (OSError(errno.EACCES, "no", "/x"), 3, "error: /x: Permission denied\nhint: give yourself access"),
        (OSError(errno.EROFS, "no", b"/x\xff"), 3, "error: /x\\udcff: Read-only file system\nhint: it is mounted"),
        (OSError(errno.ENOSPC, "no"), 3, "error: No space left on device\nhint: make space"),
    ],
)
def test_what_an_error_ends_in(error: BaseException, code: int, text: str) -> None:
    ending = judge(error)
    assert ending.code == code
    assert describe(ending, colour=False).startswith(text)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EACCES, "no"), OSError(errno.ENOENT, "no", "/x"), RecursionError(), MemoryError(), KeyError("k")],
)
def test_anything_else_is_a_bug(error: Exception) -> None:
    assert judge(error) == Ending(70, "bug", "", None)
    report = describe_bug(error, "ci-env 1")
    assert type(error).__name__ in report
    assert report.endswith("ci-env 1\nerror: this is a bug in ci-env; please report it with the text above\n")


def test_colour_is_the_labels_only() -> None:
    text = describe(Ending(2, "error", "a\nb", "c"), colour=True)
    assert text == "\x1b[1;31merror:\x1b[0m a\n       b\n\x1b[1mhint:\x1b[0m c\n"


@pytest.mark.parametrize(
    ("trial", "code", "said"),
    [
        ("raise KeyboardInterrupt", 130, "interrupted\n"),
        ("from ci_env.errors import Interrupted\nraise Interrupted(15)", 143, "interrupted by signal 15\n"),
        ("open('/proc/1/no/x', 'w')", 70, "FileNotFoundError"),
        ("def f(): f()\nexec('def f(): f()', globals()); globals()['f']()", 70, "RecursionError"),
        ("bytes(2**62)", 70, "MemoryError"),
        ("raise SystemExit(9)", 9, ""),
        ("sys.stdout.write('\\udcff\\n')", 0, ""),
    ],
)
def test_process_ends_with_the_code_and_says_why(trial: str, code: int, said: str) -> None:
    done = ci_env(program=TRIAL, trial=trial)
    assert (done.returncode, said in done.stderr) == (code, True)
    assert ("report it" in done.stderr) == (code == 70)


def test_reader_that_goes_away_ends_it_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    for trial in ("sys.stdout.write('x')", "sys.stdout.write('x' * 2**20)"):
        done = ci_env(program=TRIAL, trial=trial, stdout=writer)
        assert (done.returncode, done.stderr) == (141, "")
    assert (ci_env("--help", stdout=writer).returncode) == 141
    os.close(writer)


def test_other_broken_pipe_is_a_bug() -> None:
    trial = "import os; r, w = os.pipe(); os.close(r); os.write(w, b'x')"
    done = ci_env(program=TRIAL, trial=trial)
    assert (done.returncode, "BrokenPipeError" in done.stderr) == (70, True)


def test_full_disk_behind_stdout_is_told_once() -> None:
    with open("/dev/full", "w") as full:
        done = ci_env(program=TRIAL, trial="sys.stdout.write('x')", stdout=full.fileno())
    assert (done.returncode, done.stderr.count("\n")) == (3, 2)
    assert done.stderr.startswith("error: No space left on device\n")


def test_closed_streams_are_no_danger() -> None:
    done = subprocess.run(["sh", "-c", 'exec "$0" -c "$1" schema >&- 2>&-', sys.executable, CI_ENV], check=False)
    assert done.returncode == 0


def test_nothing_else_gets_the_numbers_of_closed_streams(tmp_path: Path) -> None:
    """Or what is written to stdout, as by what passes on the output of `ci-env exec`, would land in some file."""
    trial = f"""
with open({str(tmp_path / "said")!r}, "w") as file:
    file.write(str([os.path.realpath(f"/proc/self/fd/{{number}}") for number in range(3)]))
"""
    argv = ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, TRIAL]
    subprocess.run(argv, env=os.environ | {"TRIAL": trial}, check=True, timeout=60)
    assert (tmp_path / "said").read_text() == str(["/dev/null"] * 3)

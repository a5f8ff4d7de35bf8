"""Values of secrets: where the command line and the environment say they are, and what a value may be.

No message shows a value, nor what may have been meant as one. Read before anything runs, kept in memory only.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ci_env.errors import ConfigError
from ci_env.events import Emit, Note
from ci_env.execute.secrets import NO_SECRETS, Secrets
from ci_env.frozen import dataclass

if TYPE_CHECKING:
    from ci_env.pipeline.model import Secret
    from ci_env.plan.plan import Plan

MAX_BYTES = 1 << 16
"""of a value: it is held in memory, and so are all forms that it is masked in"""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_WAYS = "set the environment variable {name}, or give `--secret-file {name}=FILE`"


@dataclass(frozen=True, slots=True)
class Declared:
    """A secret that a job's steps want."""

    secret: Secret
    by: str
    """the job, in words that begin an error"""


@dataclass(frozen=True, slots=True)
class Given:
    """Values by name, as the command line has them."""

    values: Mapping[str, bytes]

    def __repr__(self) -> str:
        return f"Given({', '.join(self.values)})"


NOTHING = Given({})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what gives values."""
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="the value of a secret: that of the environment variable NAME, or VALUE, which others can see with ps(1)",
    )
    parser.add_argument(
        "--secret-file",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="the value of a secret: all bytes of FILE, `-` for standard input",
    )


def given(arguments: argparse.Namespace) -> Given:
    """Return the values that the command line gives. ConfigError where it does not give one."""
    values: dict[str, bytes] = {}
    for option, texts in (("--secret", arguments.secret), ("--secret-file", arguments.secret_file)):
        for text in texts:
            name, equals, rest = text.partition("=")
            is_file = option == "--secret-file"
            if not _NAME.match(name) or (is_file and not rest):
                raise ConfigError(_malformed(option))  # without the text: it may be the value alone
            if name in values:
                raise ConfigError(f"two values are given for the secret {name}", hint="leave one of them out")
            values[name] = _from_file(name, rest) if is_file else os.fsencode(rest) if equals else _from_variable(name)
    return Given(values)


def gather(given: Given, wanted: Iterable[Declared], emit: Emit, *, otherwise: str = "") -> Secrets:
    """Return the values of all secrets that are wanted, of those given on the command line even if they are not.

    From the command line, else the environment. ConfigError names those that have none, or none that will do;
    `otherwise` ends its hint.
    """
    values = dict(given.values)
    missing: dict[str, str] = {}
    names: list[str] = []
    for one in wanted:
        name = one.secret.name
        names.append(name)
        if name not in values and name not in os.environ:
            missing.setdefault(name, one.by)
            continue
        values.setdefault(name, os.fsencode(os.environ.get(name, "")))
        _check(one.secret, values[name])
    if missing:
        raise _lacking(missing, otherwise)
    _tell_unused(given, names, emit)
    return Secrets(values) if values else NO_SECRETS


def warn_of_written(plan: Plan, secrets: Secrets, emit: Emit) -> None:
    """Say which steps hold a value in what the pipeline file says of them: there, it is no secret."""
    if secrets.mask is None:
        return
    for job in plan.jobs:
        for step in job.steps:
            if any(secrets.hidden_in(text) != text for text in (*step.argv, *step.env.values())):
                message = f"{job.name}: {step.name}: its command or environment holds the value of a secret as text"
                emit(Note("warning", f"{message}, which the record keeps"))


def _malformed(option: str) -> str:
    form = "NAME=FILE" if option == "--secret-file" else "NAME or NAME=VALUE"
    return f"{option}: expected {form}, with a name of letters, digits and `_`"


def _from_variable(name: str) -> bytes:
    if name not in os.environ:
        message = "--secret: the environment has no variable of the name that was given"  # which may be the value alone
        raise ConfigError(message, hint="set it, or give `--secret-file NAME=FILE`")
    return os.fsencode(os.environ[name])


def _from_file(name: str, path: str) -> bytes:
    try:
        if path == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"--secret-file {name}: cannot read {path}: {error.strerror}") from error


def _check(secret: Secret, value: bytes) -> None:
    """Refuse a value that cannot be kept, or cannot be kept secret."""
    from ci_env.mask import MIN_BYTES

    size = len(value.strip())
    if not size:
        hint = "a CI service gives none to runs of others' changes, such as pull requests from forks"
        raise ConfigError(f"the value of the secret {secret.name} is empty", hint=hint)
    if size < MIN_BYTES:
        message = f"the value of the secret {secret.name} is shorter than {MIN_BYTES} bytes"
        raise ConfigError(f"{message}: masking it would spoil every log", hint="what is no secret belongs into `env`")
    if len(value) > MAX_BYTES:
        hint = "give the key to it as the secret, and the rest as an encrypted file of the repository"
        raise ConfigError(f"the value of the secret {secret.name} is longer than {MAX_BYTES >> 10} KiB", hint=hint)
    if secret.variables and b"\0" in value:
        message = f"the value of the secret {secret.name} holds a null character, which no environment variable can"
        raise ConfigError(message, hint=f"leave it out of `secret_env`, and read /run/secrets/{secret.name}")


def _lacking(missing: Mapping[str, str], otherwise: str) -> ConfigError:
    lines = [f"{by}: no value for the secret {name}" for name, by in missing.items()]
    return ConfigError("\n".join(lines), hint=_WAYS.format(name=next(iter(missing))) + otherwise)


def _tell_unused(given: Given, names: list[str], emit: Emit) -> None:
    for name in given.values:
        if name not in names:
            from ci_env.pipeline.suggest import did_you_mean

            emit(Note("warning", f"nothing that runs has a secret {name}{did_you_mean(name, names)}"))

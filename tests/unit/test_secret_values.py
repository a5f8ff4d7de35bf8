"""Values of secrets: from the command line and the environment, and which ones will not do."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import pytest

from ci_env.cli.secrets import MAX_BYTES, NOTHING, Declared, Given, add_arguments, gather, given
from ci_env.errors import ConfigError
from ci_env.events import Event, Note
from ci_env.execute.secrets import Secrets
from ci_env.pipeline.model import Secret

TOKEN = Secret("TOKEN", ("API_TOKEN",))
KEY = Secret("KEY")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN", "KEY"):
        monkeypatch.delenv(name, raising=False)


def parsed(*arguments: str) -> Given:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return given(parser.parse_args(arguments))


def gathered(found: Given, *secrets: Secret) -> tuple[Secrets, list[Event]]:
    told: list[Event] = []
    declared = [Declared(secret, "ci-env.yml:4:3: the job 'test'") for secret in secrets]
    return gather(found, declared, told.append), told


def value(secrets: Secrets, secret: Secret) -> bytes:
    (found,) = secrets.give((secret,))
    return found.value


def test_each_way_to_give_a_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKEN", "of the environment")
    (tmp_path / "key").write_bytes(b"of a file\n\xff")
    found, told = gathered(parsed("--secret-file", f"KEY={tmp_path / 'key'}"), TOKEN, KEY)
    assert (value(found, TOKEN), value(found, KEY), told) == (b"of the environment", b"of a file\n\xff", [])
    assert value(gathered(parsed("--secret", "TOKEN=a=b c"), TOKEN)[0], TOKEN) == b"a=b c"
    assert value(gathered(parsed("--secret", "TOKEN"), TOKEN)[0], TOKEN) == b"of the environment"


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    assert value(gathered(parsed("--secret-file", "KEY=-"), KEY)[0], KEY) == b"from a pipe"


def test_all_that_have_no_value_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        gathered(NOTHING, TOKEN, KEY)
    where = "ci-env.yml:4:3: the job 'test': no value for the secret"
    assert caught.value.message == f"{where} TOKEN\n{where} KEY"
    assert caught.value.hint == "set the environment variable TOKEN, or give `--secret-file TOKEN=FILE`"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the value of the secret TOKEN is empty"),
        (" \n", "the value of the secret TOKEN is empty"),
        ("abc", "the value of the secret TOKEN is shorter than 4 bytes: masking it would spoil every log"),
        ("x" * (MAX_BYTES + 1), "the value of the secret TOKEN is longer than 64 KiB"),
        ("wrong\0value", "the value of the secret TOKEN holds a null character, which no environment variable can"),
    ],
)
def test_values_that_will_not_do(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        gathered(parsed("--secret", f"TOKEN={text}"), TOKEN)
    assert caught.value.message == message
    assert "wrong" not in str(caught.value.hint)


def test_an_empty_variable_is_an_empty_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "")
    with pytest.raises(ConfigError, match="the secret TOKEN is empty"):
        gathered(NOTHING, TOKEN)


def test_a_file_may_hold_any_byte() -> None:
    assert value(gathered(parsed("--secret", "KEY=nu\0ll"), KEY)[0], KEY) == b"nu\0ll"


@pytest.mark.parametrize("option", ["--secret", "--secret-file"])
@pytest.mark.parametrize("text", ["hunter2", "hunter2-value", "hunter2 value=x", "=hunter2", "hunter2!"])
def test_a_mistake_shows_nothing_of_what_may_be_a_value(option: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(option, text)
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--secret", "TOKEN"), "--secret: the environment has no variable of the name that was given"),
        (("--secret-file", "KEY=/nowhere"), "--secret-file KEY: cannot read /nowhere: No such file or directory"),
        (("--secret-file", "KEY=/"), "--secret-file KEY: cannot read /: Is a directory"),
        (("--secret", "KEY=abcd", "--secret-file", "KEY=/nowhere"), "two values are given for the secret KEY"),
    ],
)
def test_what_gives_no_value(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(*arguments)
    assert caught.value.message == message


def test_a_value_that_nothing_wants_is_told_and_masked() -> None:
    found, told = gathered(parsed("--secret", "TOKN=hunter2", "--secret", "TOKEN=correct horse"), TOKEN)
    assert told == [Note("warning", "nothing that runs has a secret TOKN; did you mean `TOKEN`?")]
    assert found.hidden_in("hunter2") == "***"


def test_what_was_given_shows_no_value() -> None:
    assert repr(parsed("--secret", "TOKEN=hunter2")) == "Given(TOKEN)"

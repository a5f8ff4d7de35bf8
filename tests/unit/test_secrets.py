"""Secrets on their way to a step: who gets which, and what shows none."""

from __future__ import annotations

from pathlib import Path

from ci_env.execute.log import StepLog
from ci_env.execute.secrets import NO_SECRETS, Secrets
from ci_env.pipeline.model import Secret
from ci_env.ports import GivenSecret

SECRETS = Secrets({"TOKEN": b"hunter2", "KEY": b"correct horse"})


def test_a_step_gets_what_it_asks_for() -> None:
    wanted = (Secret("TOKEN", ("API_TOKEN",)), Secret("ABSENT"))
    assert SECRETS.give(wanted) == (GivenSecret("TOKEN", b"hunter2", ("API_TOKEN",)),)


def test_what_has_no_value_is_named() -> None:
    assert SECRETS.lacking((Secret("TOKEN"), Secret("ABSENT"))) == ("ABSENT",)


def test_no_repr_shows_a_value() -> None:
    assert repr(SECRETS) == "Secrets(TOKEN, KEY)"
    assert repr(SECRETS.give((Secret("TOKEN"),))) == "(GivenSecret('TOKEN'),)"


def test_values_are_hidden_in_text() -> None:
    assert SECRETS.hidden_in("curl -H 'Token: hunter2'") == "curl -H 'Token: ***'"
    assert NO_SECRETS.hidden_in("hunter2") == "hunter2"


def test_a_log_never_holds_a_value(tmp_path: Path) -> None:
    told: list[str] = []
    with StepLog(tmp_path / "log", told.append, SECRETS.mask) as log:
        for piece in (b"token hun", b"ter2\ncorrect", b" horse", b"\nhun"):
            log.feed(piece)
        log.close()
    assert (tmp_path / "log").read_bytes() == b"token ***\n***\nhun"
    assert told == ["token ***", "***", "hun"]
    assert log.tail() == ("token ***", "***", "hun")


def test_a_value_where_a_line_is_cut_is_masked_first(tmp_path: Path) -> None:
    with StepLog(tmp_path / "log", list[str]().append, SECRETS.mask) as log:
        log.feed(b"x" * (2**16 - 4) + b"hunter2\n")
        log.close()
    assert b"hunt" not in (tmp_path / "log").read_bytes()

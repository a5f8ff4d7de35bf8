"""What asks GitHub to mask secrets: commands of one line each, whatever is in a value."""

from __future__ import annotations

import pytest

from ci_env_github.adapter import hide
from ci_env_gitlab.adapter import hide as hide_in_gitlab


@pytest.mark.parametrize(
    ("secrets", "lines"),
    [
        ([], []),
        (
            [b"hunter2\n", b"50%\r::more::"],
            ["::add-mask::hunter2", "::add-mask::50%25%0D::more::", "::add-mask::::more::"],
        ),
        (
            [b"-----BEGIN-----\nMIIBVgIB\n}\n"],
            ["::add-mask::-----BEGIN-----%0AMIIBVgIB%0A}", "::add-mask::-----BEGIN-----", "::add-mask::MIIBVgIB"],
        ),
        ([b"\xff\xfe\xfd\xfc\xfb", b"abc"], []),
    ],
)
def test_commands(secrets: list[bytes], lines: list[str]) -> None:
    assert hide(secrets) == "".join(f"{line}\n" for line in lines)


def test_gitlab_has_no_such_command() -> None:
    assert hide_in_gitlab([b"hunter2"]) == ""

"""Capsules of every version so far can be opened. A file here is never changed: docs/capsules.md promises that."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ci_env.capsule.form import VERSION
from ci_env.capsules.file import CapsuleFile
from ci_env.capsules.opening import read_capsule
from tests.capsule_material import CONTENTS

CAPSULES = Path(__file__).with_name("capsules")


def test_there_is_one_of_each_version() -> None:
    versions = {int(re.sub(r"\D", "", path.stem)) for path in CAPSULES.iterdir()}
    assert versions == set(range(1, VERSION + 1))


@pytest.mark.parametrize("path", sorted(CAPSULES.iterdir()), ids=lambda path: str(path.name))
def test_it_is_understood(path: Path) -> None:
    with CapsuleFile(path) as file:
        file.check()
        read = read_capsule(file, what=path.name)
    record = read.record
    assert (record.run_id, record.status, record.file) == ("20260101-120000-0abc", "failed", "ci-env.yml")
    assert [(step.name, step.status) for step in record.jobs[0].steps] == [
        ("prepare", "passed"),
        ("test", "failed"),
        ("never", "skipped"),
    ]
    assert [part.layer for part in read.capsule.layers] == list(CONTENTS)
    assert [content.kind for content in read.capsule.contents] == ["log", "artifacts"]

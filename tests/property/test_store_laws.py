"""The store's small files under damage: what was saved, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ci_env.digest import Digest
from ci_env.store.home import Store, open_store
from ci_env.store.steps import StepResult, Steps
from tests.strategies import instances

PLACE = Digest.of(b"place")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(tmp_path_factory.mktemp("laws") / "store")


def file_of(store: Store, result: StepResult) -> Path:
    return store.steps / f"{result.key.hex}.json"


@given(result=instances(StepResult))
def test_reads_what_it_saved(store: Store, result: StepResult) -> None:
    Steps(store).save(result, place=PLACE)
    assert Steps(store).load(result.key) == result
    assert Steps(store).last(PLACE) == result
    json.loads(file_of(store, result).read_bytes())


@given(result=instances(StepResult), data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_changed_byte_is_noticed(store: Store, result: StepResult, data: st.DataObject) -> None:
    Steps(store).save(result, place=PLACE)
    content = bytearray(file_of(store, result).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    file_of(store, result).write_bytes(content)
    assert Steps(store).load(result.key) is None


@given(result=instances(StepResult), data=st.data())
def test_a_truncated_file_is_noticed(store: Store, result: StepResult, data: st.DataObject) -> None:
    Steps(store).save(result, place=PLACE)
    content = file_of(store, result).read_bytes()
    file_of(store, result).write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert Steps(store).load(result.key) is None

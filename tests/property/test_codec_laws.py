"""The written forms of Plan and Record: read back equal, or refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_env import codec
from ci_env.capsule.record import Record
from ci_env.digest import Json
from ci_env.plan.plan import Plan
from tests.strategies import instances, json_values

Container = dict[str, Json] | list[Json]


@given(instances(Plan) | instances(Record))
def test_reads_what_it_wrote(value: Plan | Record) -> None:
    written = codec.dumps(value)
    assert written.isascii()
    assert codec.loads(type(value), written) == value


@given(instances(Record), st.data())
def test_a_changed_record_is_refused_or_means_what_it_says(record: Record, data: st.DataObject) -> None:
    changed = json.loads(codec.dumps(record))
    change(data.draw(st.sampled_from(list(containers(changed)))), data)
    with suppress(ValueError):
        assert json.dumps(codec.encode(codec.decode(Record, changed))) == json.dumps(changed)


def containers(document: Json) -> Iterator[Container]:
    """Yield every object and array of `document`, itself included."""
    if isinstance(document, dict | list):
        yield document
        for inner in document.values() if isinstance(document, dict) else document:
            yield from containers(inner)


def change(container: Container, data: st.DataObject) -> None:
    """Replace, remove or add one value of `container`."""
    how = data.draw(st.sampled_from(["replace", "remove", "add"])) if container else "add"
    value = data.draw(json_values)
    if isinstance(container, dict):
        name = data.draw(st.text(max_size=3) if how == "add" else st.sampled_from(list(container)))
        container[name] = value
        if how == "remove":
            del container[name]
    else:
        place = data.draw(st.integers(0, len(container) - (how != "add")))
        container[place : place + (how != "add")] = [] if how == "remove" else [value]


@pytest.mark.parametrize("kind", [Plan, Record])
@given(content=st.binary(max_size=40) | st.text('{}[]",:01aenlu\\ ', max_size=40).map(str.encode))
def test_bytes_are_refused_with_a_value_error(kind: type[Plan] | type[Record], content: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        codec.loads(kind, content)


@given(instances(Plan), st.data())
def test_a_truncated_plan_is_refused(plan: Plan, data: st.DataObject) -> None:
    written = codec.dumps(plan)
    with pytest.raises(ValueError, match=r".+"):
        codec.loads(Plan, written[: data.draw(st.integers(0, len(written) - 1))])

"""Laws of the pipeline file: whatever the bytes, a Pipeline or a ConfigError that says where; and of its grammars."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ci_env.cli.pipeline_file import load
from ci_env.errors import ConfigError
from ci_env.pipeline.model import Pipeline
from ci_env.pipeline.needs import CycleError, in_order
from ci_env.pipeline.quantities import parse_duration, parse_size
from ci_env.pipeline.scalars import Float, Integer, resolve
from ci_env.pipeline.substitute import ExpressionError, Scope, substitute

FILE = "ci-env.yml"
WORDS = (
    *("version", "image", "env", "jobs", "matrix", "needs", "limits", "secrets", "services", "steps"),
    *("run", "name", "shell", "workdir", "user", "inputs", "network", "caches", "timeout", "when"),
    *("artifacts", "reports", "junit", "cpus", "memory", "pids", "ready", "tcp", "a", "b", "host", "oci:x"),
    *("always", "nat", "1h", "2GiB", "sh -e", "/root/.cache", "../x", "!x/", "a[", "", "1", "${{ matrix.a }}"),
    *("${{ env.A }}", "${{ job.name }}", "${{", "Debian", "A", "<<", "a\x1bb", "a\nb", "\u2028"),
)
GOOD = """\
version: 1
image: debian:12
env: {A: "1"}
jobs:
  a: &job
    matrix: {a: [x, "y"]}
    limits: {timeout: 1h}
    steps:
      - name: one ${{ matrix.a }}
        run: |
          echo ${{ env.A }}
        inputs: [src/, "!src/x"]
        caches: [/root/.cache]
        timeout: 5m
        when: always
        reports: {junit: [r.xml]}
  b: {<<: *job, needs: [a]}
"""

words = st.sampled_from(WORDS)
plain = words | st.integers(-2, 2**70) | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
steps = st.fixed_dictionaries({"run": words}, optional=dict.fromkeys(WORDS[11:23], values))
jobs = st.fixed_dictionaries({"steps": st.lists(steps, max_size=2)}, optional=dict.fromkeys(WORDS[1:9], values))
files = st.fixed_dictionaries(
    {"version": st.just(1), "image": words, "jobs": st.dictionaries(st.sampled_from("abc"), jobs, max_size=3)},
    optional={"env": values, "x": values},
)


def read(content: bytes) -> Pipeline | None:
    """Return the pipeline; None where it was refused as a wrong file must be. Any other exception is the test's."""
    try:
        return load(content, FILE)
    except ConfigError as error:
        lines = str(error).splitlines()
        assert re.match(rf"{FILE}:[1-9][0-9]*:[1-9][0-9]*: .", lines[0])
        assert all(line.isprintable() for line in lines)
        return None


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf")
@example(b"\xff\xfe\x00")
def test_any_bytes(content: bytes) -> None:
    read(content)


@given(
    st.lists(words | st.sampled_from([": ", "- ", "\n", "\n  ", "{", "}", "[", "]", ", ", "&a ", "*a", '"', "|", "? "]))
)
def test_any_pieces_of_yaml(pieces: list[str]) -> None:
    read("".join(pieces).encode())


@given(files | values)
def test_any_data(data: object) -> None:
    read(json.dumps(data).encode())


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 12), st.text(max_size=3) | words)
def test_any_change_of_a_good_file(start: int, length: int, put: str) -> None:
    read((GOOD[:start] + put + GOOD[start + length :]).encode("utf-8", "surrogatepass"))


@given(st.integers(0, len(GOOD)))
def test_any_beginning_of_a_good_file(end: int) -> None:
    read(GOOD[:end].encode())


def test_the_good_file_is_one() -> None:
    pipeline = read(GOOD.encode())
    assert pipeline
    assert [job.name for job in pipeline.jobs] == ["a (a=x)", "a (a=y)", "b (a=x)", "b (a=y)"]


@given(st.integers(0, 10**5), st.integers(0, 10**5), st.integers(0, 10**8))
def test_duration_reads_what_was_written(hours: int, minutes: int, seconds: int) -> None:
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    text = "".join(f"{number}{unit}" for number, unit in parts if number)
    assert parse_duration(text or "0s") == hours * 3600 + minutes * 60 + seconds


@given(st.integers(0, 10**15 - 1), st.integers(0, 4), st.booleans())
def test_size_reads_what_was_written(number: int, power: int, is_binary: bool) -> None:
    unit = "B" if not power else "_kMGT"[power] + "B" if not is_binary else "_KMGT"[power] + "iB"
    assert (
        parse_size(f"{number} {unit}")
        == parse_size(f"{number}{unit}")
        == number * (1024 if is_binary else 1000) ** power
    )


@given(st.text(max_size=12) | st.text("0123456789hmsBkKMGTi .-", max_size=12))
def test_other_text_is_no_quantity(text: str) -> None:
    for parse in (parse_duration, parse_size):
        with contextlib.suppress(ValueError):
            assert parse(text) >= 0


@given(st.text(max_size=20) | st.from_regex(r"[-+]?[0-9.eExo]{1,10}", fullmatch=True))
@example("1e999999")
@example("." * 1000)
def test_plain_word_is_one_value_and_numbers_keep_their_form(text: str) -> None:
    value = resolve(text)
    if isinstance(value, Integer | Float):
        assert value.literal == text


@given(st.dictionaries(words, st.text(max_size=5)), st.lists(words | st.text(max_size=5)))
def test_substitution_leaves_the_rest_as_it_is(env: Mapping[str, str], pieces: list[str]) -> None:
    text = "".join(pieces)
    if "${{" in text:
        with contextlib.suppress(ExpressionError):
            substitute(text, Scope({"a": "${{ job.name }}"}, env, "test"))
    else:
        assert substitute(text, Scope({}, env, "test")) == text


@given(
    st.integers(1, 8).flatmap(lambda size: st.lists(st.sets(st.integers(0, size - 1)), min_size=size, max_size=size))
)
def test_jobs_are_in_order_or_wait_for_each_other(needs: list[set[int]]) -> None:
    graph = {str(job): [str(other) for other in needed] for job, needed in enumerate(needs)}
    try:
        order, cycle = in_order(graph), None
    except CycleError as error:
        order, cycle = (), error.cycle
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(needed in graph[job] for job, needed in itertools.pairwise(cycle))
    else:
        assert sorted(order) == sorted(graph)
        assert all(order.index(needed) < order.index(job) for job in graph for needed in graph[job])


@pytest.mark.parametrize("depth", [40, 60, 10_000])
def test_nesting_is_no_danger(depth: int) -> None:
    read(("version: 1\njobs: " + "{a: " * depth + "}" * depth).encode())

"""A key changes with everything that can affect a result, and with nothing else."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ci_env.digest import Digest
from ci_env.oci.order import NewFile
from ci_env.pipeline.model import Limits, Secret
from ci_env.plan import keys
from ci_env.plan.explain import differences
from ci_env.plan.plan import Cache, Copy, Image, SourceLayer, Step
from tests.strategies import digests

texts = st.text(max_size=4)
several = st.lists(texts, max_size=3).map(tuple)
LIMITS = tuple(field.name for field in dataclasses.fields(Limits))
names = texts.filter(lambda name: bool(name) and "=" not in name)
STEP: dict[str, st.SearchStrategy[object]] = {
    "name": texts,
    "key": digests,
    "parent": digests,
    "source": st.none() | st.builds(SourceLayer, digests, st.none() | several),
    "argv": several,
    "env": st.dictionaries(names, texts, max_size=3),
    "user": texts,
    "workdir": texts,
    "umask": st.integers(0, 0o777),
    "network": st.sampled_from(["none", "nat", "host"]),
    "caches": st.lists(st.builds(Cache, digests, texts), max_size=2).map(tuple),
    "timeout_s": st.none() | st.integers(1, 100),
    "when": st.sampled_from(["on_success", "always", "on_failure"]),
    "artifacts": several,
    "junit": several,
    "copy": st.none()
    | st.builds(
        Copy,
        origin=st.none() | digests,
        context=st.none() | st.builds(SourceLayer, digests, st.none() | several),
        job=st.none() | texts,
        layers=st.lists(digests, max_size=3).map(tuple),
        sources=several,
        files=st.lists(st.builds(NewFile, texts, texts), max_size=2).map(tuple),
        destination=texts,
        chown=st.none() | texts,
        chmod=st.none() | st.integers(0, 0o7777),
        is_unpacking=st.booleans(),
    ),
    "limits": st.builds(Limits, **dict.fromkeys(LIMITS, st.none() | st.integers(1, 9))),
    "allow": several,
    "secrets": st.lists(st.builds(Secret, texts, several), max_size=2).map(tuple),
}
IMAGE: dict[str, st.SearchStrategy[object]] = {
    "reference": texts,
    "manifest": st.none() | digests,
    "layers": st.lists(digests, max_size=3).map(tuple),
    "host": st.none() | digests,
    "platform": texts,
}
NO_EFFECT = {"name", "key", "when", "reference", "manifest"}

steps = st.builds(Step, **STEP)
images = st.builds(Image, **IMAGE)


def key_of(step: Step) -> Digest:
    return keys.step_key(keys.step_preimage(step, start=None, hostname="h"))


def start_of(image: Image, *taken: Digest) -> Digest:
    return keys.start_key(keys.start_preimage(image, taken))


def effect(value: object) -> object:
    """Return the part of a field's value that can affect a result."""
    if isinstance(value, tuple):
        return [effect(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, Copy):
        return replace(value, context=None, job=None, layers=())
    if isinstance(value, Cache):
        return value.target
    return value.layer if isinstance(value, SourceLayer) else value


def changed(name: str, old: object, data: st.DataObject) -> tuple[object, bool]:
    """Return another value for a field, and whether it must change the key."""
    new = data.draw((STEP | IMAGE)[name])
    assume(new != old)
    return new, name not in NO_EFFECT and effect(new) != effect(old)


def test_every_field_is_known_to_have_an_effect_or_none() -> None:
    assert {field.name for field in dataclasses.fields(Step)} == STEP.keys()
    assert {field.name for field in dataclasses.fields(Image)} == IMAGE.keys()


@pytest.mark.parametrize("name", STEP)
@settings(max_examples=40)
@given(step=steps, data=st.data())
def test_one_changed_field_of_a_step(name: str, step: Step, data: st.DataObject) -> None:
    value, has_effect = changed(name, getattr(step, name), data)
    other = replace(step, **{name: value})  # type: ignore[arg-type]  # of the field's type
    assert (key_of(other) != key_of(step)) == has_effect
    was, now = (keys.step_preimage(made, start=None, hostname="h") for made in (step, other))
    told = {difference.field.partition(".")[0] for difference in differences(keys.written(was), now)}
    assert told == ({name} if has_effect else set())


@pytest.mark.parametrize("name", IMAGE)
@settings(max_examples=40)
@given(image=images, data=st.data())
def test_one_changed_field_of_an_image(name: str, image: Image, data: st.DataObject) -> None:
    value, has_effect = changed(name, getattr(image, name), data)
    other = replace(image, **{name: value})  # type: ignore[arg-type]  # of the field's type
    assert (start_of(other) != start_of(image)) == has_effect


@given(images, st.lists(digests, max_size=3), st.lists(digests, max_size=3))
def test_what_a_job_takes_and_in_which_order(image: Image, one: list[Digest], other: list[Digest]) -> None:
    assert (start_of(image, *one) == start_of(image, *other)) == (one == other)


@given(steps, images, images, texts, texts)
def test_host_name_and_start_have_an_effect(step: Step, one: Image, other: Image, this: str, that: str) -> None:
    def key(image: Image, hostname: str) -> Digest:
        return keys.step_key(keys.step_preimage(step, start=keys.start_preimage(image, ()), hostname=hostname))

    assert (key(one, this) == key(one, that)) == (this == that)
    assert (key(one, this) == key(other, this)) == (start_of(one) == start_of(other))


@given(texts, texts, st.integers(0, 9), st.integers(0, 9))
def test_source_layers_differ_by_tree_and_time(tree: str, other: str, epoch: int, later: int) -> None:
    same = keys.source_layer(tree, epoch=epoch) == keys.source_layer(other, epoch=later)
    assert same == ((tree, epoch) == (other, later))


@given(steps, steps, images, images)
def test_differences_are_told_if_and_only_if_keys_differ(one: Step, other: Step, image: Image, another: Image) -> None:
    was = keys.step_preimage(one, start=keys.start_preimage(image, ()), hostname="h")
    now = keys.step_preimage(other, start=keys.start_preimage(another, ()), hostname="h")
    text = keys.written(was)
    assert bool(differences(text, now)) == (keys.step_key(was) != keys.step_key(now))
    assert differences(text, now) == differences(text, keys.written(now))
    assert all(difference.words for difference in differences(text, now))

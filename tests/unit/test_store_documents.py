"""The store's small files: as they were saved, or absent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from ci_env import codec
from ci_env.digest import Digest
from ci_env.errors import HostError
from ci_env.pipeline.model import Job, Pipeline, Step
from ci_env.store.documents import Documents
from ci_env.store.home import Store, open_store
from ci_env.store.images import ImageResult, Images
from ci_env.store.pipelines import Pipelines, pipeline_key
from ci_env.store.steps import StepResult, Steps, step_place

KEY, OTHER, PLACE = Digest.of(b"key"), Digest.of(b"other"), Digest.of(b"place")
RESULT = StepResult(1, KEY, '{"argv":["true"]}', (Digest.of(b"l"),), Digest.of(b"n"), Digest.of(b""), None, 12)
IMAGE = ImageResult(1, "debian:12", Digest.of(b"m"), "linux/amd64", (Digest.of(b"c"),), ("PATH=/bin",), "", "/")
STEP = Step("s", "true", ("sh",), ".", None, {"A": "b"}, "none", None, (), 60, "on_success", (), (), "ci-env.yml:3:5")
PIPELINE = Pipeline((Job("j", "j", "host", (), None, (STEP,), "ci-env.yml:2:3"),))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def test_images(store: Store) -> None:
    assert Images(store).load(KEY) is None
    Images(store).save(KEY, IMAGE)
    assert Images(store).load(KEY) == IMAGE


def test_pipelines(store: Store) -> None:
    Pipelines(store).save(KEY, PIPELINE)
    assert Pipelines(store).load(KEY) == PIPELINE
    assert Pipelines(store).load(OTHER) is None


def test_key_of_a_pipeline() -> None:
    keys = [
        pipeline_key(b"jobs", file="ci-env.yml", version="1"),
        pipeline_key(b"job", file="ci-env.yml", version="1"),
        pipeline_key(b"jobs", file="other.yml", version="1"),
        pipeline_key(b"jobs", file="ci-env.yml", version="2"),
        pipeline_key(b"jobs", file="not UTF-8: \udcff", version="1"),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == pipeline_key(b"jobs", file="ci-env.yml", version="1")


def test_the_newest_result_of_a_key_counts(store: Store) -> None:
    steps, second = Steps(store), StepResult(1, KEY, "{}", (), OTHER, OTHER, OTHER, 1)
    assert steps.load(KEY) is None
    steps.save(RESULT, place=PLACE)
    assert steps.load(KEY) == RESULT
    steps.save(second, place=PLACE)
    assert steps.load(KEY) == second


def test_last_result_of_a_place(store: Store) -> None:
    steps, later = Steps(store), StepResult(1, OTHER, "{}", (), OTHER, OTHER, None, 1)
    assert steps.last(PLACE) is None
    steps.save(RESULT, place=PLACE)
    steps.save(later, place=PLACE)
    assert (steps.last(PLACE), steps.previous(PLACE)) == (later, RESULT)
    steps.remember(PLACE, OTHER)
    assert (steps.last(PLACE), steps.previous(PLACE)) == (later, RESULT)
    steps.remember(PLACE, KEY)
    assert (steps.last(PLACE), steps.previous(PLACE)) == (RESULT, later)
    (store.steps / f"{KEY.hex}.json").unlink()
    assert steps.last(PLACE) is None


def test_places() -> None:
    places = {step_place(p, job=j, step=s) for p in (KEY, OTHER) for j in "ab" for s in "ab"}
    assert len(places) == 8


def test_a_result_of_another_key_is_absent(store: Store) -> None:
    Steps(store).save(RESULT, place=PLACE)
    (store.steps / f"{KEY.hex}.json").rename(store.steps / f"{OTHER.hex}.json")
    assert Steps(store).load(OTHER) is None


@dataclass(frozen=True, slots=True)
class Newer:
    version: Literal[2]
    more: str


def rewrite(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def of_a_newer_version(path: Path) -> None:
    Documents(path.parent, Newer).save(path.stem, Newer(2, "what we do not know"))


@pytest.mark.parametrize(
    "damage",
    [
        rewrite(b""),
        rewrite(bytes(400)),
        rewrite(b"{}"),
        rewrite(b"[" * 100_000),
        rewrite(codec.dumps(RESULT)),
        of_a_newer_version,
    ],
    ids=["empty", "zeros", "no keys", "deep", "no digest", "newer"],
)
def test_a_damaged_or_newer_file_is_absent_and_goes(store: Store, damage: Callable[[Path], None]) -> None:
    Steps(store).save(RESULT, place=PLACE)
    Images(store).save(KEY, IMAGE)
    Pipelines(store).save(KEY, PIPELINE)
    files = [path for folder in (store.steps, store.images, store.pipelines) for path in folder.iterdir()]
    assert len(files) == 4
    for path in files:
        damage(path)
    assert Steps(store).last(PLACE) is None
    assert Steps(store).load(KEY) is None
    assert Images(store).load(KEY) is None
    assert Pipelines(store).load(KEY) is None
    assert not any(path.exists() for path in files)


def test_a_directory_in_its_place_is_an_error(store: Store) -> None:
    (store.steps / f"{KEY.hex}.json").mkdir()
    with pytest.raises(HostError, match="Is a directory"):
        Steps(store).load(KEY)

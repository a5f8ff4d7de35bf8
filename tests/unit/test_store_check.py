"""Every kind of damage is found, dropped on request, and nothing else is touched."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from ci_env.digest import Digest
from ci_env.pipeline.model import Pipeline
from ci_env.store.blobs import Blobs
from ci_env.store.check import Check, Report
from ci_env.store.home import Store, open_store
from ci_env.store.images import ImageResult, Images
from ci_env.store.layers import Layers
from ci_env.store.pipelines import Pipelines
from ci_env.store.runs import Runs
from ci_env.store.scratch import scratch
from ci_env.store.steps import StepResult, Steps
from tests.layer_directory import as_caller
from tests.stored_record import Record

KEY, LAYER, PLACE, SOURCE = Digest.of(b"key"), Digest.of(b"layer"), Digest.of(b"place"), Digest.of(b"source")
OUTPUT = b"what a step wrote"
OF_ANOTHER_BOOT = '{"version":1,"boot":"00000000-0000-0000-0000-000000000000"}'


class Sound:
    """A store with one good thing of each kind, two layers, and what a check says of it."""

    def __init__(self, store: Store, space: Path) -> None:
        self.store = store
        self.layers = Layers(store, space, as_caller, lambda: False)
        self.runs = Runs(store, Record, version=1)
        output = Blobs(store).put(OUTPUT)
        for layer in (LAYER, SOURCE):
            self.layers.publish(self.layers.staging(), layer)
        self.layers.seal()
        Steps(store).save(StepResult(1, KEY, "{}", (SOURCE,), LAYER, output, None, 0), place=PLACE)
        Images(store).save(KEY, ImageResult(1, "debian:12", output, "linux/amd64", (), (), "", ""))
        Pipelines(store).save(KEY, Pipeline(()))
        with self.runs.create("2026-11-25T02:17:45Z") as made:
            self.runs.write(Record(1, made.id, (LAYER, SOURCE, output)))
        self.run = made.id

    def path(self, name: str) -> Path:
        """Return the file or directory that a short name means."""
        names = {
            "blob": self.store.blobs / "sha256" / Digest.of(OUTPUT).hex,
            "layer": self.layers.directory(SOURCE),
            "marker": self.layers.directory(SOURCE) / "layer.json",
            "root": self.layers.directory(SOURCE) / "root",
            "step": self.store.steps / f"{KEY.hex}.json",
            "last": self.store.steps / f"last-{PLACE.hex}.json",
            "image": self.store.images / f"{KEY.hex}.json",
            "pipeline": self.store.pipelines / f"{KEY.hex}.json",
            "record": self.store.runs / self.run / "record.json",
        }
        return names[name]

    def check(self, *, repair: bool = False, damaged: tuple[Digest, ...] = ()) -> Report:
        check = Check(self.store, self.layers, self.runs, lambda record: frozenset(record.needs))
        return check.look(is_damaged=lambda layer: layer in damaged, repair=repair)


@pytest.fixture
def sound(tmp_path: Path) -> Generator[Sound]:
    store = open_store(tmp_path / "store")
    with scratch(store, "check", lambda path: path.rmdir()) as space:
        yield Sound(store, space)
    assert os.listdir(store.tmp) == []


def content(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.unlink()
        path.write_text(text)

    return write


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


def become_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def test_nothing_is_wrong(sound: Sound) -> None:
    report = sound.check()
    assert report.looked_at == {"blobs": 1, "layers": 2, "steps": 2, "images": 1, "pipelines": 1, "runs": 1}
    assert report.flaws == []


DAMAGE = [
    *((name, damage) for name in ("blob", "step", "last", "image", "pipeline") for damage in (flip, content(""))),
    *((name, damage) for name in ("marker", "record") for damage in (content(""), content("[" * 100_000))),
    ("marker", content(OF_ANOTHER_BOOT)),
    ("marker", Path.unlink),
    ("root", Path.rmdir),
    *((name, become_a_directory) for name in ("blob", "step", "image", "pipeline")),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGE)
def test_damage_is_found_and_dropped(sound: Sound, name: str, damage: Callable[[Path], None]) -> None:
    damage(sound.path(name))
    kind = {"marker": "layers", "root": "layers", "last": "steps", "record": "runs"}.get(name, f"{name}s")
    found = sound.check()
    assert kind in {flaw.kind for flaw in found.bad}
    assert sound.path(name).exists() == (damage not in (Path.unlink, Path.rmdir)), "a look changes nothing"
    assert [flaw.path for flaw in sound.check(repair=True).bad] == [flaw.path for flaw in found.bad]
    assert not any(flaw.path.exists() for flaw in found.bad)
    assert sound.check().bad == []


@pytest.mark.parametrize("name", ["blob", "layer"])
def test_what_is_lost_takes_its_results_with_it_but_no_record(sound: Sound, name: str) -> None:
    shutil.rmtree(sound.layers.directory(LAYER)) if name == "layer" else sound.path(name).unlink()
    report = sound.check(repair=True)
    assert [flaw.path for flaw in report.bad] == [sound.path("step")]
    (incomplete,) = [flaw for flaw in report.flaws if not flaw.is_bad]
    assert incomplete.why == "1 of the 3 layers and blobs that it speaks of are gone"
    assert sound.runs.load(sound.run)


def test_who_knows_more_of_a_layer_is_asked(sound: Sound) -> None:
    report = sound.check(damaged=(LAYER,), repair=True)
    assert [flaw.kind for flaw in report.bad] == ["layers", "steps"]
    assert not sound.layers.has(LAYER)
    assert sound.layers.has(SOURCE)


def test_strangers_are_bad_and_temporary_files_are_not(sound: Sound) -> None:
    (sound.store.layers / "stranger").mkdir()
    (sound.store.blobs / "sha256" / "stranger").touch()
    (sound.store.blobs / "sha256" / ".name.1.a").touch()
    (sound.store.steps / ".name.json.1.a").touch()
    assert [flaw.path.name for flaw in sound.check(repair=True).bad] == ["stranger", "stranger"]
    assert sound.check().flaws == []


def test_runs_that_go_on_or_are_of_a_newer_version_stay(sound: Sound) -> None:
    with sound.runs.create("2026-11-25T02:17:46Z"):
        assert sound.check(repair=True).flaws == []
    sound.path("record").write_text(json.dumps({"version": 2}))
    report = sound.check(repair=True)
    assert report.bad == []
    assert "a newer ci-env wrote" in report.flaws[0].why
    assert sound.path("record").exists()


def test_a_run_without_a_record_is_dropped_once_it_is_over(sound: Sound) -> None:
    old = sound.store.runs / "20200101-000000-0000"
    old.mkdir()
    os.utime(old, (0, 0))
    assert [flaw.path for flaw in sound.check(repair=True).bad] == [old]
    assert not old.exists()

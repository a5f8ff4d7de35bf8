"""What prune removes, and what it never does: what is used, and what a kept run speaks of."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.store.blobs import Blobs
from ci_env.store.caches import Caches
from ci_env.store.home import Store, open_store
from ci_env.store.images import ImageResult, Images, Made
from ci_env.store.layers import Layers
from ci_env.store.measuring import measure
from ci_env.store.prune import Limits, Pruning, choose
from ci_env.store.runs import Runs
from ci_env.store.scratch import scratch
from ci_env.store.steps import StepResult, Steps
from ci_env.store.survey import Item, Survey, Surveyor
from ci_env.store.uses import Uses, using
from tests.layer_directory import as_caller
from tests.stored_record import Record

DAY_S = 86400
PLACE = Digest.of(b"place")
ALL = Limits(math.inf, 0, None)


class Filled:
    """A store to put things into, by name and age in days; and what is left of them."""

    def __init__(self, store: Store, uses: Uses, space: Path) -> None:
        self.store = store
        self.runs = Runs(store, Record, version=1)
        self.surveyor = Surveyor(store, self.runs, lambda record: frozenset(record.needs))
        self.layers = Layers(store, space, as_caller, lambda: False)
        self.pruning = Pruning(store, uses, space, self.layers.discard)

    def layer(self, name: str, *, age: float = 0) -> Digest:
        staging = self.layers.staging()
        (staging / "root" / name).write_text(name)
        self.layers.publish(staging, Digest.of(name.encode()))
        self.layers.seal()
        _age(self.layers.directory(Digest.of(name.encode())) / "layer.json", age)
        return Digest.of(name.encode())

    def blob(self, name: str) -> Digest:
        return Blobs(self.store).put(name.encode())

    def step(self, name: str, layer: Digest, *, age: float = 0) -> Digest:
        key = Digest.of(name.encode())
        result = StepResult(1, key, "{}", (), layer, self.blob(f"output of {name}"), None, 0)
        Steps(self.store).save(result, place=PLACE)
        _age(self.store.steps / f"{key.hex}.json", age)
        return key

    def run(self, *needs: Digest, age: float = 0) -> str:
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - age * DAY_S))
        with self.runs.create(started) as made:
            self.runs.write(Record(1, made.id, needs))
        _age(made.path / "record.json", age)
        return made.id

    def prune(self, *, days: float = 14, keep: int = 0, max_bytes: int | None = None) -> list[Item]:
        return self.carry_out(Limits(time.time() - days * DAY_S, keep, max_bytes))

    def carry_out(self, limits: Limits) -> list[Item]:
        survey = self.surveyor.survey(keep=limits.keep_runs)
        sizes = measure(as_caller, [item.path for item in survey.items])
        return self.pruning.carry_out(choose(survey, limits, sizes), survey, self.surveyor, self.runs)

    def left(self) -> set[str]:
        """Return the names of the layers, of the steps that have a result, and of the blobs."""
        names = {path.name for path in self.store.layers.glob("*/root/*")}
        names |= {path.read_text() for path in (self.store.blobs / "sha256").iterdir()}
        return names | set(self.runs.ids())


def _age(path: Path, days: float) -> None:
    then = time.time() - days * DAY_S
    os.utime(path, (then, then))


@pytest.fixture
def filled(tmp_path: Path) -> Generator[Filled]:
    store = open_store(tmp_path / "store")
    with using(store) as uses, scratch(store, "prune", lambda path: path.rmdir()) as space:
        yield Filled(store, uses, space)
    assert os.listdir(store.tmp) == []


def kinds(items: list[Item]) -> list[str]:
    return sorted(item.kind for item in items)


def test_old_things_go(filled: Filled) -> None:
    filled.step("old step", filled.layer("old", age=15), age=15)
    filled.step("new step", filled.layer("new", age=13), age=13)
    removed = filled.prune()
    assert filled.left() == {"new", "output of new step"}
    assert kinds(removed) == ["blob", "layer", "step"]


@pytest.mark.parametrize("ahead", [30, 3650], ids=["a month", "ten years"])
def test_what_was_used_while_the_clock_was_ahead_stays_until_then(filled: Filled, ahead: int) -> None:
    filled.step("step", filled.layer("layer", age=-ahead), age=-ahead)
    assert filled.prune(days=1) == []
    assert filled.prune(days=-ahead - 1)
    assert filled.left() == set()


def test_a_run_of_a_future_time_harms_no_other(filled: Filled) -> None:
    first, second = filled.run(filled.layer("kept", age=99), age=-3650), filled.run(filled.layer("of now"))
    filled.prune(keep=1)
    assert {"kept", first} <= filled.left()
    assert {"of now", second} <= filled.left()


def test_a_run_keeps_what_it_speaks_of(filled: Filled) -> None:
    needed, blob = filled.layer("needed", age=99), filled.blob("log")
    filled.layer("other", age=99)
    kept = filled.run(needed, blob, age=2)
    filled.prune()
    assert filled.left() == {"needed", "log", kept}


def test_an_old_run_goes_with_what_only_it_speaks_of(filled: Filled) -> None:
    filled.run(filled.layer("needed", age=99), filled.blob("log"), age=15)
    assert kinds(filled.prune()) == ["blob", "layer", "run"]
    assert filled.left() == set()
    assert os.listdir(filled.store.runs) == []


def test_the_newest_runs_stay_whatever_their_age(filled: Filled) -> None:
    newest = filled.run(filled.layer("a", age=99), age=30)
    middle = filled.run(filled.layer("b", age=99), age=40)
    filled.run(filled.layer("c", age=99), age=50)
    filled.prune(keep=2)
    assert filled.left() == {newest, middle, "a", "b"}


def test_runs_of_the_same_second_are_in_the_order_of_their_ends(filled: Filled) -> None:
    ids = [filled.run() for _ in range(8)]
    for number, run in enumerate(ids):
        _age(filled.store.runs / run / "record.json", 90 - number)
    filled.prune(keep=2)
    assert filled.left() == set(ids[-2:])


def test_the_newest_use_of_several_counts(filled: Filled) -> None:
    shared, log = filled.layer("shared", age=99), filled.blob("log")
    filled.run(shared, log, age=30)
    newer = filled.run(shared, log, age=3)
    filled.prune()
    assert filled.left() == {"shared", "log", newer}


def test_a_run_that_another_prune_removes_meanwhile_is_passed_over(filled: Filled) -> None:
    gone, other = filled.run(age=30), filled.run(age=20)
    survey = filled.surveyor.survey(keep=0)
    chosen = choose(survey, Limits(time.time(), 0, None), {})
    shutil.rmtree(filled.store.runs / gone)
    removed = filled.pruning.carry_out(chosen, survey, filled.surveyor, filled.runs)
    assert [item.path.name for item in removed] == [other]


def test_a_running_run_stays(filled: Filled) -> None:
    with filled.runs.create("2020-01-01T00:00:00Z") as made:
        layer, blob = filled.layer("needed", age=99), filled.blob("log")
        filled.runs.write(Record(1, made.id, (layer, blob)))
        _age(made.path / "record.json", 99)
        filled.carry_out(ALL)
        assert filled.left() == {"needed", "log", made.id}
    filled.carry_out(ALL)
    assert filled.left() == set()


def test_what_a_command_uses_stays(filled: Filled) -> None:
    layer, other, blob = filled.layer("used", age=99), filled.layer("other", age=99), filled.blob("used blob")
    with using(filled.store) as command:
        command.hold(layer)
        command.hold(blob)
        cache = Caches(filled.store, command).directory(PLACE)
        filled.carry_out(ALL)
        assert filled.left() == {"used", "used blob"}
        assert cache.is_dir()
        assert not filled.layers.directory(other).exists()
    assert kinds(filled.carry_out(ALL)) == ["blob", "cache", "layer"]
    assert os.listdir(filled.store.caches) == []


def test_a_run_that_ends_meanwhile_keeps_its_things(filled: Filled) -> None:
    """Between choosing and removing, a command uses an old layer, records it and ends."""
    layer, blob = filled.layer("needed", age=99), filled.blob("log")
    survey = filled.surveyor.survey(keep=0)
    chosen = choose(survey, ALL, {})
    run = filled.run(layer, blob)
    assert filled.pruning.carry_out(chosen, survey, filled.surveyor, filled.runs) == []
    assert filled.left() == {"needed", "log", run}


def test_a_record_that_is_written_again_counts(filled: Filled) -> None:
    """The run was there when things were chosen, but had not ended: its record named nothing yet."""
    layer = filled.layer("needed", age=99)
    with filled.runs.create("2026-11-25T02:17:45Z") as made:
        filled.runs.write(Record(1, made.id, ()))
        survey = filled.surveyor.survey(keep=0)
        filled.runs.write(Record(1, made.id, (layer,)))
    filled.pruning.carry_out(choose(survey, ALL, {}), survey, filled.surveyor, filled.runs)
    assert filled.left() == {"needed", made.id}


def test_a_hit_that_ends_meanwhile_counts(filled: Filled) -> None:
    layer = filled.layer("hit", age=99)
    survey = filled.surveyor.survey(keep=0)
    assert filled.layers.has(layer)
    filled.pruning.carry_out(choose(survey, ALL, {}), survey, filled.surveyor, filled.runs)
    assert filled.left() == {"hit"}


def test_what_nothing_refers_to_goes(filled: Filled) -> None:
    filled.blob("orphan")
    filled.step("dangling", Digest.of(b"no layer"))
    removed = filled.prune()
    assert "step" in kinds(removed)
    filled.prune()  # the blob of the dangling result
    assert filled.left() == set()


def test_images_keep_their_documents(filled: Filled) -> None:
    blobs = Blobs(filled.store)
    config = blobs.put(b"config")
    manifest = blobs.put(json.dumps({"config": {"digest": config}}).encode())
    image = ImageResult(1, "debian:12", manifest, "linux/amd64", (), (), "", "")
    Images(filled.store).save(PLACE, image)
    filled.prune()
    assert blobs.has(config)
    assert blobs.has(manifest)
    _age(filled.store.images / f"{PLACE.hex}.json", 15)
    filled.prune()
    assert Images(filled.store).load(PLACE) is None
    assert not blobs.has(config)
    assert not blobs.has(manifest)


def test_the_name_of_an_image_that_no_registry_has_stays(filled: Filled) -> None:
    """Without it, the image would be looked for in a registry. All goes with --all."""
    manifest = Blobs(filled.store).put(b"{}")
    made = Made("imported", "2026-01-01T00:00:00Z", "ci-env image import oci:dir app")
    image = ImageResult(1, "app", manifest, "linux/amd64", (filled.layer("old", age=15),), (), "", "", made=made)
    Images(filled.store).save(PLACE, image)
    _age(filled.store.images / f"{PLACE.hex}.json", 15)
    filled.prune()
    assert filled.left() == set()
    assert Images(filled.store).load(PLACE) == image
    filled.carry_out(ALL)
    assert Images(filled.store).load(PLACE) is None


def test_the_least_recently_used_goes_until_it_fits(filled: Filled) -> None:
    for number in range(5):
        filled.layer(f"layer {number}", age=number)
    kept = filled.run(filled.layer("of the newest run", age=99), age=50)
    (total,) = measure(as_caller, [filled.store.layers]).values()
    filled.prune(keep=1, max_bytes=total * 3 // 5)
    left = filled.left()
    assert {"of the newest run", kept, "layer 0"} <= left
    assert {"layer 3", "layer 4"}.isdisjoint(left)
    filled.prune(keep=1, max_bytes=0)
    assert filled.left() == {"of the newest run", kept}


def test_choosing_changes_nothing(filled: Filled) -> None:
    filled.layer("old", age=15)
    survey = filled.surveyor.survey(keep=0)
    assert len(choose(survey, ALL, {})) == 1
    assert filled.left() == {"old"}


def test_what_crashes_leave(filled: Filled) -> None:
    store = filled.store
    old = [store.steps / ".x.json.1.a", store.blobs / "sha256" / ".x.1.a", store.runs / "20200101-000000-0000"]
    new = [store.images / ".x.json.1.a", store.runs / "20200101-000000-0001"]
    locks = [store.locks / f"layer-{PLACE.hex}.lock", store.locks / f"step-{PLACE.hex}.lock"]
    for path in (*old, *new, *locks):
        path.mkdir() if path.parent == store.runs else path.touch()
    for path in old:
        _age(path, 2)
    filled.prune()
    assert [path for path in (*old, *new, *locks) if path.exists()] == new
    assert (store.locks / "uses").exists()
    assert (store.locks / "probe.lock").exists()


def test_damaged_runs_do_not_stop_it_but_newer_ones_do(filled: Filled) -> None:
    filled.layer("old", age=15)
    run = filled.run()
    record = filled.store.runs / run / "record.json"
    record.write_text("{")
    filled.prune(keep=1)
    assert filled.left() == {run}
    record.write_text('{"version": 2}')
    with pytest.raises(ConfigError, match="a newer ci-env wrote"):
        filled.prune(keep=1)


def test_two_at_once(filled: Filled) -> None:
    filled.step("step", filled.layer("old", age=15), age=15)
    survey = filled.surveyor.survey(keep=0)
    chosen = choose(survey, ALL, {})
    assert len(filled.carry_out(ALL)) == len(chosen)
    assert filled.pruning.carry_out(chosen, survey, filled.surveyor, filled.runs) == []


def test_pure_choice() -> None:
    items = tuple(Item("layer", Path(name), Digest.of(name.encode()), when, when) for when, name in enumerate("dcba"))
    survey = Survey(items, frozenset(), frozenset({Digest.of(b"c")}))
    sizes = {item.path: 10 for item in items}

    def names(limits: Limits) -> str:
        return "".join(str(item.path) for item in choose(survey, limits, sizes))

    assert names(Limits(0, 0, None)) == ""
    assert names(Limits(2, 0, None)) == "d"
    assert names(Limits(0, 0, 40)) == ""
    assert names(Limits(0, 0, 39)) == "d"
    assert names(Limits(2, 0, 21)) == "db"
    assert names(Limits(0, 0, 0)) == "dba"


def test_sizes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(bytes(100_000))
    os.link(tmp_path / "a" / "file", tmp_path / "a" / "again")
    sizes = measure(as_caller, [tmp_path / "a", tmp_path / "a" / "file", tmp_path / "absent"])
    assert list(sizes) == [tmp_path / "a", tmp_path / "a" / "file", tmp_path / "absent"]
    assert 100_000 <= sizes[tmp_path / "a" / "file"] <= sizes[tmp_path / "a"] < 150_000
    assert sizes[tmp_path / "absent"] == 0

"""A run that has failed, in a store of a test's own: its layers, log and artifacts are there, and nothing has run."""

from __future__ import annotations

import io
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ci_env.capsule.record import Host, JobRecord, Record, StepRecord
from ci_env.capsules.shelf import Shelf
from ci_env.digest import Digest, key
from ci_env.events import Note
from ci_env.oci.pull import Stream
from ci_env.plan.plan import Cache
from ci_env.store.blobs import Blobs
from ci_env.store.home import Store, open_store
from ci_env.store.images import Images
from ci_env.store.layers import Layers
from ci_env.store.scratch import scratch
from tests.layer_directory import as_caller
from tests.oci_builder import Item, d, f, tar, wh
from tests.plan_material import DEBIAN, WHOLE, compiled, job, step

IMAGE = DEBIAN.image.layers
STEP, LEFT = key("layer", {"step": "prepare"}), key("layer", {"step": "test"})
ARTIFACTS = tar([f("workspace/report.xml", "<report/>")])
LOG = b"1 test failed\n"
CONTENTS: Mapping[Digest, tuple[Item, ...]] = {
    IMAGE[0]: (d("etc"), f("etc/motd", "hello"), f("etc/gone", "gone")),
    IMAGE[1]: (d("etc"), f("etc/second", "second")),
    WHOLE: (d("workspace"), f("workspace/main.py", "print()")),
    STEP: (d("etc"), wh("etc/gone"), d("workspace"), f("workspace/made", "made", mode=0o600)),
    LEFT: (d("workspace"), f("workspace/left", "left")),
}
HOST = Host("6.1", "x86_64", 2, 2**32, "ext4", "root", ())


@dataclass
class Desk:
    """A store, and what capsules are packed from and brought into."""

    store: Store
    shelf: Shelf
    notes: list[str]

    def fill(self, contents: Mapping[Digest, tuple[Item, ...]] = CONTENTS) -> None:
        """Have the layers of the run, each on those before it in `contents`, its log and its artifacts."""
        below: tuple[Digest, ...] = ()
        for layer, items in contents.items():
            archive = tar(items)
            self.shelf.layers.unpack(layer, below, Digest.of(archive), opened(archive))
            below = (*below, layer)
        self.shelf.blobs.put(LOG)
        self.shelf.blobs.put(ARTIFACTS)

    def names(self) -> dict[str, set[str]]:
        """Return all that has a name in the store, by its kind."""
        kinds = ("blobs/sha256", "layers", "steps", "images", "runs", "caches")
        return {kind: set(os.listdir(self.store.root / kind)) for kind in kinds}

    def tree(self, layer: Digest) -> dict[str, bytes | None]:
        """Return the files below a layer's root, with their content; None for what is no file."""
        root = self.shelf.layers.directory(layer) / "root"
        paths = sorted(root.rglob("*"))
        return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in paths}


def opened(content: bytes) -> Stream:
    return lambda: _opened(content)


@contextmanager
def _opened(content: bytes) -> Generator[io.BytesIO]:
    yield io.BytesIO(content)


@contextmanager
def desk(path: Path) -> Generator[Desk]:
    """Give an empty store."""
    store, notes = open_store(path), list[str]()

    def discard(directory: Path) -> None:
        layers.discard(directory)

    def is_mapped() -> bool:
        return os.geteuid() == 0

    def note(event: object) -> None:
        if isinstance(event, Note):
            notes.append(event.message)

    with scratch(store, "test", discard) as space:
        layers = Layers(store, space, as_caller, is_mapped)
        yield Desk(store, Shelf(layers, Blobs(store), Images(store), as_caller, is_mapped, space, note), notes)


def failed_run() -> Record:
    """Return the record: a step that passed, one that failed, and one that did not run."""
    plan = compiled(
        job("build", step("prepare"), step("test", artifacts=("report.xml",)), step("never")), job("other", step("x"))
    )
    cache = Cache(Digest.of(b"cache"), "/root/.cache")
    build = replace(plan.jobs[0], steps=tuple(replace(one, caches=(cache,)) for one in plan.jobs[0].steps))
    plan = replace(plan, jobs=(build, plan.jobs[1]))
    prepare, test, never = build.steps
    seen = (*IMAGE, WHOLE)
    steps = (
        _ran(prepare.name, prepare.key, seen, STEP, 0),
        replace(
            _ran(test.name, test.key, (*seen, STEP), LEFT, 1),
            status="failed",
            output=Digest.of(LOG),
            artifacts=Digest.of(ARTIFACTS),
        ),
        StepRecord(never.name, never.key, "skipped", None, None, None, 0, (*seen, STEP), None, None, None, None),
    )
    (other,) = plan.jobs[1].steps
    elsewhere = key("layer", {"step": "other"})
    return Record(
        version=plan.version,
        run_id="20260101-120000-0abc",
        status="failed",
        started_at="2026-01-01T12:00:00Z",
        duration_ms=5,
        file="ci-env.yml",
        host=HOST,
        ci={},
        plan=plan,
        jobs=(
            JobRecord("build", "failed", 5, steps),
            JobRecord("other", "passed", 5, (_ran(other.name, other.key, seen, elsewhere, 0),)),
        ),
    )


def _ran(name: str, step_key: Digest, before: tuple[Digest, ...], layer: Digest, code: int) -> StepRecord:
    return StepRecord(
        name=name,
        key=step_key,
        status="passed",
        ended="exit",
        exit_code=code,
        signal=None,
        duration_ms=1,
        before=before,
        after=(*before, layer),
        tree=None,
        output=None,
        artifacts=None,
    )

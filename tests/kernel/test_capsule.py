"""Capsules packed and opened, layers by the real programs: what comes back, and what hostile ones can do."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import cast

import pytest

from ci_env import codec
from ci_env.capsule.record import Record
from ci_env.capsules.file import CapsuleFile
from ci_env.capsules.file_write import CapsuleWriter
from ci_env.capsules.frames import Compressor
from ci_env.capsules.opening import open_capsule, read_capsule
from ci_env.capsules.pack import Wish, pack
from ci_env.digest import Digest
from ci_env.errors import CiEnvError, ConfigError, IntegrityError
from tests.capsule_material import ARTIFACTS, CONTENTS, IMAGE, LEFT, LOG, STEP, Desk, desk, failed_run
from tests.oci_builder import Item, f, hard, header, link, tar, wh
from tests.plan_material import WHOLE

NOTHING = Wish()


@pytest.fixture
def maker(tmp_path: Path) -> Generator[Desk]:
    """Give a store with a failed run in it."""
    with desk(tmp_path / "maker") as made:
        made.fill()
        yield made


@pytest.fixture
def other(tmp_path: Path) -> Generator[Desk]:
    """Give an empty store."""
    with desk(tmp_path / "other") as made:
        yield made


@pytest.fixture
def capsule(maker: Desk, tmp_path: Path) -> Path:
    path = tmp_path / "run.cienv"
    pack(failed_run(), path, maker.shelf, NOTHING)
    return path


def opened(path: Path, into: Desk) -> Record:
    with CapsuleFile(path) as file:
        record, _ = open_capsule(file, into.shelf, what=str(path), check=file.check)
    return record


def blobs(path: Path) -> dict[str, bytes]:
    """Return the members of a capsule by their names, read by other programs."""
    plain = subprocess.run(["zstd", "-dcq", str(path)], capture_output=True, check=True, timeout=60).stdout
    listed = subprocess.run(["tar", "t"], input=plain, capture_output=True, check=True, timeout=60).stdout
    names = [name for name in listed.decode().splitlines() if not name.endswith("/")]
    return {
        name: subprocess.run(["tar", "xO", name], input=plain, capture_output=True, check=True, timeout=60).stdout
        for name in names
    }


def test_what_comes_back(capsule: Path, maker: Desk, other: Desk) -> None:
    record = opened(capsule, other)
    test = record.jobs[0].steps[1]
    assert test.after is not None
    names = dict(zip((*IMAGE, WHOLE, STEP, LEFT), test.after, strict=True))
    assert test.before == test.after[:-1]
    for layer, name in names.items():
        assert name != layer
        assert other.tree(name) == maker.tree(layer)
    assert (other.shelf.layers.directory(names[STEP]) / "root/etc/gone").is_char_device()
    assert other.shelf.blobs.read(Digest.of(LOG)) == LOG
    assert other.shelf.blobs.read(Digest.of(ARTIFACTS)) == ARTIFACTS
    assert record.run_id == failed_run().run_id
    assert record.plan.jobs[0].image.layers == test.before[:2]
    assert record.plan.jobs[0].steps[0].source is not None
    assert record.plan.jobs[0].steps[0].source.layer == names[WHOLE]
    assert record.plan.jobs[0].steps[0].caches[0].id != failed_run().plan.jobs[0].steps[0].caches[0].id


def test_what_is_there_already(capsule: Path, other: Desk) -> None:
    first = opened(capsule, other)
    before = other.names()
    assert opened(capsule, other) == first
    assert other.names() == before
    assert all(other.shelf.layers.is_complete(layer) for layer in first.jobs[0].steps[1].before)


def test_other_tools_read_it(capsule: Path) -> None:
    found = blobs(capsule)
    manifest_of = json.loads(found["index.json"])["manifests"][0]
    manifest = json.loads(found["blobs/" + manifest_of["digest"].replace(":", "/")])
    assert manifest["artifactType"] == "application/vnd.ci-env.capsule.v1+json"
    record = found["blobs/" + manifest["config"]["digest"].replace(":", "/")]
    assert codec.loads(Record, record) == failed_run()
    assert all(
        name.rpartition("/")[2] == hashlib.sha256(content).hexdigest()
        for name, content in found.items()
        if "blobs/" in name
    )
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}


def test_equal_runs_give_equal_bytes(capsule: Path, tmp_path: Path) -> None:
    with desk(tmp_path / "again") as again:
        again.fill()
        pack(failed_run(), tmp_path / "again.cienv", again.shelf, NOTHING)
    assert (tmp_path / "again.cienv").read_bytes() == capsule.read_bytes()


def test_what_other_jobs_have_left_is_not_in_it(capsule: Path) -> None:
    with CapsuleFile(capsule) as file:
        read = read_capsule(file, what="it")
    assert {part.layer for part in read.capsule.layers} == set(CONTENTS)


def test_no_larger_than_asked_for(maker: Desk, capsule: Path, tmp_path: Path) -> None:
    size = capsule.stat().st_size
    path = tmp_path / "small.cienv"
    left_out: set[str] = set()
    for limit in range(size, 0, -size // 16):
        try:
            done = pack(failed_run(), path, maker.shelf, Wish(max_bytes=limit))
        except ConfigError as error:
            assert f"the capsule would be larger than {limit} bytes" in error.message  # noqa: PT017
            break
        assert path.stat().st_size <= limit + 3000  # manifest and index
        left_out.update(done.left_out)
        with CapsuleFile(path) as file:
            kept = {part.layer for part in read_capsule(file, what="it").capsule.layers}
            assert kept >= {*IMAGE, WHOLE, STEP}
    else:
        pytest.fail("a capsule of no bytes was made")
    assert left_out == {"artifacts", "the state that a step has left"}
    assert [found.name for found in tmp_path.glob(".small*")] == []


def test_what_its_step_saw_is_gone(maker: Desk, tmp_path: Path) -> None:
    maker.shelf.layers.drop(STEP)
    with pytest.raises(ConfigError, match="layers that its failed step saw are gone"):
        pack(failed_run(), tmp_path / "no.cienv", maker.shelf, NOTHING)
    assert not (tmp_path / "no.cienv").exists()


def test_what_it_left_is_gone(maker: Desk, other: Desk, tmp_path: Path) -> None:
    maker.shelf.layers.drop(LEFT)
    maker.shelf.blobs.path(Digest.of(ARTIFACTS)).unlink()
    pack(failed_run(), tmp_path / "less.cienv", maker.shelf, NOTHING)
    record = opened(tmp_path / "less.cienv", other)
    assert record.jobs[0].steps[1].after is not None
    assert not other.shelf.layers.has(record.jobs[0].steps[1].after[-1])
    assert other.shelf.layers.has(record.jobs[0].steps[1].before[-1])


def test_parts_of_the_machine_come_back_beside_root(maker: Desk, other: Desk, tmp_path: Path) -> None:
    part = maker.shelf.layers.directory(STEP) / "host" / "opt"
    part.mkdir(parents=True)
    (part / "made").write_text("made")
    pack(failed_run(), tmp_path / "host.cienv", maker.shelf, NOTHING)
    record = opened(tmp_path / "host.cienv", other)
    directory = other.shelf.layers.directory(record.jobs[0].steps[1].before[-1])
    assert (directory / "host/opt/made").read_text() == "made"
    assert not (directory / "root/opt").exists()


# --- hostile ones


def rewritten(path: Path, target: Path, change: Callable[[dict[str, object], dict[str, bytes]], None]) -> Path:
    """Make a capsule anew, all its digests right, with its manifest and its blobs changed."""
    with CapsuleFile(path) as file:
        manifest = json.loads(file.root())
    found = {f"sha256:{name.rpartition('/')[2]}": content for name, content in blobs(path).items() if "blobs/" in name}
    change(manifest, found)
    with CapsuleWriter(target) as writer:
        for content in found.values():
            writer.add(content)
        writer.finish(json.dumps(manifest).encode(), "x")
    return target


def with_layer(archive: bytes, *, layer: Digest = STEP) -> Callable[[dict[str, object], dict[str, bytes]], None]:
    """Return a change: another archive in the place of a layer's."""

    def change(manifest: dict[str, object], found: dict[str, bytes]) -> None:
        (part,) = [part for part in parts_of(manifest) if marks(part).get("vnd.ci-env.layer") == layer]
        part["digest"], part["size"] = f"sha256:{hashlib.sha256(archive).hexdigest()}", len(archive)
        found[str(part["digest"])] = archive

    return change


def with_record(
    change_record: Callable[[dict[str, object]], None],
) -> Callable[[dict[str, object], dict[str, bytes]], None]:
    """Return a change: another record."""

    def change(manifest: dict[str, object], found: dict[str, bytes]) -> None:
        config = manifest["config"]
        assert isinstance(config, dict)
        record = json.loads(found[config["digest"]])
        change_record(record)
        content = json.dumps(record).encode()
        manifest["config"] = {**config, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}
        found[f"sha256:{hashlib.sha256(content).hexdigest()}"] = content

    return change


def parts_of(manifest: dict[str, object]) -> list[dict[str, object]]:
    return items(manifest, "layers")


def marks(part: Mapping[str, object]) -> Mapping[str, object]:
    return dig(part, "annotations") if "annotations" in part else {}


def refused(path: Path, into: Desk, *, may_bring: bool = False) -> CiEnvError:
    """Return the error of opening a capsule, which must have changed nothing that anybody can see."""
    before = {
        kind: names for kind, names in into.names().items() if not (may_bring and kind in ("layers", "blobs/sha256"))
    }
    with pytest.raises((ConfigError, IntegrityError)) as caught:
        opened(path, into)
    assert {kind: names for kind, names in into.names().items() if kind in before} == before
    return caught.value


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([f("../../../../escaped", "x")], None),
        ([link("out", "/"), f("out/escaped", "x")], None),
        ([link("workspace", "../../../../../../.."), f("workspace/escaped", "x")], None),
        ([hard("passwd", "../../../../../../../etc/passwd")], "does not exist"),
        ([Item(b"dev", b"3", device=(0, 0))], "device 0:0"),
        ([wh(".")], "invalid whiteout"),
        ([Item(b".", b"2", link=b"/")], "root is not a directory"),
        ([Item(b"x", b"0", size=2**50)], "larger than 64 GiB"),
    ],
)
def test_archives_that_lead_outside(
    items: list[Item], said: str | None, capsule: Path, other: Desk, tmp_path: Path
) -> None:
    """What unpacks, unpacks inside its layer; the rest is an error."""
    hostile = rewritten(capsule, tmp_path / "hostile.cienv", with_layer(tar(items)))
    around = set(tmp_path.iterdir())
    if said is None:
        record = opened(hostile, other)
        assert other.shelf.layers.has(record.jobs[0].steps[1].before[-1])
    else:
        assert said in refused(hostile, other, may_bring=True).message
    assert set(tmp_path.iterdir()) == around
    assert not list(tmp_path.glob("**/../escaped"))
    assert not Path("/escaped").exists()


def test_it_cannot_stand_in_for_an_image(capsule: Path, other: Desk, tmp_path: Path) -> None:
    """A layer that calls itself the image's is kept, but nobody who asks for the image's gets it."""
    hostile = rewritten(capsule, tmp_path / "hostile.cienv", with_layer(tar([f("evil")]), layer=IMAGE[0]))
    record = opened(hostile, other)
    assert "evil" in other.tree(record.jobs[0].steps[1].before[0])
    for layer in CONTENTS:
        assert not other.shelf.layers.has(layer)
    assert other.names()["images"] == other.names()["steps"] == other.names()["runs"] == set()


def test_it_cannot_use_what_is_there(capsule: Path, maker: Desk, tmp_path: Path) -> None:
    """A capsule that names layers and caches of this machine without bringing them does not get them."""

    def drop(manifest: dict[str, object], _: dict[str, bytes]) -> None:
        manifest["layers"] = []

    record = opened(rewritten(capsule, tmp_path / "hostile.cienv", drop), maker)
    assert maker.shelf.layers.has(STEP)
    assert not any(maker.shelf.layers.has(layer) for layer in record.jobs[0].steps[1].before)


Change = Callable[[dict[str, object]], object]
PLANNED, STEP_0, DONE = ("plan", "jobs", 0), ("plan", "jobs", 0, "steps", 0), ("jobs", 0, "steps", 1)
RECORDS: Mapping[str, tuple[Change, str]] = {
    "a newer version": (lambda record: record.update(version=99), "a newer ci-env wrote"),
    "an unknown key": (lambda record: record.update(more=1), "its record is damaged"),
    "a run's id": (lambda record: record.update(run_id="../../x"), "is not the id of a run"),
    "no jobs of the plan": (lambda record: dig(record, "plan").update(jobs=[]), "other steps than were planned"),
    "a job twice": (lambda record: items(record, "jobs").append(items(record, "jobs")[0]), "has run twice"),
    "a step less": (lambda record: items(record, "jobs", 0, "steps").pop(), "other steps than were planned"),
    "a NUL": (lambda record: dig(record, *STEP_0).update(workdir="/a\0"), "holds a NUL"),
    "half a letter": (lambda record: record.update(file="\ud800"), "is not valid text"),
    "a path": (lambda record: dig(record, *STEP_0).update(workdir="../x"), "not absolute"),
    "a cache": (lambda record: items(record, *STEP_0, "caches")[0].update(target="/proc/x"), "the kernel's"),
    "nothing to run": (lambda record: dig(record, *STEP_0).update(argv=[]), "runs nothing"),
    "a variable": (lambda record: dig(record, *STEP_0).update(env={"A=B": ""}), "no name of a variable"),
    "a circle": (lambda record: dig(record, *PLANNED).update(needs=["other"]), "does not come before it"),
    "a base of its own": (lambda record: dig(record, *PLANNED).update(base="build"), "does not come before it"),
    "a platform": (lambda record: dig(record, *PLANNED, "image").update(platform="x"), "not a platform"),
    "an ending": (lambda record: dig(record, *DONE).update(exit_code=4000), "as no process can"),
    "a number": (lambda record: record.update(duration_ms=-5), "duration_ms is -5"),
    "a layer twice": (lambda record: dig(record, *DONE).update(before=[STEP, STEP]), "one of them twice"),
    "a name": (lambda record: dig(record, *PLANNED).update(name="a\x1b[2J"), "is no name of a job"),
}


def dig(value: object, *path: str | int) -> dict[str, object]:
    for name in path:
        value = value[name]  # type: ignore[index]  # a test's own data
    return cast("dict[str, object]", value)


def items(value: object, *path: str | int) -> list[dict[str, object]]:
    for name in path:
        value = value[name]  # type: ignore[index]  # a test's own data
    return cast("list[dict[str, object]]", value)


@pytest.mark.parametrize("kind", RECORDS)
def test_records_that_no_run_has_written(kind: str, capsule: Path, other: Desk, tmp_path: Path) -> None:
    change, said = RECORDS[kind]

    def changed(record: dict[str, object]) -> None:
        change(record)

    hostile = rewritten(capsule, tmp_path / "hostile.cienv", with_record(changed))
    assert said in refused(hostile, other).message


def test_a_record_that_is_nested_without_end(capsule: Path, other: Desk, tmp_path: Path) -> None:
    content = b"[" * 200_000

    def change(manifest: dict[str, object], found: dict[str, bytes]) -> None:
        manifest["config"] = {"mediaType": "x", "digest": Digest.of(content), "size": len(content)}
        found[Digest.of(content)] = content

    assert "its record is damaged" in refused(rewritten(capsule, tmp_path / "x.cienv", change), other).message


def archive(*members: tuple[str, int, bytes], end: bytes = bytes(1024)) -> bytes:
    """Return a file of frames: for each member a header that claims a size, and a content whatever its size."""
    pieces: list[bytes] = []
    for name, size, content in members:
        for plain in (header(Item(name.encode(), b"0", size=size)), content):
            frame = Compressor(pieces.append)
            frame.put(plain)
            frame.end()
    last = Compressor(pieces.append)
    last.put(end)
    last.end()
    return b"".join(pieces)


BLOB = "blobs/sha256/" + "0" * 64
BOMBS = {
    "larger than it says": archive((BLOB, 10, bytes(2**26))),
    "smaller than it says": archive((BLOB, 2**33 - 1, bytes(2**20))),
    "a header that is none": archive((BLOB, 512, bytes(512)))[:200] + archive(end=bytes(2**26)),
    "too large to be": archive((BLOB, 2**40, bytes(512))),
    "too many": archive(*((f"blobs/sha256/{number:064x}", 1, bytes(512)) for number in range(10_002))),
    "twice": archive((BLOB, 1, bytes(512)), (BLOB, 1, bytes(512))),
    "elsewhere": archive(("../../etc/cron.d/x", 1, bytes(512))),
    "something after its end": archive() + archive(),
}


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.timeout(60)
def test_files_that_are_no_capsules(kind: str, other: Desk, tmp_path: Path) -> None:
    path = tmp_path / "bomb.cienv"
    path.write_bytes(BOMBS[kind])
    refused(path, other)


def test_nothing_is_hidden_behind_a_part(tmp_path: Path) -> None:
    path = tmp_path / "padded.cienv"
    path.write_bytes(archive((BLOB, 1, b"x" + bytes(510) + b"y")))
    with CapsuleFile(path) as file, pytest.raises(ConfigError, match="something is hidden behind a part of it"):
        file.check()


@pytest.mark.parametrize("kind", ["fifo", "directory", "link to nothing", "device"])
@pytest.mark.timeout(10)
def test_what_is_no_file(kind: str, other: Desk, tmp_path: Path) -> None:
    path = tmp_path / "x.cienv"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "nothing")
    refused(path, other)

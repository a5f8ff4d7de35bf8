"""The file tree of a step: layers, what becomes of writes, binds, and images that try to lead elsewhere."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from ci_env.ports import Bind
from ci_env_runners.privileges import KEPT
from tests.sandboxes import Place


def owned(place: Place, path: Path, *format_: str) -> str:
    """Return what stat(1) says of a file of the store, asked under the ids that own it."""
    reader, writer = os.pipe()
    with open(reader) as answer:
        try:
            place.runner.as_owner(["stat", "--format", " ".join(format_), str(path)], stdout=writer)
        finally:
            os.close(writer)
        return answer.read().strip()


def test_an_image_is_all_there_is(place: Place, image: Path) -> None:
    done = place.execute(place.sandbox("ls /; ls -a /etc", lowers=[image], host=False))
    names = ["bin", "dev", "etc", "proc", "sys", "workspace", ".", "..", "hostname", "hosts"]
    assert (done.exit.code, done.lines()) == (0, names)


def test_a_rootfs_without_layers_has_nothing_to_execute(place: Place) -> None:
    done = place.execute(place.sandbox("true", host=False))
    assert (done.exit.code, done.output) == (127, "ci-env: cannot execute sh: not found in the image\n")


@pytest.mark.parametrize("count", [3, 127])
def test_upper_layers_win(place: Place, image: Path, count: int) -> None:
    """F1: docker makes images of up to 127 layers."""
    layers = [image]
    for number in range(count):
        layer = place.layer()
        (layer / "root/top").write_text(f"{number}\n")
        (layer / f"root/own-{number}").touch()
        layers.append(layer)
    done = place.execute(place.sandbox("cat /top; ls -d /own-* | busybox wc -l", lowers=layers, host=False))
    assert done.lines() == [f"{count - 1}", f"{count}"]


def test_a_step_sees_what_the_one_before_has_written(place: Place, image: Path) -> None:
    first = place.execute(
        place.sandbox("echo new >/file; rm /bin/id; rm -r /etc; mkdir /etc", lowers=[image], host=False)
    )
    assert first.exit.code is not None
    second = place.execute(place.sandbox("cat /file; ls /bin/id", lowers=[image, first.layer], host=False))
    assert second.lines()[0] == "new"
    assert "No such file" in second.lines()[1]
    assert not (image / "root/file").exists()
    assert (image / "root/bin/id").is_symlink()


def test_deletions_are_whiteouts_and_new_directories_opaque(place: Place, image: Path) -> None:
    (image / "root/tree").mkdir()
    (image / "root/tree/below").touch()
    script = "rm /bin/id; rm -r /tree; mkdir /tree; touch /tree/fresh"
    layer = place.execute(place.sandbox(script, lowers=[image], host=False)).layer / "root"
    whiteout = (layer / "bin/id").lstat()
    assert (stat.S_ISCHR(whiteout.st_mode), whiteout.st_rdev) == (True, 0)
    assert os.getxattr(layer / "tree", "user.overlay.opaque") == b"y"
    assert [path.name for path in (layer / "tree").iterdir()] == ["fresh"]


def test_a_directory_of_a_lower_layer_is_moved_by_copying(place: Place) -> None:
    """overlayfs.rst, "renaming directories": a user namespace's overlay has no redirects."""
    layer = place.layer()
    (layer / "root/tree").mkdir()
    (layer / "root/tree/file").write_text("content\n")
    rename = "import os\ntry: os.rename('/tree', '/moved')\nexcept OSError as error: print(error.errno)"
    done = place.execute(place.sandbox(["python3", "-c", rename], lowers=[layer]))
    assert done.lines() == [str(errno.EXDEV)]
    done = place.execute(place.sandbox("mv /tree /moved && cat /moved/file && test ! -e /tree", lowers=[layer]))
    assert (done.exit.code, done.lines()) == (0, ["content"])


def test_files_are_owned_from_zero_on_disk(place: Place, image: Path) -> None:
    layer = place.execute(
        place.sandbox("touch /mine; touch /theirs; chown 7:8 /theirs", lowers=[image], host=False)
    ).layer
    mine, theirs = (layer / "root" / name for name in ("mine", "theirs"))
    assert mine.stat().st_uid == os.geteuid()
    expected = "7:8" if place.runner.is_owner_mapped() else "0:0"  # chown is emulated where there is one id
    if os.geteuid() == 0:
        assert owned(place, theirs, "%u:%g") == expected
    elif place.runner.is_owner_mapped():
        assert owned(place, theirs, "%u:%g") == expected
        assert theirs.stat().st_uid > 65536


def test_binds_are_kept_and_writable(place: Place, image: Path) -> None:
    cache = place.store / "caches/pip"
    cache.mkdir(parents=True)
    bind = Bind(cache, "/root/.cache/pip", writable=True)
    first = place.execute(place.sandbox("echo kept >/root/.cache/pip/file", lowers=[image], host=False, binds=[bind]))
    assert first.exit.code == 0, first.output
    assert (cache / "file").read_text() == "kept\n"
    assert (cache / "file").stat().st_uid == os.geteuid()
    assert not list((first.layer / "root/root/.cache/pip").iterdir())
    again = place.execute(place.sandbox("cat /root/.cache/pip/file", lowers=[image], host=False, binds=[bind]))
    assert again.output == "kept\n"


def test_binds_may_be_read_only(place: Place, image: Path) -> None:
    source = place.store / "caches/fixed"
    source.mkdir(parents=True)
    bind = Bind(source, "/fixed", writable=False)
    done = place.execute(place.sandbox("touch /fixed/file", lowers=[image], host=False, binds=[bind]))
    assert "Read-only file system" in done.output
    assert not list(source.iterdir())


def test_a_bind_through_a_link_stays_inside(place: Place, image: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (image / "root/way").symlink_to(f"../../../../../../..{outside}")
    (image / f"root{outside}").mkdir(parents=True)
    cache = place.store / "caches/1"
    cache.mkdir(parents=True)
    bind = Bind(cache, "/way/cache", writable=True)
    done = place.execute(place.sandbox("echo a >/way/cache/file", lowers=[image], host=False, binds=[bind]))
    assert (done.exit.code, (cache / "file").read_text()) == (0, "a\n")
    assert not list(outside.iterdir())


@pytest.mark.parametrize("target", ["/proc", "/proc/sys", "/dev", "/dev/null", "/sys/kernel"])
def test_no_bind_covers_what_the_kernel_shows(place: Place, image: Path, target: str) -> None:
    cache = place.store / "caches/1"
    cache.mkdir(parents=True)
    (cache / "planted").touch()
    script = f"ls {target} | busybox grep planted; cat /proc/self/status | busybox grep CapEff; echo a >/dev/null"
    sandbox = place.sandbox(script, lowers=[image], host=False, binds=[Bind(cache, target, writable=True)])
    done = place.execute(sandbox)
    mask = sum(1 << number for number in KEPT.values())
    assert done.output == f"CapEff:\t{mask:016x}\n"

"""Files copied from one stack of layers over another one, as docker's COPY and ADD do it."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ci_env import codec
from ci_env.errors import ConfigError
from ci_env.oci.order import NewFile, Order
from ci_env.oci.transfer import carry_out
from tests.layer_stack import Node, Stack
from tests.oci_builder import Item, compress, d, f, hard, link, tar, wh

EPOCH = 315532800
NS = 10**9
is_root = os.geteuid() == 0
ORIGIN = (
    d("app", mode=0o750, mtime=5),
    f("app/run", "run", mode=0o755),
    f("app/data.txt", "data", mode=0o640, uid=7, gid=8),
    f("app/notes.txt", "notes"),
    d("app/sub", mode=0o700, mtime=6),
    f("app/sub/deep", "deep"),
    link("app/sub/up", "../run"),
    link("current", "app/run"),
    link("dangling", "nowhere"),
    d("empty"),
    f("plain", "plain"),
)
ACCOUNTS = (
    d("etc"),
    f("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/:/bin/sh\n"),
    f("etc/group", "root:x:0:\nstaff:x:50:web\n"),
)
TARGET = (
    *ACCOUNTS,
    d("srv", mode=0o711, mtime=9),
    f("srv/old", "old"),
    d("srv/sub", mode=0o755),
    f("file", "file"),
    link("www", "srv"),
    link("absolute", "/srv"),
    link("outside", "../../../../tmp/elsewhere"),
)


class Copying:
    """Two stacks, and what a copy from one to the other gives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.origin = Stack(path / "origin", ORIGIN)
        self.target = Stack(path / "target", TARGET)
        self.warnings: tuple[str, ...] = ()

    def order(self, sources: Sequence[str], destination: str, **changes: object) -> Order:
        upper = self.path / "target" / f"layer{len(self.target.lowers)}"
        upper.mkdir()
        order = Order(
            origin=tuple(map(str, self.origin.lowers)),
            sources=tuple(sources),
            files=(),
            destination=destination,
            chown=None,
            chmod=None,
            is_unpacking=False,
            epoch=EPOCH,
            upper=str(upper),
            lowers=tuple(map(str, self.target.lowers)),
            squash_ids=not is_root,
        )
        return replace(order, **changes)  # type: ignore[arg-type]  # wrong ones fail in the test that has them

    def copy(self, source: str | Sequence[str], destination: str, **changes: object) -> dict[str, Node]:
        order = self.order([source] if isinstance(source, str) else source, destination, **changes)
        self.warnings = carry_out(order)
        self.target.lowers.append(Path(order.upper))
        return self.target.view()


@pytest.fixture
def copying(tmp_path: Path) -> Copying:
    return Copying(tmp_path)


def ids(uid: int, gid: int) -> tuple[int, int]:
    """Return what owners become where everything belongs to one user."""
    return (uid, gid) if is_root else (0, 0)


class TestDestination:
    def test_a_name(self, copying: Copying) -> None:
        view = copying.copy("app/run", "/srv/program")
        assert (view["srv/program"].content, view["srv/program"].mode) == ("run", 0o755)

    def test_an_existing_directory(self, copying: Copying) -> None:
        assert copying.copy("app/run", "/srv")["srv/run"].content == "run"

    def test_a_slash_makes_a_directory(self, copying: Copying) -> None:
        view = copying.copy("app/run", "/new/place/")
        assert view["new/place/run"].content == "run"
        assert (view["new"].mode, view["new"].mtime_ns) == (0o755, EPOCH * NS)

    def test_parents_are_made(self, copying: Copying) -> None:
        assert copying.copy("app/run", "/a/b/c")["a/b/c"].content == "run"

    def test_several_sources(self, copying: Copying) -> None:
        view = copying.copy(["app/run", "plain"], "/both/")
        assert (view["both/run"].content, view["both/plain"].content) == ("run", "plain")

    def test_the_root(self, copying: Copying) -> None:
        assert copying.copy("plain", "/")["plain"].content == "plain"

    @pytest.mark.parametrize("through", ["/www/x", "/absolute/x"])
    def test_through_a_symlink(self, copying: Copying, through: str) -> None:
        view = copying.copy("plain", through)
        assert view["srv/x"].content == "plain"
        assert view["www"].kind == view["absolute"].kind == "l"

    def test_a_symlink_that_leads_out_stays_inside(self, copying: Copying) -> None:
        assert copying.copy("plain", "/outside")["tmp/elsewhere"].content == "plain"

    def test_a_file_is_replaced(self, copying: Copying) -> None:
        view = copying.copy("plain", "/file")
        assert (view["file"].content, view["file"].links) == ("plain", 1)

    def test_later_sources_win(self, copying: Copying) -> None:
        copying.origin.add([d("other"), f("other/plain", "second")])
        assert copying.copy(["plain", "other/plain"], "/srv/")["srv/plain"].content == "second"

    def test_nothing_but_a_directory(self, copying: Copying) -> None:
        view = copying.copy([], "/work/dir", chown="web")
        assert (view["work/dir"].kind, view["work/dir"].mode) == ("d", 0o755)
        assert (view["work"].uid, view["work/dir"].gid) == (ids(33, 44))

    def test_a_directory_that_is_there_stays_as_it_is(self, copying: Copying) -> None:
        view = copying.copy([], "/srv", chown="1:1")
        assert (view["srv"].mode, view["srv"].uid, view["srv"].mtime_ns) == (0o711, 0, 9 * NS)

    @pytest.mark.parametrize("destination", ["/{}", "/new/{}/x", "/srv/{}/"])
    def test_a_name_that_no_file_can_have(self, copying: Copying, destination: str) -> None:
        with pytest.raises(ConfigError, match=r"longer than 255 bytes: /.*xxx"):
            copying.copy("plain", destination.format("x" * 256))

    def test_what_was_removed_below_is_made_anew(self, copying: Copying) -> None:
        copying.target.add([wh("srv")])
        view = copying.copy("plain", "/srv/")
        assert {name for name in view if name.startswith("srv")} == {"srv", "srv/plain"}


class TestDirectories:
    def test_content_is_copied_not_the_directory(self, copying: Copying) -> None:
        view = copying.copy("app", "/new")
        assert {name for name in view if name.startswith("new/")} == {
            "new/run",
            "new/data.txt",
            "new/notes.txt",
            "new/sub",
            "new/sub/deep",
            "new/sub/up",
        }
        assert (view["new"].mode, view["new"].mtime_ns) == (0o755, EPOCH * NS)

    def test_metadata(self, copying: Copying) -> None:
        view = copying.copy("app", "/new")
        sub, data = view["new/sub"], view["new/data.txt"]
        assert (sub.mode, sub.mtime_ns) == (0o700, 6 * NS)
        assert (data.mode, data.uid, data.gid, data.mtime_ns) == (0o640, *ids(7, 8), 10**18)
        assert (view["new/sub/up"].kind, view["new/sub/up"].content) == ("l", "../run")

    def test_merges_with_what_is_there(self, copying: Copying) -> None:
        view = copying.copy("app", "/srv")
        assert (view["srv/old"].content, view["srv/sub/deep"].content) == ("old", "deep")
        assert (view["srv"].mode, view["srv"].mtime_ns) == (0o711, 9 * NS)
        assert view["srv/sub"].mode == 0o700

    def test_the_root_of_the_origin(self, copying: Copying) -> None:
        view = copying.copy(".", "/all/")
        assert {"all/app/sub/deep", "all/empty", "all/dangling", "all/plain"} <= set(view)
        assert view["all/dangling"].content == "nowhere"

    def test_an_empty_one(self, copying: Copying) -> None:
        assert copying.copy("empty", "/made")["made"].kind == "d"

    def test_many_entries(self, copying: Copying) -> None:
        copying.origin.add([d("many"), *(d(f"many/{n}") for n in range(1200)), f("many/7/x")])
        assert len([name for name in copying.copy("many", "/many") if name.startswith("many/")]) == 1201

    def test_whiteouts_of_the_origin_count(self, copying: Copying) -> None:
        copying.origin.add([d("app"), wh("app/notes.txt")])
        assert "new/notes.txt" not in copying.copy("app", "/new")

    def test_hard_links_stay_links(self, copying: Copying) -> None:
        copying.origin.add([d("hard"), f("hard/one", "one"), hard("hard/two", "hard/one")])
        view = copying.copy("hard", "/hard")
        assert view["hard/one"].inode == view["hard/two"].inode
        assert view["hard/two"].content == "one"

    def test_fifo(self, copying: Copying) -> None:
        copying.origin.add([d("pipes"), Item(b"pipes/p", b"6")])
        assert copying.copy("pipes", "/pipes")["pipes/p"].kind == "p"

    def test_attributes_are_kept(self, copying: Copying) -> None:
        copying.origin.add([f("noted", "x", SCHILY__xattr__user__note="value")])
        assert copying.copy("noted", "/noted")["noted"].xattrs == {"user.note": "value"}


class TestSources:
    def test_wildcards(self, copying: Copying) -> None:
        view = copying.copy("app/*.txt", "/texts/")
        assert {name for name in view if name.startswith("texts/")} == {"texts/data.txt", "texts/notes.txt"}

    def test_wildcards_of_directories_copy_their_content(self, copying: Copying) -> None:
        assert copying.copy("a?p/s[t-v]b", "/x/")["x/deep"].content == "deep"

    def test_wildcards_may_match_nothing(self, copying: Copying) -> None:
        assert "x" not in copying.copy("*.none", "/x/")

    def test_a_symlink_by_name_is_followed(self, copying: Copying) -> None:
        view = copying.copy("current", "/srv/")
        assert (view["srv/current"].kind, view["srv/current"].content) == ("-", "run")

    def test_parents_do_not_lead_out(self, copying: Copying) -> None:
        assert copying.copy("../../plain", "/x")["x"].content == "plain"

    def test_an_escaped_letter(self, copying: Copying) -> None:
        copying.origin.add([f("a*b", "star"), f("acb", "c")])
        assert copying.copy(r"a\*b", "/x")["x"].content == "star"

    @pytest.mark.parametrize("source", ["absent", "plain/below", "dangling", "absent/*"])
    def test_absent(self, copying: Copying, source: str) -> None:
        with pytest.raises(ConfigError, match=r"to copy|not there"):
            copying.copy(source, "/x")

    def test_a_name_that_no_file_can_have(self, copying: Copying) -> None:
        with pytest.raises(ConfigError, match="to copy"):
            copying.copy("x" * 300, "/x")

    def test_an_empty_origin(self, copying: Copying) -> None:
        with pytest.raises(ConfigError, match="no 'plain' to copy"):
            copying.copy("plain", "/x", origin=())

    def test_a_malformed_pattern(self, copying: Copying) -> None:
        with pytest.raises(ConfigError, match="not a pattern"):
            copying.copy("app/[a", "/x")


class TestConflicts:
    def test_a_file_does_not_replace_a_directory(self, copying: Copying) -> None:
        copying.origin.add([f("sub", "file")])
        with pytest.raises(ConfigError, match=r"/srv/sub .* is a directory"):
            copying.copy("sub", "/srv/")

    def test_a_directory_does_not_replace_a_file(self, copying: Copying) -> None:
        with pytest.raises(ConfigError, match=r"/file .* is no directory"):
            copying.copy("app", "/file")

    def test_a_directory_below_does_not_replace_a_file(self, copying: Copying) -> None:
        copying.target.add([wh("srv/sub"), f("srv/sub", "file")])
        with pytest.raises(ConfigError, match=r"/srv/sub .* is no directory"):
            copying.copy("app", "/srv")

    def test_a_file_on_the_way(self, copying: Copying) -> None:
        with pytest.raises(ConfigError, match=r"/file .* is no directory"):
            copying.copy("plain", "/file/below/x")

    def test_a_link_to_a_directory_below_is_no_directory(self, copying: Copying) -> None:
        copying.target.add([wh("srv/sub"), link("srv/sub", "../etc")])
        with pytest.raises(ConfigError, match="is no directory"):
            copying.copy("app", "/srv")

    def test_a_link_is_replaced_by_a_file(self, copying: Copying) -> None:
        copying.target.add([link("srv/run", "old")])
        view = copying.copy("app", "/srv")
        assert (view["srv/run"].kind, view["srv/old"].content) == ("-", "old")


class TestOwners:
    @pytest.mark.parametrize(
        ("chown", "expected"),
        [
            ("web", (33, 44)),
            ("web:staff", (33, 50)),
            ("web:7", (33, 7)),
            ("9", (9, 9)),
            ("9:10", (9, 10)),
            ("0:staff", (0, 50)),
        ],
    )
    def test_chown(self, copying: Copying, chown: str, expected: tuple[int, int]) -> None:
        view = copying.copy("app", "/a/b", chown=chown)
        for name in ("a", "a/b", "a/b/run", "a/b/sub", "a/b/sub/up"):
            assert (view[name].uid, view[name].gid) == ids(*expected), name

    @pytest.mark.parametrize(("chown", "message"), [("nobody", "user 'nobody'"), ("web:crew", "group 'crew'")])
    def test_unknown_names(self, copying: Copying, chown: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            copying.copy("plain", "/x", chown=chown)

    def test_accounts_behind_a_link_that_leads_out(self, copying: Copying) -> None:
        copying.target.add([wh("etc/passwd"), link("etc/passwd", "../../../../usr/passwd")])
        with pytest.raises(ConfigError, match="no user"):
            copying.copy("plain", "/x", chown="daemon")

    def test_chmod(self, copying: Copying) -> None:
        view = copying.copy("app", "/new/x", chmod=0o4711)
        assert view["new/x/run"].mode == view["new/x/sub"].mode == view["new/x/sub/deep"].mode == 0o4711
        assert view["new"].mode == 0o755
        assert view["new/x/sub/up"].kind == "l"


class TestFilesOfTheOrder:
    def test_written(self, copying: Copying) -> None:
        view = copying.copy([], "/srv/", files=(NewFile("one", "1\n"), NewFile("two", "zwei ☃")))
        assert (view["srv/one"].content, view["srv/one"].mode, view["srv/one"].mtime_ns) == ("1\n", 0o644, EPOCH * NS)
        assert view["srv/two"].content.encode("latin-1").decode() == "zwei ☃"

    def test_by_name(self, copying: Copying) -> None:
        view = copying.copy([], "/etc/motd", files=(NewFile("EOF", "hello"),), chown="web", chmod=0o600)
        assert (view["etc/motd"].mode, view["etc/motd"].uid, view["etc/motd"].gid) == (0o600, *ids(33, 44))

    @pytest.mark.parametrize("name", ["../../../escaped", "/escaped", "a/b", "..", ".", ""])
    def test_a_name_that_is_a_path(self, copying: Copying, name: str) -> None:
        with pytest.raises(ConfigError, match="no name for a file"):
            copying.copy([], "/srv/", files=(NewFile(name, "x"),))
        assert not list(copying.path.rglob("*escaped*"))


ARCHIVE = tar([d("./"), d("t"), f("t/f", "packed", uid=3, gid=4), hard("t/h", "t/f"), f("srv/.wh.old", "kept")])


class TestArchives:
    @pytest.mark.parametrize("how", ["none", "gzip", "zstd", "bzip2", "xz"])
    def test_unpacked(self, copying: Copying, how: str) -> None:
        packed = {
            "none": lambda: ARCHIVE,
            "gzip": lambda: gzip.compress(ARCHIVE),
            "zstd": lambda: compress(ARCHIVE, "zstd"),
            "bzip2": lambda: bz2.compress(ARCHIVE),
            "xz": lambda: lzma.compress(ARCHIVE),
        }[how]()
        copying.origin.add([f("name.does.not.matter", packed)])
        view = copying.copy("name.does.not.matter", "/opt/x/", is_unpacking=True)
        assert (view["opt/x/t/f"].content, view["opt/x/t/f"].uid) == ("packed", ids(3, 4)[0])
        assert view["opt/x/t/f"].inode == view["opt/x/t/h"].inode
        assert view["opt/x/srv/.wh.old"].content == "kept"

    def test_owner(self, copying: Copying) -> None:
        copying.origin.add([f("a.tar", ARCHIVE)])
        view = copying.copy("a.tar", "/opt/x", is_unpacking=True, chown="web")
        assert (view["opt/x/t/f"].uid, view["opt/x/t/f"].gid) == ids(33, 44)

    def test_not_by_copy(self, copying: Copying) -> None:
        copying.origin.add([f("a.tar", ARCHIVE)])
        assert copying.copy("a.tar", "/opt/x")["opt/x"].kind == "-"

    @pytest.mark.parametrize(
        "content",
        [b"", b"text", gzip.compress(b"text"), bytes(1024), b"\x1f\x8bbroken"],
        ids=["empty", "text", "gzip", "zeros", "broken"],  # gzip's content holds the time
    )
    def test_what_is_no_archive_is_copied(self, copying: Copying, content: bytes) -> None:
        copying.origin.add([f("thing", content)])
        assert copying.copy("thing", "/opt/x", is_unpacking=True)["opt/x"].content == content.decode("latin-1")

    def test_names_that_lead_out_stay_below(self, copying: Copying) -> None:
        copying.origin.add([f("a.tar", tar([f("../../../up", "up"), f("/abs", "abs")]))])
        view = copying.copy("a.tar", "/opt/x", is_unpacking=True)
        assert (view["opt/x/up"].content, view["opt/x/abs"].content) == ("up", "abs")

    @pytest.mark.parametrize(
        "packed",
        [lzma.compress(ARCHIVE[:900]) + lzma.compress(ARCHIVE[900:]), lzma.compress(ARCHIVE) + bytes(8)],
        ids=["streams", "padding"],
    )
    def test_xz_in_several_parts(self, copying: Copying, packed: bytes) -> None:
        copying.origin.add([f("a", packed)])
        assert copying.copy("a", "/opt/x/", is_unpacking=True)["opt/x/t/f"].content == "packed"

    def test_xz_that_asks_for_much_memory(self, copying: Copying) -> None:
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**28}]
        copying.origin.add([f("a", lzma.compress(ARCHIVE, filters=filters))])
        with pytest.raises(ConfigError, match=r"cannot unpack /a: its xz content asks for more than 128 MiB"):
            copying.copy("a", "/opt/x/", is_unpacking=True)

    @pytest.mark.parametrize("cut", [slice(0, -9), slice(0, -40)])
    def test_xz_that_is_cut(self, copying: Copying, cut: slice) -> None:
        packed = lzma.compress(tar([f("big", bytes(range(256)) * 4096)]), preset=0)
        copying.origin.add([f("a", packed[cut])])
        with pytest.raises(ConfigError, match=r"cannot unpack /a: its xz content (ends early|is damaged)"):
            copying.copy("a", "/opt/x/", is_unpacking=True)

    def test_damaged(self, copying: Copying) -> None:
        copying.origin.add([f("a.tar", ARCHIVE[:1200])])
        with pytest.raises(ConfigError, match=r"cannot unpack /a\.tar"):
            copying.copy("a.tar", "/opt/x", is_unpacking=True)


class TestProgram:
    def run(self, order: Order) -> tuple[int, dict[str, object]]:
        argv = [sys.executable, "-I", "-m", "ci_env.oci.copy"]
        done = subprocess.run(argv, input=codec.dumps(order), capture_output=True, check=False, timeout=60)
        assert done.stderr == b""
        return done.returncode, json.load(io.BytesIO(done.stdout))

    def test_answer(self, copying: Copying) -> None:
        order = copying.order(["plain"], "/x", files=(NewFile("ünï", "ü"),))
        status, answer = self.run(replace(order, destination="/x/"))
        assert (status, answer) == (0, {"warnings": []})
        assert Path(order.upper, "x", "plain").read_text() == "plain"

    def test_a_mistake(self, copying: Copying) -> None:
        status, answer = self.run(copying.order(["absent"], "/x"))
        assert status == 1
        assert answer["error"] == {"kind": "config", "message": "there is no 'absent' to copy", "hint": None}

    def test_trouble_with_this_machine(self, copying: Copying) -> None:
        status, answer = self.run(replace(copying.order(["plain"], "/x"), upper="/nowhere"))
        assert status == 1
        assert "No such file" in str(answer["error"])
        assert '"host"' in json.dumps(answer)

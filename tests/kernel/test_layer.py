"""Layers in overlayfs's format: each case's merged view, through a real overlay mount. Ids: docs/images.md."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ci_env.errors import CiEnvError, ConfigError
from tests.layer_stack import Stack
from tests.oci_builder import Item, d, f, hard, header, link, opaque, tar, wh

BASE = (
    d("a"),
    f("a/f", "lower"),
    f("a/g"),
    f("x", "x"),
    d("tmp", mode=0o1777),
    d("usr"),
    d("usr/lib"),
    link("lib", "usr/lib"),
)
BASE_NAMES = {"a", "a/f", "a/g", "x", "tmp", "usr", "usr/lib", "lib"}
NS = 10**9
is_root = os.geteuid() == 0


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """The base layer, ready for one on top; beside it a victim that nothing may touch."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "kept").write_text("kept")
    return Stack(tmp_path, BASE)


@pytest.fixture(autouse=True)
def _victim_is_unchanged(tmp_path: Path) -> object:
    yield
    victim = tmp_path / "victim"
    if victim.exists():
        assert [path.name for path in victim.iterdir()] == ["kept"]
        assert (victim / "kept").read_text() == "kept"


class TestWhiteouts:
    def test_w1_a_whiteout_hides_lower_layers_only(self, stack: Stack) -> None:
        assert stack.add([f("a/f", "upper"), wh("a/f")]).view()["a/f"].content == "upper"

    def test_w1_in_reverse_order(self, stack: Stack) -> None:
        assert stack.add([wh("a/f"), f("a/f", "upper")]).view()["a/f"].content == "upper"
        assert stack.applied is not None
        assert stack.applied.warnings == ()

    @pytest.mark.parametrize("order", [1, -1])
    def test_w2_w3_opaque_keeps_what_the_layer_itself_has(self, stack: Stack, order: int) -> None:
        names = stack.add([f("a/new"), opaque("a")][::order]).names()
        assert {name for name in names if name.startswith("a/")} == {"a/new"}

    def test_w4_opaque_without_an_entry_keeps_the_directory(self, stack: Stack) -> None:
        stack = Stack(stack.lowers[0].parent / "other", [d("a", mode=0o750, mtime=7), f("a/f")], [opaque("a")])
        view = stack.view()
        assert set(view) == {".", "a"}
        assert (view["a"].mode, view["a"].mtime_ns) == (0o750, 7 * NS)

    def test_w5_opaque_of_an_absent_directory_is_nothing(self, stack: Stack) -> None:
        assert stack.add([opaque("absent")]).names() == BASE_NAMES

    def test_opaque_root(self, stack: Stack) -> None:
        assert stack.add([f("a/new"), opaque("")]).names() == {"a", "a/new"}

    @pytest.mark.parametrize("name", [".wh...", "a/.wh...", ".wh..", "a/.wh..", "a/.wh."])
    def test_w6_invalid_names(self, stack: Stack, name: str) -> None:
        with pytest.raises(ConfigError, match="invalid whiteout"):
            stack.add([f(name)])

    def test_w7_whiteouts_of_what_is_absent_show_nothing(self, stack: Stack) -> None:
        stack.add([wh("absent"), wh("no/such/parent"), wh("x/below-a-file")])
        assert stack.names() == BASE_NAMES
        assert os.listdir(stack.lowers[-1]) == []

    def test_w8_of_a_symlink(self, stack: Stack) -> None:
        assert stack.add([wh("lib")]).names() == BASE_NAMES - {"lib"}

    def test_w9_through_a_symlink(self, tmp_path: Path) -> None:
        stack = Stack(tmp_path, [*BASE, f("usr/lib/z")], [wh("lib/z")])
        assert stack.names() == BASE_NAMES
        assert stack.view()["lib"].kind == "l"

    def test_w10_aufs_bookkeeping_is_ignored(self, stack: Stack) -> None:
        assert stack.add([d(".wh..wh.plnk"), f(".wh..wh.plnk/1.2"), f(".wh..wh.aufs")]).names() == BASE_NAMES

    def test_w11_a_whiteout_is_no_directory(self, stack: Stack) -> None:
        with pytest.raises(ConfigError, match="below a whiteout"):
            stack.add([f(".wh.d/child")])

    @pytest.mark.parametrize("kind", [b"0", b"5", b"2", b"1"])
    def test_w12_whatever_its_type_and_content(self, stack: Stack, kind: bytes) -> None:
        content = b"body" if kind == b"0" else b""
        stack.add([Item(b"a/.wh.f", kind, content, link=b"absent"), f("after", "after")])
        assert stack.names() == BASE_NAMES - {"a/f"} | {"after"}

    def test_w13_a_device_that_would_be_a_whiteout(self, stack: Stack) -> None:
        with pytest.raises(ConfigError, match="device 0:0"):
            stack.add([Item(b"a", b"3", device=(0, 0))])

    def test_w14_over_three_layers(self, tmp_path: Path) -> None:
        assert Stack(tmp_path, [d("d"), f("d/x")], [wh("d")], [f("d/y")]).names() == {"d", "d/y"}

    @pytest.mark.parametrize(
        "items",
        [
            [wh("d"), d("d"), f("d/y")],
            [d("d"), f("d/y"), wh("d")],
            [d("d"), wh("d"), f("d/y")],
            [wh("d"), f("d/y")],
            [f("d/y"), wh("d")],
            [wh("d/x"), d("d"), f("d/y"), wh("d")],
            [wh("d/sub/z"), f("d/y"), wh("d")],
        ],
    )
    def test_w15_whiteout_and_same_layer_directory(self, tmp_path: Path, items: list[Item]) -> None:
        stack = Stack(tmp_path, [d("d"), f("d/x"), d("d/sub"), f("d/sub/z"), f("d/sub/w")], items)
        assert stack.names() == {"d", "d/y"}

    @pytest.mark.parametrize("items", [[wh("a/f"), wh("a")], [hard("new", "a/f"), wh("a/f"), wh("a")]])
    def test_nothing_borrowed_survives_a_whiteout(self, stack: Stack, items: list[Item]) -> None:
        new = {"new"} & {item.path.decode() for item in items}
        assert stack.add(items).names() == BASE_NAMES - {"a", "a/f", "a/g"} | new


class TestReplacement:
    def test_r1_directory_to_file(self, stack: Stack) -> None:
        assert stack.add([f("a", "file")]).names() == BASE_NAMES - {"a/f", "a/g"}
        assert stack.view()["a"].content == "file"

    def test_r2_file_to_directory(self, stack: Stack) -> None:
        assert stack.add([d("x"), f("x/y")]).names() == BASE_NAMES | {"x/y"}

    def test_r3_directory_over_symlink(self, tmp_path: Path) -> None:
        stack = Stack(tmp_path, [*BASE, f("usr/lib/z")], [d("lib"), f("lib/new")])
        assert stack.names() == BASE_NAMES | {"usr/lib/z", "lib/new"}

    def test_r4_implied_parent_through_a_symlink(self, stack: Stack) -> None:
        view = stack.add([f("lib/z", "z")]).view()
        assert (view["lib"].kind, view["usr/lib/z"].content) == ("l", "z")

    def test_r5_file_as_parent_becomes_a_directory(self, stack: Stack) -> None:
        view = stack.add([f("x/under")]).view()
        assert (view["x"].kind, view["x"].mode) == ("d", 0o755)
        assert "x/under" in view

    def test_r6_implied_parent_keeps_its_metadata(self, tmp_path: Path) -> None:
        owner = 7 if is_root else 0
        tmp = d("tmp", mode=0o1777, uid=owner, gid=owner, mtime=5, SCHILY__xattr__user__note="kept")
        parent = Stack(tmp_path, [tmp], [f("tmp/k")]).view()["tmp"]
        assert (parent.mode, parent.mtime_ns, parent.xattrs) == (0o1777, 5 * NS, {"user.note": "kept"})
        if is_root:
            assert (parent.uid, parent.gid) == (7, 7)

    def test_r7_parents_that_nobody_has(self, stack: Stack) -> None:
        view = stack.add([f("one/two/file")]).view()
        for name in ("one", "one/two"):
            assert (view[name].mode, view[name].uid, view[name].gid, view[name].mtime_ns) == (0o755, 0, 0, 0)

    def test_r8_the_last_of_duplicates_wins_with_a_warning(self, stack: Stack) -> None:
        assert stack.add([f("dup", "1"), f("dup", "2")]).view()["dup"].content == "2"
        assert stack.applied is not None
        assert stack.applied.warnings == ("/dup is in the layer more than once; the last one counts",)

    def test_r9_earlier_links_keep_the_replaced_content(self, stack: Stack) -> None:
        view = stack.add([f("dup", "1"), hard("link", "dup"), f("dup", "2")]).view()
        assert (view["link"].content, view["dup"].content) == ("1", "2")

    def test_r10_a_directory_twice(self, stack: Stack) -> None:
        view = stack.add([d("n", mode=0o700), f("n/1"), d("n", mode=0o711, mtime=9), f("n/2")]).view()
        assert (view["n"].mode, view["n"].mtime_ns) == (0o711, 9 * NS)
        assert {"n/1", "n/2"} <= set(view)

    def test_r11_metadata_of_a_listed_directory_is_replaced(self, tmp_path: Path) -> None:
        stack = Stack(tmp_path, [d("n", SCHILY__xattr__user__old="1"), f("n/1")], [d("n", mode=0o700)])
        view = stack.view()
        assert (view["n"].mode, view["n"].xattrs) == (0o700, {})
        assert "n/1" in view
        same_layer = Stack(tmp_path / "two", [d("n", SCHILY__xattr__user__old="1"), d("n")])
        assert same_layer.view()["n"].xattrs == {}

    def test_r12_an_older_time_is_exact_after_children_are_written(self, stack: Stack) -> None:
        assert stack.add([d("a", mtime=1), f("a/later")]).view()["a"].mtime_ns == 1 * NS

    @pytest.mark.parametrize("name", ["./n/f", "/n/f", "n//f", "n/./f", "../n/f", "n/../../n/f", "../../n/x/../f"])
    def test_r13_names_are_cleaned_and_stay_inside(self, stack: Stack, name: str) -> None:
        assert stack.add([f(name)]).names() == BASE_NAMES | {"n", "n/f"}

    def test_r13_root_entry(self, stack: Stack) -> None:
        root = stack.add([Item(b"./", b"5", mode=0o711, mtime=3)]).view()["."]
        assert (root.mode, root.mtime_ns) == (0o711, 3 * NS)

    def test_root_without_an_entry_is_as_below(self, tmp_path: Path) -> None:
        stack = Stack(tmp_path, [Item(b"./", b"5", mode=0o711, mtime=3)], [f("new")])
        assert (stack.view()["."].mode, stack.view()["."].mtime_ns) == (0o711, 3 * NS)

    def test_old_ustar_directory(self, stack: Stack) -> None:
        assert stack.add([Item(b"old/", b"\0", mode=0o755)]).view()["old"].kind == "d"

    def test_h9_the_same_layer_over_two_bases(self, tmp_path: Path) -> None:
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        merged = Stack(tmp_path / "one", BASE, [f("lib/z")]).names()
        separate = Stack(tmp_path / "two", [d("lib"), d("usr"), d("usr/lib")], [f("lib/z")]).names()
        assert ("usr/lib/z" in merged, "usr/lib/z" in separate) == (True, False)

    def test_file_then_directory_of_the_same_layer_hides_the_lower_one(self, stack: Stack) -> None:
        names = stack.add([f("a"), d("a"), f("a/new")]).names()
        assert {name for name in names if name.startswith("a/")} == {"a/new"}


class TestEscapes:
    """Every attempt stays inside or is an error; the fixture checks the victim."""

    @pytest.mark.parametrize("target", ["{victim}", "../" * 12 + "{victim}", "/../..{victim}"])
    def test_s1_s2_through_a_symlink(self, stack: Stack, tmp_path: Path, target: str) -> None:
        victim = tmp_path / "victim"
        inside = str(victim).removeprefix("/") + "/pwn"
        assert inside in stack.add([link("way", target.format(victim=victim)), f("way/pwn")]).names()

    @pytest.mark.parametrize("kind", [b"2", b"0", b"1", b"3"])
    def test_s3_root_that_is_no_directory(self, stack: Stack, tmp_path: Path, kind: bytes) -> None:
        with pytest.raises(ConfigError):
            stack.add([Item(b"./", kind, link=str(tmp_path / "victim").encode()), f("pwn")])

    def test_s5_a_file_replaces_a_symlink(self, stack: Stack, tmp_path: Path) -> None:
        view = stack.add([link("way", str(tmp_path / "victim/kept")), f("way", "file")]).view()
        assert (view["way"].kind, view["way"].content) == ("-", "file")

    def test_s6_whiteouts_through_a_symlink(self, stack: Stack, tmp_path: Path) -> None:
        stack.add([link("way", str(tmp_path / "victim")), wh("way/kept"), opaque("way")])
        assert stack.names() == BASE_NAMES | {"way"}

    @pytest.mark.parametrize("target", ["b", "b/x", "missing/../a", "./a"])
    def test_s7_loops(self, stack: Stack, target: str) -> None:
        before = time.monotonic()
        with pytest.raises(ConfigError, match="too many symlinks"):
            stack.add([wh("a"), link("b", "l"), link("l", target.replace("a", "l")), f("l/x")])
        assert time.monotonic() - before < 1

    def test_s8_long_chains(self, stack: Stack) -> None:
        chain = [link(f"c{number}", f"c{number + 1}") for number in range(250)]
        view = stack.add([*chain, d("c250"), f("c0/end", "end")]).view()
        assert view["c250/end"].content == "end"

    def test_s8_a_path_longer_than_the_kernel_takes(self, stack: Stack) -> None:
        part = "/".join(["p" * 200] * 16)
        up = link("way", part)
        stack.add([d(part), up, d("way/" + part), link(part + "/out", "../" * 40 + "etc"), f("way/out/f", "in")])
        assert (stack.lowers[-1] / "etc" / "f").read_text() == "in"

    @pytest.mark.parametrize("target", ["/proc/self/root", "/proc/self/cwd"])
    def test_s9_magic_links(self, stack: Stack, target: str) -> None:
        assert target[1:] + "/etc/x" in stack.add([link("p", target), f("p/etc/x")]).names()

    def test_s10_symlink_targets(self, stack: Stack) -> None:
        longest = "t" * 4095
        assert stack.add([link("long", longest)]).lowers
        assert os.readlink(stack.lowers[-1] / "long") == longest

    @pytest.mark.parametrize("target", [b"t" * 4096, b"a\0b"])
    def test_s10_impossible_symlink_targets(self, stack: Stack, target: bytes) -> None:
        with pytest.raises(ConfigError, match=r"longer than|NUL"):
            stack.add([Item(b"l", b"2", pax={b"linkpath": target})])

    def test_dangling_target_with_dots_keeps_other_links(self, stack: Stack) -> None:
        view = stack.add([link("way", "missing/../lib"), f("way/z", "z")]).view()
        assert (view["lib"].kind, view["usr/lib/z"].content) == ("l", "z")

    def test_absurd_depth(self, stack: Stack) -> None:
        with pytest.raises(ConfigError, match="nested more than"):
            stack.add([d("/".join(["d"] * 600))])


class TestHardlinks:
    def test_h1_to_a_lower_file(self, stack: Stack) -> None:
        view = stack.add([hard("new", "a/f")]).view()
        assert (view["new"].content, view["new"].links, view["new"].inode) == ("lower", 2, view["a/f"].inode)
        assert view["a"].mtime_ns == 1_000_000_000 * NS

    def test_h1_target_through_a_symlink(self, tmp_path: Path) -> None:
        stack = Stack(tmp_path, [*BASE, f("usr/lib/z", "z", mode=0o4755)], [hard("new", "lib/z")])
        assert (stack.view()["new"].content, stack.view()["new"].mode) == ("z", 0o4755)

    def test_h2_before_its_target(self, stack: Stack) -> None:
        with pytest.raises(ConfigError, match="does not exist"):
            stack.add([hard("new", "later"), f("later")])

    def test_h3_a_target_outside_is_clamped(self, stack: Stack, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="does not exist"):
            stack.add([hard("new", "../" * 12 + str(tmp_path / "victim/kept"))])

    def test_h4_to_a_symlink(self, stack: Stack, tmp_path: Path) -> None:
        kept = tmp_path / "victim" / "kept"
        view = stack.add([link("way", str(kept)), hard("new", "way", mode=0o7777), hard("lower", "lib")]).view()
        assert (view["new"].kind, view["new"].content, view["new"].links) == ("l", str(kept), 2)
        assert (view["lower"].kind, view["lower"].content) == ("l", "usr/lib")

    @pytest.mark.parametrize("target", ["a", "/", "."])
    def test_h5_to_a_directory(self, stack: Stack, target: str) -> None:
        with pytest.raises(ConfigError, match="is a directory"):
            stack.add([hard("new", target)])

    def test_h6_to_itself(self, stack: Stack) -> None:
        with pytest.raises(ConfigError, match="itself"):
            stack.add([hard("x", "x")])

    def test_h7_its_target_may_go(self, stack: Stack) -> None:
        view = stack.add([hard("new", "a/f"), wh("a/f"), hard("other", "x"), f("x", "replaced")]).view()
        assert "a/f" not in view
        assert (view["new"].content, view["other"].content, view["x"].content) == ("lower", "x", "replaced")

    def test_its_target_may_not_be_hidden_by_it(self, stack: Stack) -> None:
        with pytest.raises(ConfigError, match="hard link"):
            stack.add([d("n"), f("n/file"), hard("n", "n/file")])

    @pytest.mark.parametrize("kind", [b"1", b"2", b"5", b"6", b"4"])
    def test_h8_a_size_without_content_is_ignored(self, stack: Stack, kind: bytes) -> None:
        odd = header(Item(b"odd", kind, link=b"x", size=512, device=(8, 0)))
        assert stack.add_tar(odd + tar([f("after", "after")])).view()["after"].content == "after"


class TestMetadata:
    @pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1777, 0o6711, 0o000])
    def test_m1_special_bits(self, stack: Stack, mode: int) -> None:
        view = stack.add([f("file", mode=mode), d("dir", mode=mode), f("dir/child")]).view()
        assert (view["file"].mode, view["dir"].mode) == (mode, mode)

    @pytest.mark.parametrize("mtime", [-1, 0, 1, 2**33])
    def test_m3_times(self, stack: Stack, mtime: int) -> None:
        assert stack.add([Item(b"t", b"0", mtime=mtime)]).view()["t"].mtime_ns == mtime * NS

    def test_m3_fractions_are_exact(self, stack: Stack) -> None:
        view = stack.add([f("t", mtime="1.000000001"), f("n", mtime="-1.5"), f("far", mtime="9" * 20)]).view()
        assert (view["t"].mtime_ns, view["n"].mtime_ns) == (NS + 1, -1_500_000_000)
        with pytest.raises(ConfigError, match="not a time"):
            stack.add([f("t", mtime="+1e9")])

    @pytest.mark.parametrize("uid", [-1, 2**32 - 1, 2**32, 2**40])
    def test_m4_impossible_owners(self, stack: Stack, uid: int) -> None:
        with pytest.raises(ConfigError, match="which no file can have"):
            stack.add([f("o", uid=uid)])

    def test_m4_owners_beyond_a_rootfs(self, stack: Stack) -> None:
        with pytest.raises(ConfigError, match="0 to 65535"):
            stack.add_tar(tar([f("o", uid=65536)]), squash_ids=False)

    def test_m5_pax_owner_counts(self, stack: Stack) -> None:
        pax = {b"uid": b"3", b"uname": b"nobody"}
        node = stack.add([Item(b"o", b"0", uid=1, gid=2, pax=pax)]).view()["o"]
        assert (node.uid, node.gid) == ((3, 2) if is_root else (0, 0))

    def test_m7_umask_has_no_effect(self, stack: Stack) -> None:
        before = os.umask(0o077)
        try:
            view = stack.add([f("u", mode=0o666), d("v", mode=0o777), Item(b"p", b"6", mode=0o666)]).view()
        finally:
            os.umask(before)
        assert [view[name].mode for name in "uvp"] == [0o666, 0o777, 0o666]

    def test_x1_binary_values(self, stack: Stack) -> None:
        value = b"\0\n\xff=\n12 x=y\n"
        stack.add([Item(b"attr", b"0", pax={b"SCHILY.xattr.user.foo": value})])
        assert stack.view()["attr"].xattrs == {"user.foo": value.decode("latin-1")}

    @pytest.mark.parametrize("name", ["opaque", "whiteout", "metacopy", "redirect", "origin"])
    def test_x2_the_overlays_own_attributes_have_no_effect(self, stack: Stack, name: str) -> None:
        pax = {b"SCHILY.xattr.user.overlay." + name.encode(): b"y", b"SCHILY.xattr.trusted.overlay.opaque": b"y"}
        stack.add([Item(b"a/", b"5", mode=0o755, pax=pax), Item(b"x", b"0", b"new", pax=pax)])
        assert stack.names() == BASE_NAMES
        assert stack.view()["x"].content == "new"
        assert stack.applied is not None
        assert f"user.overlay.{name} is left out" in stack.applied.warnings[0]

    @pytest.mark.parametrize("name", ["security.selinux", "system.nfs4_acl", "security.ima", "security.evm"])
    def test_x4_attributes_of_the_building_machine(self, stack: Stack, name: str) -> None:
        stack.add([Item(b"attr", b"0", pax={b"SCHILY.xattr." + name.encode(): b"1"})])
        assert name not in os.listxattr(stack.lowers[-1] / "attr")

    def test_x7_unknown_records_are_ignored(self, stack: Stack) -> None:
        pax = {b"LIBARCHIVE.xattr.user.x": b"1", b"RHT.security.selinux": b"1", b"VENDOR.thing": b"1"}
        assert stack.add([Item(b"attr", b"0", pax=pax)]).view()["attr"].xattrs == {}

    @pytest.mark.parametrize("kind", [b"3", b"4"])
    def test_n1_devices_become_empty_files(self, stack: Stack, kind: bytes) -> None:
        node = stack.add([Item(b"dev/null", kind, device=(1, 3), mode=0o666)]).view()["dev/null"]
        assert (node.kind, node.mode) == ("-", 0)
        assert stack.applied is not None
        assert "device nodes" in stack.applied.warnings[0]

    def test_n2_fifo(self, stack: Stack) -> None:
        node = stack.add([Item(b"pipe", b"6", mode=0o622)]).view()["pipe"]
        assert (node.kind, node.mode) == ("p", 0o622)

    def test_p3_long_names(self, stack: Stack) -> None:
        name = "/".join(["n" * 255] * 15)
        assert name in stack.add([f(name)]).names()
        with pytest.raises(ConfigError, match="longer than 255"):
            stack.add([f("n" * 256)])

    def test_p4_names_are_bytes(self, stack: Stack) -> None:
        stack.add([Item(b"\xff\xfe", b"0"), Item(b"\xc3", b"2", link=b"\xe4")])
        assert set(os.listdir(os.fsencode(stack.lowers[-1]))) == {b"\xff\xfe", b"\xc3"}

    def test_p6_names_are_escaped_in_messages(self, stack: Stack) -> None:
        with pytest.raises(CiEnvError) as caught:
            stack.add([hard("new\n\x1b[31m", "gone\x07")])
        assert "\n" not in str(caught.value)
        assert "\x1b" not in str(caught.value)

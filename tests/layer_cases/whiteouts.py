"""Whiteouts and opaque marks."""

from __future__ import annotations

from tests.layer_cases.case import BASE, Case, base, fails, shows
from tests.oci_builder import Item, d, f, hard, link, opaque, wh

_DIRECTORY = (d("d"), f("d/x"), d("d/sub"), f("d/sub/z"), f("d/sub/w"))

_NESTED = (d("a"), d("a/b", mode=0o700, mtime=7), f("a/b/old"))
_BOTH_ORDERS = (
    (wh("d"), d("d"), f("d/y")),
    (d("d"), f("d/y"), wh("d")),
    (d("d"), wh("d"), f("d/y")),
    (wh("d/x"), d("d"), f("d/y"), wh("d")),
)
_WITHOUT_AN_ENTRY = ((wh("d"), f("d/y")), (wh("d/sub/z"), wh("d"), f("d/y")))

WHITEOUTS = (
    Case(
        "W1",
        "a whiteout and a file of one name in one layer, in either order",
        "the layer's own file stays, and no warning",
        (
            shows(BASE, (f("a/f", "upper"), wh("a/f")), tree=base(f("a/f", "upper"))),
            shows(BASE, (wh("a/f"), f("a/f", "upper")), tree=base(f("a/f", "upper"))),
        ),
    ),
    Case(
        "W2",
        "an opaque mark after a file of its layer in that directory",
        "the directory holds only that file; a parent of it that the layer does not list stays as it was below",
        (
            shows(BASE, (f("a/new"), opaque("a")), tree=base(f("a/new"), without=["a/f", "a/g"])),
            shows(_NESTED, (f("a/b/new"), opaque("a")), tree=(d("a"), d("a/b", mode=0o700, mtime=7), f("a/b/new"))),
        ),
    ),
    Case(
        "W3",
        "an opaque mark before such a file",
        "the same, but such a parent is a new directory (umoci, too, tells the two orders apart)",
        (
            shows(BASE, (opaque("a"), f("a/new")), tree=base(f("a/new"), without=["a/f", "a/g"])),
            shows(_NESTED, (opaque("a"), f("a/b/new")), tree=(d("a"), d("a/b", mtime=0), f("a/b/new"))),
        ),
    ),
    Case(
        "W4",
        "an opaque mark without an entry for its directory; one for the root",
        "an empty directory with the mode and time it had below; only what the layer itself has",
        (
            shows((d("a", mode=0o750, mtime=7), f("a/f")), (opaque("a"),), tree=(d("a", mode=0o750, mtime=7),)),
            shows(BASE, (f("a/new"), opaque("")), tree=(d("a"), f("a/new"))),
        ),
    ),
    Case(
        "W5",
        "an opaque mark for a directory that is not there",
        "nothing is visible (umoci does so; skopeo makes an empty directory)",
        (shows(BASE, (opaque("absent"),), tree=BASE),),
    ),
    Case(
        "W6",
        "`.wh...`, `a/.wh...`, `.wh..`, `a/.wh..`, `a/.wh.`",
        "error: invalid whiteout",
        tuple(
            fails(BASE, (f(path),), message="invalid whiteout")
            for path in (".wh...", "a/.wh...", ".wh..", "a/.wh..", "a/.wh.")
        ),
    ),
    Case(
        "W7",
        "a whiteout of what is absent, below what is absent, below a file",
        "nothing is visible, not in a directory that only this layer has either",
        (
            shows(BASE, (wh("absent"), wh("no/such/parent"), wh("x/below-a-file")), tree=BASE),
            shows(BASE, (d("own"), wh("own/absent"), wh("own/no/parent")), tree=base(d("own"))),
        ),
    ),
    Case(
        "W8",
        "a whiteout of a symlink",
        "the link goes, what it leads to stays",
        (shows(BASE, (wh("lib"),), tree=base(without=["lib"])),),
    ),
    Case(
        "W9",
        "a whiteout through a symlink",
        "the file that the link leads to goes, the link stays",
        (shows((*BASE, f("usr/lib/z")), (wh("lib/z"),), tree=BASE),),
    ),
    Case(
        "W10",
        "`.wh..wh.plnk/`, `.wh..wh.aufs`",
        "ignored",
        (shows(BASE, (d(".wh..wh.plnk"), f(".wh..wh.plnk/1.2"), f(".wh..wh.aufs")), tree=BASE),),
    ),
    Case(
        "W11",
        "a file below `.wh.d`",
        "error (containerd makes a directory `.wh.d`)",
        (fails(BASE, (f(".wh.d/child"),), message="below a whiteout"),),
    ),
    Case(
        "W12",
        "a whiteout with content; one that is a directory, a symlink or a hard link",
        "a whiteout",
        tuple(
            shows(
                BASE,
                (Item(b"a/.wh.f", kind, b"body" if kind == b"0" else b"", link=b"absent"), f("after", "after")),
                tree=base(f("after", "after"), without=["a/f"]),
            )
            for kind in (b"0", b"5", b"2", b"1")
        ),
    ),
    Case(
        "W13",
        "a character device 0:0, which overlayfs takes for a whiteout",
        "error (umoci and skopeo make it, and the file is hidden)",
        (fails(BASE, (Item(b"a", b"3", device=(0, 0)),), message="device 0:0"),),
    ),
    Case(
        "W14",
        "a directory, its whiteout, and the directory again, in three layers",
        "it holds only what the third has",
        (shows((d("d"), f("d/x")), (wh("d"),), (f("d/y"),), tree=(d("d", mtime=0), f("d/y"))),),
    ),
    Case(
        "W15",
        "a directory's whiteout and its entry in one layer, in any order; and whiteouts below it",
        "it holds only what the layer lists; of lower layers nothing stays, not even as the target of a hard link",
        (
            *(shows(_DIRECTORY, layer, tree=(d("d"), f("d/y"))) for layer in _BOTH_ORDERS),
            *(shows(_DIRECTORY, layer, tree=(d("d", mtime=0), f("d/y"))) for layer in _WITHOUT_AN_ENTRY),
            shows(BASE, (wh("a/f"), wh("a")), tree=base(without=["a"])),
            shows(BASE, (hard("new", "a/f"), wh("a/f"), wh("a")), tree=base(f("new", "lower"), without=["a"])),
        ),
    ),
    Case(
        "W16",
        "an image of four layers",
        "layers are unpacked one after another, each over those below it; a parallel unpacker must give the same",
        (
            shows(
                BASE,
                (wh("a/g"), f("lib/one", "1"), link("way", "a")),
                (f("way/two", "2"), wh("x"), opaque("usr")),
                (hard("three", "a/two"), d("usr/lib", mode=0o700), wh("way")),
                tree=base(
                    hard("three", "a/two"),
                    f("a/two", "2"),
                    d("usr/lib", mode=0o700),
                    without=["a/g", "x"],
                ),
            ),
        ),
    ),
)

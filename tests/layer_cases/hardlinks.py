"""Hard links, also to what lower layers have, and sizes that say nothing."""

from __future__ import annotations

from tests.layer_cases.case import BASE, VICTIM, Case, base, fails, shows
from tests.oci_builder import Item, d, f, hard, link, wh

_ODD = {b"1": hard("odd", "x"), b"2": link("odd", "x"), b"5": d("odd"), b"6": Item(b"odd", b"6")}
_SUID = f("usr/lib/z", "z", mode=0o4755)

HARDLINKS = (
    Case(
        "H1",
        "a hard link to a lower layer's file; through a symlink",
        "both names are one file: a copy of the lower one, in this layer",
        (
            shows(BASE, (hard("new", "a/f"),), tree=base(hard("new", "a/f"))),
            shows((*BASE, _SUID), (hard("new", "lib/z"),), tree=base(_SUID, hard("new", "usr/lib/z"))),
        ),
    ),
    Case(
        "H2",
        "a hard link before its target",
        "error",
        (fails(BASE, (hard("new", "later"), f("later")), message="does not exist"),),
    ),
    Case(
        "H3",
        "a hard link to a file outside",
        "looked for inside the root; error where it is missing",
        (fails(BASE, (hard("new", "../" * 12 + VICTIM + "/kept"),), message="does not exist"),),
    ),
    Case(
        "H4",
        "a hard link to a symlink, of this layer or a lower one",
        "a link to the symlink itself; the entry's mode is ignored",
        (
            shows(
                BASE,
                (link("way", VICTIM + "/kept"), hard("new", "way", mode=0o7777), hard("lower", "lib")),
                tree=base(link("way", VICTIM + "/kept"), hard("new", "way"), hard("lower", "lib")),
            ),
        ),
    ),
    Case(
        "H5",
        "a hard link to a directory",
        "error",
        tuple(fails(BASE, (hard("new", target),), message="is a directory") for target in ("a", "/", ".")),
    ),
    Case(
        "H6",
        "a hard link to itself, or to what is below it",
        "error",
        (
            fails(BASE, (hard("x", "x"),), message="itself"),
            fails(BASE, (d("n"), f("n/file"), hard("n", "n/file")), message="hard link"),
        ),
    ),
    Case(
        "H7",
        "a hard link whose target is hidden or replaced later in its layer",
        "the link keeps the content",
        (
            shows(
                BASE,
                (hard("new", "a/f"), wh("a/f"), hard("other", "x"), f("x", "replaced")),
                tree=base(f("new", "lower"), f("other", "x"), f("x", "replaced"), without=["a/f"]),
            ),
        ),
    ),
    Case(
        "H8",
        "a hard link, symlink, directory, pipe or device with a size",
        "the size is taken as 0, as Go, Python and bsdtar do",
        (
            *(
                shows(
                    BASE,
                    (Item(b"odd", kind, link=b"x", size=512, mode=item.mode), f("after")),
                    tree=base(item, f("after")),
                )
                for kind, item in _ODD.items()
            ),
            shows(
                BASE,
                (Item(b"odd", b"4", size=512, device=(8, 0)), f("after")),
                tree=base(f("odd", mode=0), f("after")),
                warnings=["device nodes became empty files"],
            ),
        ),
    ),
    Case(
        "H9",
        "the same archive over two bases, in one of which `lib` is a symlink",
        "a layer is kept under its chain id, so each image is right",
        (
            shows(BASE, (f("lib/z"),), tree=base(f("usr/lib/z"))),
            shows(
                (d("lib"), d("usr"), d("usr/lib")), (f("lib/z"),), tree=(d("lib"), d("usr"), d("usr/lib"), f("lib/z"))
            ),
        ),
    ),
)

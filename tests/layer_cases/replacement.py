"""A name that is already there, and parents that are not listed."""

from __future__ import annotations

from dataclasses import replace

from tests.layer_cases.case import BASE, Case, base, fails, shows
from tests.oci_builder import Item, d, f, hard, link

_TWICE = "is in the layer more than once; the last one counts"
_OWNED_TMP = d("tmp", mode=0o1777, uid=7, gid=8, mtime=5, SCHILY__xattr__user__note="kept")
_NOTED = d("n", SCHILY__xattr__user__old="1")

REPLACEMENT = (
    Case(
        "R1",
        "a file in place of a directory; then a directory there again, in the same layer",
        "the directory goes with all below it; it holds only what the layer lists",
        (
            shows(BASE, (f("a", "file"),), tree=base(f("a", "file"), without=["a"])),
            shows(
                BASE,
                (f("a"), d("a"), f("a/new")),
                tree=base(f("a/new"), without=["a/f", "a/g"]),
                warnings=["/a " + _TWICE],
            ),
        ),
    ),
    Case(
        "R2",
        "a directory in place of a file",
        "a directory",
        (shows(BASE, (d("x"), f("x/y")), tree=base(d("x"), f("x/y"))),),
    ),
    Case(
        "R3",
        "a directory's entry where a symlink is below",
        "a real directory; what the link led to stays as it was",
        (
            shows(
                (*BASE, f("usr/lib/z")),
                (d("lib"), f("lib/new")),
                tree=base(f("usr/lib/z"), d("lib"), f("lib/new")),
            ),
        ),
    ),
    Case(
        "R4",
        "`lib/z` where `lib` is a symlink below; also one whose target goes through what is absent",
        "it lands where the link leads, and the link stays",
        (
            shows(BASE, (f("lib/z", "z"),), tree=base(f("usr/lib/z", "z"))),
            shows(
                BASE,
                (link("way", "missing/../lib"), f("way/z", "z")),
                tree=base(link("way", "missing/../lib"), f("usr/lib/z", "z")),
            ),
        ),
    ),
    Case(
        "R5",
        "`x/under` where `x` is a file below",
        "`x` becomes a directory (umoci since 0.5; skopeo fails)",
        (shows(BASE, (f("x/under"),), tree=base(d("x", mtime=0), f("x/under"))),),
    ),
    Case(
        "R6",
        "an entry whose parent is listed only below",
        "the parent keeps mode, owner, time and attributes",
        (shows((_OWNED_TMP,), (f("tmp/k"),), tree=(_OWNED_TMP, f("tmp/k"))),),
    ),
    Case(
        "R7",
        "an entry whose parents are listed nowhere",
        "they are 0755, root's, of 1970",
        (
            shows(
                BASE,
                (f("one/two/file"),),
                tree=base(d("one", mtime=0), d("one/two", mtime=0), f("one/two/file")),
            ),
        ),
    ),
    Case(
        "R8",
        "a path twice",
        "the last one counts, with a warning (as umoci; skopeo fails)",
        (shows(BASE, (f("dup", "1"), f("dup", "2")), tree=base(f("dup", "2")), warnings=["/dup " + _TWICE]),),
    ),
    Case(
        "R9",
        "a path twice, and a hard link to the first",
        "the link keeps the first one's content",
        (
            shows(
                BASE,
                (f("dup", "1"), hard("link", "dup"), f("dup", "2")),
                tree=base(f("link", "1"), f("dup", "2")),
                warnings=["/dup " + _TWICE],
            ),
        ),
    ),
    Case(
        "R10",
        "a directory's entry twice",
        "the last one's metadata, and the content of both",
        (
            shows(
                BASE,
                (d("n", mode=0o700), f("n/1"), d("n", mode=0o711, mtime=9), f("n/2")),
                tree=base(d("n", mode=0o711, mtime=9), f("n/1"), f("n/2")),
            ),
        ),
    ),
    Case(
        "R11",
        "an entry for a directory that is there, with fewer extended attributes",
        "its metadata is replaced, attributes too",
        (
            shows((_NOTED, f("n/1")), (d("n", mode=0o700),), tree=(d("n", mode=0o700), f("n/1"))),
            shows((_NOTED, d("n")), tree=(d("n"),)),
        ),
    ),
    Case(
        "R12",
        "an older time for a directory that gets new content",
        "exactly that time",
        (shows(BASE, (d("a", mtime=1), f("a/later")), tree=base(d("a", mtime=1), f("a/later"))),),
    ),
    Case(
        "R13",
        "`./n/f`, `/n/f`, `n//f`, `n/./f`, `../n/f`, `n/../../n/f`; an entry for the root; a file named `old/`;"
        " an empty name, one with NUL",
        "cleaned as text, `..` stays inside; the root's metadata, which stays in layers without such an entry;"
        " a directory, as in archives older than POSIX; error",
        (
            *(
                shows(BASE, (f(path),), tree=base(d("n", mtime=0), f("n/f")))
                for path in ("./n/f", "/n/f", "n//f", "n/./f", "../n/f", "n/../../n/f", "../../n/x/../f")
            ),
            shows(
                (Item(b"./", b"5", mode=0o711, mtime=3),),
                (f("new"),),
                tree=(Item(b"./", b"5", mode=0o711, mtime=3), f("new")),
            ),
            shows((replace(d("old"), type=b"\0"),), tree=(d("old"),)),
            fails(BASE, (Item(b"", b"0"),), message="no name"),
            fails(BASE, (Item(b"x", b"0", pax={b"path": b"a\0b"}),), message="NUL"),
        ),
    ),
)

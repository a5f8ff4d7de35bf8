"""Symlinks that lead outside or nowhere. Whatever happens, the directory VICTIM stays as it was."""

from __future__ import annotations

from tests.layer_cases.breakouts import BREAKOUTS
from tests.layer_cases.case import BASE, VICTIM, Case, base, fails, shows
from tests.oci_builder import Item, d, f, link, opaque, wh

_UP = "../" * 12
_CHAIN = [link(f"c{number}", f"c{number + 1}") for number in range(250)]
_DEEP = "/".join(["p" * 200] * 16)
_LONGEST = "t" * 4095

ESCAPES = (
    Case(
        "S1",
        "an absolute symlink to a directory outside, and a file through it",
        "the file lands at that path inside the root",
        (
            shows(BASE, (link("way", VICTIM), f("way/pwn")), tree=base(link("way", VICTIM), f(VICTIM + "/pwn"))),
            shows(
                BASE,
                (link("way", "/../.." + VICTIM), f("way/pwn")),
                tree=base(link("way", "/../.." + VICTIM), f(VICTIM + "/pwn")),
            ),
        ),
    ),
    Case(
        "S2",
        "the same with `../` twelve times",
        "the same",
        (
            shows(
                BASE,
                (link("way", _UP + VICTIM), f("way/pwn")),
                tree=base(link("way", _UP + VICTIM), f(VICTIM + "/pwn")),
            ),
        ),
    ),
    Case(
        "S3",
        "an entry for the root that is a symlink, file, hard link or device",
        "error",
        tuple(
            fails(BASE, (Item(b"./", kind, link=VICTIM.encode()), f("pwn")), message="root is not a directory")
            for kind in (b"2", b"0", b"1", b"3")
        ),
    ),
    Case(
        "S4",
        "`../` in an entry's name, more often than there are directories",
        "it lands below the root",
        (shows(BASE, (f(_UP + VICTIM + "/pwn"),), tree=base(f(VICTIM + "/pwn"))),),
    ),
    Case(
        "S5",
        "a file in place of a symlink that leads outside",
        "the link is replaced",
        (shows(BASE, (link("way", VICTIM + "/kept"),), (f("way", "file"),), tree=base(f("way", "file"))),),
    ),
    Case(
        "S6",
        "a whiteout and an opaque mark through a symlink that leads outside",
        "nothing: inside the root there is no such directory",
        (
            shows(
                BASE,
                (link("way", VICTIM), wh("way/kept"), opaque("way")),
                tree=base(link("way", VICTIM)),
            ),
        ),
    ),
    Case(
        "S7",
        "symlinks in a circle, and a file through them",
        "error",
        tuple(
            fails(BASE, (link("b", "l"), link("l", target), f("l/x")), message="too many symlinks")
            for target in ("b", "b/x", "missing/../l", "./l")
        ),
    ),
    Case(
        "S8",
        "250 symlinks in a chain; a path that is longer than the kernel takes, and from there outside (CVE-2025-4517);"
        " 600 directories in each other",
        "followed to its end; contained; error",
        (
            shows(BASE, (*_CHAIN, d("c250"), f("c0/end", "end")), tree=base(*_CHAIN, d("c250"), f("c250/end", "end"))),
            shows(
                (
                    d(_DEEP),
                    link("way", _DEEP),
                    d("way/" + _DEEP),
                    link(_DEEP + "/out", "../" * 40 + "etc"),
                    f("way/out/f", "in"),
                ),
                tree=(
                    d(_DEEP),
                    link("way", _DEEP),
                    d(_DEEP + "/" + _DEEP),
                    link(_DEEP + "/out", "../" * 40 + "etc"),
                    f("etc/f", "in"),
                ),
                packs=False,
            ),
            fails(BASE, (d("/".join(["d"] * 600)),), message="nested more than"),
        ),
    ),
    Case(
        "S9",
        "symlinks to `/proc/self/root` and `/proc/self/cwd`",
        "names like any other, inside the root",
        tuple(
            shows(BASE, (link("p", target), f("p/etc/x")), tree=base(link("p", target), f(target + "/etc/x")))
            for target in ("/proc/self/root", "/proc/self/cwd")
        ),
    ),
    Case(
        "S10",
        "a symlink's target of 4095 bytes; a longer one; one with NUL",
        "kept; error; error",
        (
            shows(BASE, (link("long", _LONGEST),), tree=base(link("long", _LONGEST))),
            fails(BASE, (Item(b"l", b"2", pax={b"linkpath": b"t" * 4096}),), message="longer than"),
            fails(BASE, (Item(b"l", b"2", pax={b"linkpath": b"a\0b"}),), message="NUL"),
        ),
    ),
    Case(
        "S11",
        "all of containerd's `TestBreakouts`",
        "as there, but for a file below `.wh.etc` (W11) and a symlink without a name (R13), which are errors,"
        " and a symlink at `..`, which is an entry for the root (S3)",
        BREAKOUTS,
    ),
)

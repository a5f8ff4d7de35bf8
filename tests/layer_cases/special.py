"""Devices and other kinds of entries, sparse files, odd names."""

from __future__ import annotations

from tests.layer_cases import sparse
from tests.layer_cases.case import BASE, Case, Stored, base, fails, shows
from tests.oci_builder import Item, d, f, hard, header, pax_records, tar

_SIZE = 40_000
_PARTS = {700: b"x" * 1300, 10_000: b"y" * 512, 10_600: b"z", **{20_000 + 100 * at: b"." for at in range(60)}}
_CONTENT = sparse.content(_PARTS, _SIZE)
_GLOBAL = pax_records({b"path": b"evil", b"size": b"0", b"mtime": b"5"})
_RENAMING = header(Item(b"g", b"g", size=len(_GLOBAL))) + _GLOBAL + bytes(-len(_GLOBAL) % 512) + tar([f("good", "abc")])
_LONGEST = "/".join(["n" * 255] * 15)
_GNU_LONG = b"".join(
    header(Item(b"././@LongLink", kind, size=301)) + b"n" * 300 + b"\0" + bytes(211) for kind in (b"L", b"K")
) + tar([Item(b"short", b"2", link=b"short")])
_HALF = "n" * 150


def _raw(content: bytes) -> Stored:
    return Stored(content, content)


SPECIAL = (
    Case(
        "N1",
        "character and block devices",
        "empty files of mode 0, with a warning, for every user: a step has the devices of its own /dev",
        tuple(
            shows(
                BASE,
                (d("dev"), Item(b"dev/null", kind, device=(1, 3), mode=0o666)),
                tree=base(d("dev"), f("dev/null", mode=0)),
                warnings=["device nodes became empty files"],
            )
            for kind in (b"3", b"4")
        ),
    ),
    Case(
        "N2",
        "a named pipe; when packed, a socket",
        "kept; left out, with a warning",
        (shows(BASE, (Item(b"pipe", b"6", mode=0o622),), tree=base(Item(b"pipe", b"6", mode=0o622))),),
        tests=("kernel/test_pack.py::test_sockets_are_left_out_and_told",),
    ),
    Case(
        "N3",
        "type `7`; `V`, `M`, `D`, `Z`; a global record that renames, resizes and dates",
        "a file; error that names the type; ignored",
        (
            shows(BASE, (Item(b"c", b"7", b"x"),), tree=base(f("c", "x"))),
            *(
                fails(BASE, (Item(b"c", kind),), message=f"unknown type '{kind.decode()}'")
                for kind in (b"V", b"M", b"D", b"Z")
            ),
            shows(BASE, Stored(_RENAMING, _RENAMING), tree=base(f("good", "abc"))),
        ),
    ),
    Case(
        "P1",
        "sparse files: GNU's form, pax 0.0, 0.1 and 1.0; without any data; maps that overlap, lead outside, do not end",
        "the file in full, its holes as holes; all zeros; error",
        (
            *(shows(BASE, _raw(archive), tree=base(f("sparse", _CONTENT))) for archive in sparse.ways(_PARTS, _SIZE)),
            *(shows(BASE, _raw(archive), tree=base(f("sparse", bytes(9000)))) for archive in sparse.ways({}, 9000)),
            *(
                fails(BASE, _raw(archive), message="of a sparse file")
                for parts in ({0: b"1234", 2: b"5678"}, {_SIZE - 1: b"12"}, {2**63: b"1"})
                for archive in sparse.ways(parts, _SIZE)
            ),
            *(fails(BASE, _raw(archive), message="map of a sparse file") for archive in sparse.broken()),
        ),
    ),
    Case(
        "P2",
        "sparse files that claim 1 TiB, 8 EiB, or 40 GiB each",
        "error: a layer holds 64 GiB",
        (
            *(fails(BASE, _raw(archive), message="larger than 64 GiB") for archive in sparse.ways({}, 2**40)),
            *(fails(BASE, _raw(archive), message="larger than 64 GiB") for archive in sparse.ways({}, 2**63 - 1)),
            *(
                fails(BASE, _raw(archive[:-1024] * 2 + archive[-1024:]), message="larger than 64 GiB")
                for archive in sparse.ways({}, 40 * 2**30)
            ),
        ),
    ),
    Case(
        "P3",
        "a path of 3839 bytes; GNU's long names; a component of more than 255 bytes; a path of more than 4096",
        "kept; kept; error; error",
        (
            shows(BASE, (d("n" * 255, mtime=0), f(_LONGEST)), tree=base(f(_LONGEST))),
            shows(
                BASE,
                (f(f"{_HALF}/{_HALF}", "x"), hard("short", f"{_HALF}/{_HALF}")),
                tree=base(f(f"{_HALF}/{_HALF}", "x"), hard("short", f"{_HALF}/{_HALF}")),
            ),
            fails(BASE, Stored(_GNU_LONG, _GNU_LONG), message="longer than 255"),
            fails(BASE, (f("n" * 256),), message="longer than 255"),
            fails(BASE, (Item(b"x", b"0", pax={b"path": b"p/" * 2049}),), message="longer than 4096"),
        ),
    ),
    Case(
        "P4",
        "names and targets that are not UTF-8",
        "the same bytes",
        (
            shows(
                BASE,
                (Item(b"\xff\xfe", b"0"), Item(b"\xc3", b"2", link=b"\xe4")),
                tree=base(Item(b"\xff\xfe", b"0"), Item(b"\xc3", b"2", link=b"\xe4", mode=0o777)),
            ),
        ),
    ),
    Case(
        "P5", "NUL in a pax path", "error", (fails(BASE, (Item(b"x", b"0", pax={b"path": b"a\0b"}),), message="NUL"),)
    ),
    Case(
        "P6",
        "names with newlines and terminal sequences",
        "kept; escaped in messages",
        (
            shows(BASE, (f("new\n\x1b[31m"),), tree=base(f("new\n\x1b[31m"))),
            fails(BASE, (hard("new\n\x1b[31m", "gone\x07"),), message=r"new\n\x1b[31m is a hard link to gone\x07,"),
        ),
    ),
)

"""Modes, times, owners, extended attributes."""

from __future__ import annotations

from tests.layer_cases.case import BASE, Case, base, fails, shows
from tests.oci_builder import Item, d, f

_XATTR = b"SCHILY.xattr."
_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw+ep, version 2
_BINARY = b"\0\n\xff=\n12 x=y\n"
_OVERLAYS = (b"opaque", b"whiteout", b"metacopy", b"redirect", b"origin")
_MACHINES = (b"security.selinux", b"system.nfs4_acl", b"security.ima", b"security.evm")
_OTHERS = {b"LIBARCHIVE.xattr.user.x": b"1", b"RHT.security.selinux": b"1", b"VENDOR.thing": b"1"}


def _attributed(path: str, **attributes: bytes) -> Item:
    names = {name.replace("__", ".").encode(): value for name, value in attributes.items()}
    return Item(path.encode(), b"0", pax={_XATTR + name: value for name, value in names.items()})


def _with(item: Item, attributes: dict[bytes, bytes]) -> Item:
    return Item(item.path, item.type, item.content, mode=item.mode, pax={_XATTR + n: v for n, v in attributes.items()})


METADATA = (
    Case(
        "M1",
        "setuid, setgid and sticky bits; mode 0",
        "kept",
        tuple(
            shows(
                BASE,
                (f("file", mode=mode, uid=1, gid=2), d("dir", mode=mode), f("dir/child")),
                tree=base(f("file", mode=mode, uid=1, gid=2), d("dir", mode=mode), f("dir/child")),
            )
            for mode in (0o4755, 0o2755, 0o1777, 0o6711, 0o000)
        ),
    ),
    Case(
        "M2",
        "a directory, and then files in it",
        "the directory has its own time",
        (
            shows(
                BASE,
                (d("n", mtime=5), f("n/1"), d("n/2", mtime=6)),
                tree=base(d("n", mtime=5), f("n/1"), d("n/2", mtime=6)),
            ),
        ),
    ),
    Case(
        "M3",
        "times before 1970, of 1970, after 2106, with nanoseconds; beyond what ext4 holds; `+1e9`",
        "exact; clamped to 1901 and 2446, with a warning; error",
        (
            *(
                shows((Item(b"t", b"0", mtime=mtime),), tree=(Item(b"t", b"0", mtime=mtime),))
                for mtime in (-1, 0, 1, 2**33)
            ),
            *(shows((f("t", mtime=mtime),), tree=(f("t", mtime=mtime),)) for mtime in ("1.000000001", "-1.5")),
            *(
                shows(
                    (f("t", mtime=mtime),),
                    tree=(f("t", mtime=str(clamped)),),
                    warnings=["times before 1901 or after 2446"],
                )
                for mtime, clamped in (("9" * 20, 2**34 - 2**31 - 1), ("-" + "9" * 20, -(2**31)))
            ),
            fails((f("t", mtime="+1e9"),), message="not a time"),
        ),
    ),
    Case(
        "M4",
        "owners that no file can have (negative, 2^32 - 1 and more); owners beyond 65535",
        "error; error that says what a rootfs holds (with one id for all: M8)",
        (
            *(
                fails(BASE, (f("o", uid=uid),), message="which no file can have")
                for uid in (-1, 2**32 - 1, 2**32, 2**40)
            ),
            *(
                fails(BASE, (f("o", uid=uid),), message="0 to 65535", unless_squashed=True)
                for uid in (65536, 4294967294)
            ),
        ),
        tests=("kernel/test_layer_program.py::test_m4_owners_that_the_namespace_does_not_have",),
    ),
    Case(
        "M5",
        "a pax `uid`, and names of owners",
        "the pax number counts, names are ignored",
        (
            shows(
                BASE,
                (Item(b"o", b"0", uid=1, gid=2, pax={b"uid": b"3", b"uname": b"nobody", b"gname": b"root"}),),
                tree=base(Item(b"o", b"0", uid=3, gid=2)),
            ),
        ),
    ),
    Case(
        "M6",
        "directories of mode 0 with files in them",
        "unpacked, read and removed by every user",
        (
            shows(
                (d("closed", mode=0), d("closed/in", mode=0), f("closed/in/file", "x")),
                (f("closed/in/other"),),
                tree=(d("closed", mode=0), d("closed/in", mode=0), f("closed/in/file", "x"), f("closed/in/other")),
            ),
        ),
    ),
    Case(
        "M7",
        "modes 0666 and 0777, and a caller with umask 077",
        "exact (all cases are run with that umask)",
        (
            shows(
                BASE,
                (f("u", mode=0o666), d("v", mode=0o777), Item(b"p", b"6", mode=0o666)),
                tree=base(f("u", mode=0o666), d("v", mode=0o777), Item(b"p", b"6", mode=0o666)),
            ),
        ),
    ),
    Case(
        "M8",
        "owners, for a user without subordinate ids",
        "all files belong to root inside, which is that user",
        (shows((d("d", uid=7, gid=8), f("d/f", uid=9, gid=10)), tree=(d("d", uid=7, gid=8), f("d/f", uid=9, gid=10))),),
        tests=("kernel/test_pack.py::test_m8_one_id_is_packed_as_root",),
        deviation="the owners that the archive names are not recorded: what such a user exports belongs to root",
    ),
    Case(
        "X1",
        "a `user.*` attribute with NUL, newlines and `=`",
        "exact",
        (shows((_attributed("attr", user__foo=_BINARY),), tree=(_attributed("attr", user__foo=_BINARY),)),),
    ),
    Case(
        "X2",
        "`user.overlay.*` and `trusted.overlay.*`",
        "left out, with a warning; no effect on how layers are joined",
        tuple(
            shows(
                BASE,
                tuple(
                    _with(item, {b"user.overlay." + name: b"y", b"trusted.overlay.opaque": b"y"})
                    for item in (d("a"), f("x", "new"))
                ),
                tree=base(f("x", "new")),
                warnings=[f"user.overlay.{name.decode()} is left out", "trusted.overlay.opaque is left out"],
            )
            for name in _OVERLAYS
        ),
    ),
    Case(
        "X3",
        "`security.capability`",
        "kept; in a user namespace the kernel binds it to that (version 3)",
        (
            shows(
                (_attributed("ping", security__capability=_CAPABILITY),),
                tree=(_attributed("ping", security__capability=_CAPABILITY),),
            ),
        ),
    ),
    Case(
        "X4",
        "`security.selinux`, `system.nfs4_acl`, `security.ima`, `security.evm`",
        "left out, with a warning: they belong to the machine that the image was built on",
        tuple(
            shows((_with(f("attr"), {name: b"1"}),), tree=(f("attr"),), warnings=[f"{name.decode()} is left out"])
            for name in _MACHINES
        ),
    ),
    Case(
        "X5",
        "`trusted.*` on several files",
        "left out, with one warning, as root too",
        (
            shows(
                tuple(_with(f(path), {b"trusted.x": b"1"}) for path in ("one", "two")),
                tree=(f("one"), f("two")),
                warnings=["trusted.x is left out"],
            ),
        ),
    ),
    Case(
        "X6",
        "attributes, on a filesystem that cannot hold them",
        "left out, with one warning",
        tests=("kernel/test_layer_program.py::test_x6_a_filesystem_without_attributes",),
    ),
    Case(
        "X7",
        "`LIBARCHIVE.xattr.*`, `RHT.security.*`, unknown pax keys",
        "ignored",
        (shows((Item(b"attr", b"0", pax=_OTHERS),), tree=(f("attr"),)),),
    ),
    Case(
        "X8",
        "when packed: `user.overlay.*`; `user.overlay.overlay.*`, how the kernel keeps what a step has set",
        "left out; as the step has set it",
        tests=("kernel/test_pack.py::test_x8_attributes_of_the_overlay",),
    ),
)

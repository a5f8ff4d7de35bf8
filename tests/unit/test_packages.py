"""The packages in layers: what their databases say, joined as an overlay would, and what is odd in them."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from ci_env.oci import package_forms as forms
from ci_env.oci import rpm
from ci_env.oci.packages import main

STATUS = b"""\
Package: libc6
Status: install ok installed
Multi-Arch: same
Architecture: amd64
Version: 2.36-9+deb12u9
Description: x
 Package: not-this
Conffiles:
 /etc/ld.so.conf.d/x 4317

Package: gone
Status: deinstall ok config-files
Version: 1

Package: half
Status: install ok half-configured
Version: 2
\t
Package: bash
Status: install ok installed
Version: 5.2
"""
INSTALLED = b"""\
C:Q1abc=
P:musl
V:1.2.5-r0
A:x86_64
F:lib
R:ld-musl-x86_64.so.1

P:busybox
V:1.36.1-r29
"""


def test_forms() -> None:
    assert list(forms.dpkg(STATUS)) == [
        ("libc6:amd64", "2.36-9+deb12u9"),
        ("half", "2 (half-configured)"),
        ("bash", "5.2"),
    ]
    assert list(forms.apk(INSTALLED)) == [("musl", "1.2.5-r0"), ("busybox", "1.36.1-r29")]
    metadata = b"Metadata-Version: 2.1\r\nName: Typing_Extensions\r\nVersion: 4.12\r\n\r\nName: text\n"
    assert list(forms.python(metadata)) == [("typing-extensions", "4.12")]
    assert list(forms.npm(b'{"name": "@a/b", "version": "1.0.0"}')) == [("@a/b", "1.0.0")]


@pytest.mark.parametrize(
    "content", [b"", b"\xff\0", b"[" * 100_000, b"{}", b'{"name": 1, "version": "1"}', b"P:\nV:\n"]
)
def test_what_is_odd_is_passed_over(content: bytes) -> None:
    for form in (forms.dpkg, forms.apk, forms.python, forms.npm):
        assert list(form(content)) == []


def header(**values: str | int) -> bytes:
    """Return a package's header as rpm's databases hold it."""
    tags = {"name": 1000, "version": 1001, "release": 1002, "epoch": 1003, "arch": 1022}
    index, store = b"", b""
    for name, value in values.items():
        if isinstance(value, int):
            store += b"\0" * (-len(store) % 4)
        index += struct.pack(">IIII", tags[name], 4 if isinstance(value, int) else 6, len(store), 1)
        store += struct.pack(">I", value) if isinstance(value, int) else value.encode() + b"\0"
    return struct.pack(">II", len(values), len(store)) + index + store


BASH = header(name="bash", version="5.2", release="1.fc40", epoch=2, arch="x86_64")
KEY = header(name="gpg-pubkey", version="abc", release="1")
GLIBC = header(name="glibc", version="2.39", release="3", arch="x86_64")
PACKAGES = [("bash.x86_64", "2:5.2-1.fc40"), ("glibc.x86_64", "2.39-3")]


def sqlite(*headers: bytes, table: str = "TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)") -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE {table}")
    connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [(one,) for one in headers])
    connection.commit()
    return bytes(connection.serialize())


def ndb(*headers: bytes) -> bytes:
    """Return a database of one page of slots (rpmpkg.c)."""
    page = bytearray(struct.pack("<4sIII", b"RpmP", 0, 1, 1).ljust(32, b"\0").ljust(4096, b"\0"))
    blobs = b""
    for number, one in enumerate(headers, 1):
        block = (4096 + len(blobs)) // 16
        struct.pack_into("<4sIII", page, 16 + 16 * number, b"Slot", number, block, 1)
        blob = struct.pack("<4sIII", b"BlbS", number, 1, len(one)) + one
        blobs += blob.ljust(-(-len(blob) // 16) * 16, b"\0")
    return bytes(page) + blobs


def test_rpm() -> None:
    database = sqlite(BASH, KEY, GLIBC, b"", b"\xff" * 8, BASH[:20])
    assert list(rpm.from_sqlite(database)) == PACKAGES
    assert list(rpm.from_sqlite(database[:18] + b"\x02\x02" + database[20:])) == PACKAGES  # with a write-ahead log
    assert list(rpm.from_ndb(ndb(BASH, KEY, GLIBC))) == PACKAGES


BOMB = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS blob FROM n"


def view() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE VIEW Packages AS {BOMB}")
    connection.commit()
    return bytes(connection.serialize())


def generated(size: int) -> bytes:
    """Return a small database whose packages are made up as they are read."""
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB AS (zeroblob({size})))")
    connection.executemany("INSERT INTO Packages (hnum) VALUES (?)", [(number,) for number in range(9)])
    connection.commit()
    return bytes(connection.serialize())


@pytest.mark.parametrize(
    "database",
    [
        b"no database",
        sqlite(BASH)[:5000],
        view(),
        generated(2**29),
        generated(4096),
        sqlite(BASH).replace(b"TABLE Packages", b"TABLE Packagez"),
    ],
)
def test_databases_that_are_refused(database: bytes) -> None:
    with pytest.raises(rpm.RpmError):
        list(rpm.from_sqlite(database))


def overlapping() -> bytes:
    """Return a database whose slots all mean one package, which would be read for each."""
    database = bytearray(ndb(BASH.ljust(4096, b"\0")))
    for place in range(48, 4096, 16):
        database[place : place + 16] = database[32:48]
    return bytes(database)


@pytest.mark.parametrize(
    "database",
    [b"", b"RpmP", b"RpmP" + b"\xff" * 5000, ndb(BASH)[:4096], ndb(BASH)[:4096] + b"\0" * 100, overlapping()],
)
def test_ndb_that_is_refused(database: bytes) -> None:
    with pytest.raises(rpm.RpmError):
        list(rpm.from_ndb(database))


def layer(place: Path, files: Mapping[str, bytes | str]) -> Path:
    """Return a layer with these files; text is the target of a link."""
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
    return place


def listed(capfd: pytest.CaptureFixture[str], *layers: Path) -> tuple[list[list[str]], list[str]]:
    *lowers, top = map(str, layers)
    assert main([top, *(f"--lower={lower}" for lower in lowers)]) == 0
    answer = json.loads(capfd.readouterr().out)
    return answer["packages"], answer["odd"]


def test_layers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    foo, bar = (f"Name: {name}\nVersion: {version}\n".encode() for name, version in (("foo", "1.0"), ("foo", "2.0")))
    site, venv = "usr/lib/python3/dist-packages", "workspace/.venv/lib/python3.12/site-packages"
    bottom = layer(
        tmp_path / "1",
        {
            "var/lib/dpkg/status": STATUS,
            f"{site}/foo-1.0.dist-info/METADATA": foo,
            "usr/lib/node_modules/npm/package.json": b'{"name": "npm", "version": "10.1.0"}',
            "usr/lib/node_modules/@a/b/package.json": b'{"name": "@a/b", "version": "1.0.0"}',
            "usr/lib/node_modules/.bin/x": b"",
            "usr/bin/x": b"",
            "lib": "usr/lib",
        },
    )
    top = layer(
        tmp_path / "2",
        {
            "var/lib/dpkg/status": STATUS.replace(b"5.2\n", b"5.3\n"),
            "var/lib/dpkg/status.d/tzdata": b"Package: tzdata\nVersion: 2026a\n",
            f"{venv}/foo-2.0.dist-info/METADATA": bar,
            "var/lib/rpm/rpmdb.sqlite": b"no database",
            "var/lib/rpm/Packages": b"\0\x05\x31\x61",
            "usr/lib/sysimage/rpm/Packages.db": ndb(GLIBC),
        },
    )
    packages, odd = listed(capfd, bottom, top)
    assert packages == [
        ["dpkg", "bash", "5.3", ""],
        ["dpkg", "half", "2 (half-configured)", ""],
        ["dpkg", "libc6:amd64", "2.36-9+deb12u9", ""],
        ["dpkg", "tzdata", "2026a", ""],
        ["npm", "@a/b", "1.0.0", "/usr/lib/node_modules"],
        ["npm", "npm", "10.1.0", "/usr/lib/node_modules"],
        ["pip", "foo", "1.0", f"/{site}"],
        ["pip", "foo", "2.0", f"/{venv}"],
        ["rpm", "glibc.x86_64", "2.39-3", ""],
    ]
    assert odd == [
        "/var/lib/rpm/rpmdb.sqlite: it is no database: file is not a database",
        "/var/lib/rpm/Packages: databases of this kind (Berkeley DB) are not read",
    ]


def test_nothing_outside_is_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outside = layer(tmp_path / "outside", {"status": STATUS, "foo.dist-info/METADATA": b"Name: foo\nVersion: 1\n"})
    top = layer(tmp_path / "1", {"var/lib/dpkg/status": str(outside / "status"), "usr/lib/python3.11/x": b""})
    (top / "usr/lib/python3.11/site-packages").symlink_to(outside)
    (top / "lib/apk/db").mkdir(parents=True)
    os.mkfifo(top / "lib/apk/db/installed")
    (top / "usr/lib/node_modules").symlink_to("node_modules")
    assert listed(capfd, top) == ([], [])

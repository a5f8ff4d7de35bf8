"""Builds layers, images and OCI layouts byte by byte, damaged ones included. Shares no code with the product."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK = 512
END = bytes(2 * BLOCK)
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"

Compression = Literal["none", "gzip", "zstd"]


@dataclass(frozen=True)
class Item:
    """One tar entry as it is to be written."""

    path: bytes
    type: bytes
    content: bytes = b""
    link: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 1_000_000_000
    device: tuple[int, int] = (0, 0)
    size: int | None = None
    """what the header claims; None: the truth"""
    pax: Mapping[bytes, bytes] = field(default_factory=dict[bytes, bytes])


def f(path: str, content: str | bytes = "", *, mode: int = 0o644, uid: int = 0, gid: int = 0, **pax: str) -> Item:
    """Return a file."""
    data = content.encode() if isinstance(content, str) else content
    return Item(path.encode(), b"0", data, mode=mode, uid=uid, gid=gid, pax=_pax(pax))


def d(path: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0, mtime: int = 1_000_000_000, **pax: str) -> Item:
    """Return a directory."""
    return Item(path.encode() + b"/", b"5", mode=mode, uid=uid, gid=gid, mtime=mtime, pax=_pax(pax))


def link(path: str, target: str) -> Item:
    """Return a symlink."""
    return Item(path.encode(), b"2", link=target.encode(), mode=0o777)


def hard(path: str, target: str, *, mode: int = 0o644) -> Item:
    """Return a hard link."""
    return Item(path.encode(), b"1", link=target.encode(), mode=mode)


def wh(path: str) -> Item:
    """Return a whiteout of `path`."""
    parent, slash, name = path.rpartition("/")
    return f(f"{parent}{slash}.wh.{name}")


def opaque(path: str) -> Item:
    """Return the mark that hides what lower layers have in the directory `path`."""
    return f(f"{path}/.wh..wh..opq" if path else ".wh..wh..opq")


def _pax(pax: Mapping[str, str]) -> dict[bytes, bytes]:
    return {name.replace("__", ".").encode(): value.encode() for name, value in pax.items()}


def tar(items: Sequence[Item], *, end: bytes = END) -> bytes:
    """Return a tar archive."""
    return b"".join(entry(item) for item in items) + end


def entry(item: Item) -> bytes:
    """Return one entry: extended header where needed, header, content, padding."""
    records = dict(item.pax)
    if len(item.path) > 100:
        records[b"path"] = item.path
    if len(item.link) > 100:
        records[b"linkpath"] = item.link
    extended = b""
    if records:
        content = pax_records(records)
        extended = header(Item(b"pax", b"x", size=len(content))) + _padded(content)
    return extended + header(item) + _padded(item.content)


def pax_records(records: Mapping[bytes, bytes]) -> bytes:
    """Return pax records, each with its own length in front."""
    return b"".join(_record(name, value) for name, value in records.items())


def _record(name: bytes, value: bytes) -> bytes:
    body = b" " + name + b"=" + value + b"\n"
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def header(item: Item) -> bytes:
    """Return a ustar header block with a right checksum."""
    size = len(item.content) if item.size is None else item.size
    block = bytearray(
        struct.pack(
            "100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x",
            item.path[:100],
            _number(item.mode, 8),
            _number(item.uid, 8),
            _number(item.gid, 8),
            _number(size, 12),
            _number(item.mtime, 12),
            b" " * 8,
            item.type,
            item.link[:100],
            b"ustar\x0000",
            b"",
            b"",
            _number(item.device[0], 8),
            _number(item.device[1], 8),
            b"",
        )
    )
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _number(value: int, width: int) -> bytes:
    """Return octal text, or base-256 where that is too long or the number negative."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    raw = bytearray((value % (1 << 8 * width)).to_bytes(width, "big"))
    raw[0] |= 0x80
    return bytes(raw)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def compress(content: bytes, compression: Compression) -> bytes:
    if compression == "gzip":
        return gzip.compress(content, 6, mtime=0)
    return zstd.compress(content) if compression == "zstd" else content


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def descriptor(media_type: str, content: bytes, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": sha256(content), "size": len(content), **more}


def embedded(content: bytes) -> str:
    """Return `content` as a descriptor's `data`."""
    return base64.b64encode(content).decode()


@dataclass
class Image:
    """An image's blobs by digest, and its manifest."""

    blobs: dict[str, bytes]
    manifest: bytes
    layers: list[bytes]
    """as stored, compressed"""
    diff_ids: list[str]
    config: bytes


def image(
    layers: Sequence[bytes],
    *,
    compression: Compression = "gzip",
    architecture: str = "amd64",
    config: Mapping[str, object] | None = None,
    diff_ids: Sequence[str] | None = None,
    compressed: Sequence[bytes] | None = None,
) -> Image:
    """Return an image of plain tar archives; `diff_ids` and `compressed` override what would be right."""
    stored = list(compressed) if compressed is not None else [compress(layer, compression) for layer in layers]
    ids = list(diff_ids) if diff_ids is not None else [sha256(layer) for layer in layers]
    document = {
        "os": "linux",
        "architecture": architecture,
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": ids},
    }
    config_bytes = json.dumps(document).encode()
    suffix = {"none": "", "gzip": "+gzip", "zstd": "+zstd"}[compression]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(CONFIG_TYPE, config_bytes),
        "layers": [descriptor(LAYER_TYPE + suffix, layer) for layer in stored],
    }
    blobs = {sha256(content): content for content in (config_bytes, *stored)}
    return Image(blobs, json.dumps(manifest).encode(), stored, ids, config_bytes)


def index(entries: Sequence[Mapping[str, object]]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": list(entries)}).encode()


def write_layout(directory: Path, images: Mapping[str, Image], *, extra: Sequence[bytes] = ()) -> Path:
    """Write an OCI image layout that has each image under its tag."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entries: list[dict[str, object]] = []
    for tag, content in images.items():
        for blob in (*content.blobs.values(), content.manifest):
            (blobs / sha256(blob).removeprefix("sha256:")).write_bytes(blob)
        annotations = {"org.opencontainers.image.ref.name": tag}
        entries.append(descriptor(MANIFEST_TYPE, content.manifest, annotations=annotations))
    for blob in extra:
        (blobs / sha256(blob).removeprefix("sha256:")).write_bytes(blob)
    (directory / "index.json").write_bytes(index(entries))
    return directory

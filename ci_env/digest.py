"""Digests and the canonical JSON that keys are made of. Must not read files or the clock."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

_MAX_EXACT_INT = 2**53 - 1  # RFC 8785 section 3.2.2.3: beyond it, readers disagree about the value
_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_DIGEST = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")


class Digest(str):
    """`algorithm:hex` of some bytes, as the OCI image spec writes it (descriptor.md#digests).

    Safe as a file name and in a URL path: `parse` admits nothing but sha256 and sha512 in lower-case hex.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Return `text` as a digest; ValueError unless it is one."""
        if not _DIGEST.match(text):
            algorithm, _, value = text.partition(":")
            if algorithm not in _HEX_LENGTH and value:
                raise ValueError(f"unsupported digest algorithm {algorithm!r}")
            raise ValueError(f"not a digest: {text!r}")
        return cls(text)

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """Return the sha256 digest of `content`."""
        return cls("sha256:" + hashlib.sha256(content).hexdigest())

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]


def canonical_json(value: Json) -> bytes:
    """Encode `value` by RFC 8785, for values without floats.

    ValueError on a float, an integer beyond 2^53 - 1, a key outside the Basic Multilingual Plane (where Python's key
    order and the RFC's differ) or text that is not valid Unicode.
    """
    _check(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def key(kind: str, preimage: Mapping[str, Json]) -> Digest:
    """Return the identity of `preimage` among things of its `kind`."""
    return Digest.of(canonical_json({"kind": kind, "of": preimage}))


def _check(value: Json) -> None:
    if isinstance(value, float):
        raise ValueError(f"a float has no canonical form here: {value!r}")
    if isinstance(value, int) and abs(value) > _MAX_EXACT_INT:
        raise ValueError(f"integer beyond 2^53 - 1: {value}")
    if isinstance(value, Mapping):
        for name, item in value.items():
            is_text = isinstance(name, str)  # pyright: ignore[reportUnnecessaryIsInstance]  # callers may be wrong
            if not is_text or any(ord(letter) > 0xFFFF for letter in name):
                raise ValueError(f"not a canonical key: {name!r}")
            _check(item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            _check(item)

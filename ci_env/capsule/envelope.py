"""DSSE envelopes around statements: what is signed, and the written form. Pure; signing.py has the keys.

Source: github.com/secure-systems-lab/dsse, protocol.md and envelope.md (v1.0.2). Stricter than those: exactly one
signature, one payload type, and no name twice in an object, since readers disagree about which of two counts.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import cast

from ci_env.errors import ConfigError
from ci_env.frozen import dataclass

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_BYTES = 2**25
_URL_SAFE = str.maketrans("-_", "+/")


@dataclass(frozen=True, slots=True)
class Envelope:
    payload: bytes
    signature: bytes


def signed_bytes(payload_type: str, payload: bytes) -> bytes:
    """Return what a signature is over: PAE of protocol.md."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def write(envelope: Envelope, *, key_id: str) -> bytes:
    """Return the envelope as JSON. `key_id` is a hint only, which no signature covers."""
    document = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(envelope.payload).decode(),
        "signatures": [{"keyid": key_id, "sig": base64.b64encode(envelope.signature).decode()}],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def read(content: bytes, *, what: str) -> Envelope:
    """Return the envelope, its signature unverified; ConfigError where it is none of ours."""
    document = objects(content, what=what)
    kind = document.get("payloadType")
    if kind != PAYLOAD_TYPE:
        raise ConfigError(f"{what} is no signed statement: its payload is of type {kind!r:.200}, not {PAYLOAD_TYPE}")
    signatures = document.get("signatures")
    if not isinstance(signatures, list):
        raise ConfigError(f"{what} is no signed statement: it has no signatures")
    several = cast("list[object]", signatures)
    if len(several) != 1:
        raise ConfigError(f"{what} has {len(several)} signatures, and only one can be checked")
    only = several[0]
    signature = cast("Mapping[str, object]", only).get("sig") if isinstance(only, dict) else None
    return Envelope(_decoded(document.get("payload"), what), _decoded(signature, what))


def objects(content: bytes, *, what: str) -> Mapping[str, object]:
    """Return a JSON object; ConfigError where it is none, is huge or nested too deeply, or has a name twice."""
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{what} is larger than {MAX_BYTES // 2**20} MiB")
    try:
        document: object = json.loads(content, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{what} is not JSON as it should be: {str(error)[:200]}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{what} is no JSON object")
    return cast("Mapping[str, object]", document)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _decoded(text: object, what: str) -> bytes:
    """Return base64 as bytes; both alphabets may be used."""
    try:
        if isinstance(text, str):
            return base64.b64decode(text.translate(_URL_SAFE), validate=True)
    except ValueError:
        pass  # told below
    raise ConfigError(f"{what} is no signed statement: a part of it is not base64")

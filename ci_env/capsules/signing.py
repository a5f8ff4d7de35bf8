"""Signs statements and checks signatures: Ed25519 keys in PEM files. The only door to `cryptography` (ADR 0027)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ci_env.capsule.envelope import PAYLOAD_TYPE, Envelope, read, signed_bytes, write
from ci_env.errors import ConfigError, HostError, IntegrityError
from ci_env.files import explained

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Key = TypeVar("Key")
_MAX_KEY_BYTES = 2**16


def sign(statement: bytes, key: Path) -> bytes:
    """Return an envelope around the statement. ConfigError unless `key` is an Ed25519 key without a passphrase."""
    _check_library()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    hint = "`openssl genpkey -algorithm ed25519 -out key.pem` makes one"
    private = _load(key, lambda content: load_pem_private_key(content, None), hint)
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(f"{key} is no Ed25519 key", hint=hint)
    signature = private.sign(signed_bytes(PAYLOAD_TYPE, statement))
    return write(Envelope(statement, signature), key_id=_key_id(private.public_key()))


def verified(content: bytes, key: Path, *, what: str) -> bytes:
    """Return the statement in an envelope; IntegrityError unless it was signed by the owner of the public `key`."""
    _check_library()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    hint = "`openssl pkey -in key.pem -pubout -out key.pub` writes the public half of a key"
    public = _load(key, load_pem_public_key, hint)
    if not isinstance(public, Ed25519PublicKey):
        raise ConfigError(f"{key} is no public Ed25519 key", hint=hint)
    envelope = read(content, what=what)
    try:
        public.verify(envelope.signature, signed_bytes(PAYLOAD_TYPE, envelope.payload))
    except InvalidSignature as error:
        message = f"{what} was not signed with the key of {key}, or has been changed since"
        raise IntegrityError(message, hint="do not trust it; ask for the file again, or for the right key") from error
    return envelope.payload


def _check_library() -> None:
    try:
        import cryptography
    except ImportError as error:
        message = "signatures need the Python package cryptography, which is not installed"
        raise HostError(message, hint="pip install 'ci-env[sign]'") from error
    assert cryptography


def _load(path: Path, parse: Callable[[bytes], Key], hint: str) -> Key:
    from cryptography.exceptions import UnsupportedAlgorithm

    if not path.is_file():
        raise ConfigError(f"there is no key {path}", hint=hint)
    with explained("read", path), open(path, "rb") as file:
        content = file.read(_MAX_KEY_BYTES)
    try:
        return parse(content)
    except TypeError as error:
        raise ConfigError(f"{path} has a passphrase, which cannot be asked for", hint=hint) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} is no key in a PEM file of the right kind", hint=hint) from error


def _key_id(public: Ed25519PublicKey) -> str:
    """Return the digest of the public key as `openssl pkey -pubout -outform DER | sha256sum` has it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

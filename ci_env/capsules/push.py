"""Pushes a capsule to a registry, blob by blob and with the digests that it has."""

from __future__ import annotations

from pathlib import Path

from ci_env.capsule import form
from ci_env.capsules.file import CapsuleFile
from ci_env.digest import Digest
from ci_env.files import explained
from ci_env.oci.document import OCI_MANIFEST, Descriptor
from ci_env.oci.verify import VerifyingReader
from ci_env.oci.write import Target, WrittenImage

_PIECE = 2**20


def push(file: CapsuleFile, target: Target, *, what: str) -> Digest:
    """Put the capsule to `target`; return the digest of its manifest. ConfigError where it is none.

    RegistryError of the target's; then it has some blobs that nothing names.
    """
    manifest = file.root()
    capsule = form.read(manifest, what=what)
    documents = [document for base in capsule.bases for document in (base.manifest, base.config)]
    blobs = [
        capsule.record,
        *documents,
        *(part.blob for part in capsule.layers),
        *(one.blob for one in capsule.contents),
    ]
    for blob in {blob.digest: blob for blob in blobs}.values():
        if not target.has(blob):
            _put(file, blob, target)
    descriptor = Descriptor(OCI_MANIFEST, Digest.of(manifest), len(manifest))
    target.finish(WrittenImage(manifest, descriptor, b"", capsule.record, ()))
    return descriptor.digest


def _put(file: CapsuleFile, blob: Descriptor, target: Target) -> None:
    spool: Path = target.spool / "blob.part"
    with explained("write", spool):
        try:
            with file.blob(blob) as stored, open(spool, "wb") as written:
                reader = VerifyingReader(stored, blob.digest, blob.size, what=f"the blob {blob.digest}")
                while piece := reader.read(_PIECE):
                    written.write(piece)
            target.put(spool, blob)
        finally:
            spool.unlink(missing_ok=True)

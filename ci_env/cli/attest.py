"""`ci-env runs attest`: a run as signed provenance. A part of `runs`."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.errors import ConfigError

if TYPE_CHECKING:
    from ci_env.capsule.provenance import Subject
    from ci_env.capsule.record import Record
    from ci_env.digest import Digest
    from ci_env.oci.verify import Reader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "source", metavar="RUN|FILE", nargs="?", default="last", help="run id, its beginning, `last`, or a capsule"
    )
    parser.add_argument("--key", metavar="FILE", type=Path, help="sign with this Ed25519 key (PEM, PKCS#8)")
    parser.add_argument("--builder", metavar="URI", help="who vouches for the run (builder.id)")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="where to (default: stdout)")


def run(arguments: argparse.Namespace) -> int:
    """Write the statement, or with a key the envelope around it."""
    from ci_env.capsule.provenance import BUILDER, statement
    from ci_env.cli.sourced import is_file
    from ci_env.files import atomic_write

    record, made = _of_capsule(Path(arguments.source)) if is_file(arguments.source) else _of_run(arguments.source)
    stated = json.dumps(statement(record, made, builder=arguments.builder or BUILDER), separators=(",", ":")).encode()
    if arguments.key is not None:
        from ci_env.capsules.signing import sign

        stated = sign(stated, arguments.key)
    if arguments.output is None:
        sys.stdout.write(stated.decode() + "\n")
        return 0
    if not arguments.output.absolute().parent.is_dir() or arguments.output.is_dir():
        raise ConfigError(f"cannot write {arguments.output}", hint="name a file in an existing directory")
    atomic_write(arguments.output, stated + b"\n")
    return 0


def _of_run(name: str) -> tuple[Record, tuple[Subject, ...]]:
    from ci_env import codec
    from ci_env.capsules.attesting import subjects
    from ci_env.cli.kept import capsule_beside
    from ci_env.cli.opened import this_store
    from ci_env.cli.sourced import ended_run
    from ci_env.digest import Digest
    from ci_env.store.blobs import Blobs

    store = this_store()
    record = ended_run(name, store, hint="attest it when it has ended")
    blobs = Blobs(store)

    def opened(blob: Digest) -> AbstractContextManager[Reader] | None:
        return blobs.open(blob) if blobs.has(blob) else None

    file = capsule_beside(record, store)
    manifest = _manifest(file) if file.is_file() else None
    return record, subjects(record, Digest.of(codec.dumps(record)), manifest, opened)


def _manifest(path: Path) -> Digest:
    from ci_env.capsules.file import CapsuleFile
    from ci_env.digest import Digest

    with CapsuleFile(path) as file:
        return Digest.of(file.root())


def _of_capsule(path: Path) -> tuple[Record, tuple[Subject, ...]]:
    from ci_env.capsules.attesting import subjects
    from ci_env.capsules.file import CapsuleFile
    from ci_env.capsules.opening import read_capsule
    from ci_env.digest import Digest

    with CapsuleFile(path) as file:
        file.check()
        read = read_capsule(file, what=str(path))
        blobs = {content.blob.digest: content.blob for content in read.capsule.contents}

        def opened(blob: Digest) -> AbstractContextManager[Reader] | None:
            return file.blob(blobs[blob]) if blob in blobs else None

        return read.record, subjects(read.record, read.capsule.record.digest, Digest.of(file.root()), opened)

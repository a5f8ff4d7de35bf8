"""`ci-env capsule`: a run as one file, to be replayed on any machine. Packs, shows and checks such files."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.cli.secrets import add_arguments as add_secrets
from ci_env.cli.secrets import given
from ci_env.cli.telling import tell
from ci_env.errors import ConfigError

if TYPE_CHECKING:
    from ci_env.capsule.form import Capsule
    from ci_env.capsule.record import Record
    from ci_env.cli.opened import Opened
    from ci_env.cli.secrets import Given
    from ci_env.digest import Digest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="pack|show|verify|push")
    packing = actions.add_parser(
        "pack", help="write a run to a file", description="Write a run, and what a replay of it needs, to one file."
    )
    packing.add_argument("run", metavar="RUN", nargs="?", default="last", help="run id, its beginning, or `last`")
    packing.add_argument("-o", "--output", metavar="FILE", type=Path, help="where to (default: RUN.cienv)")
    packing.add_argument(
        "--self-contained", action="store_true", help="with all layers of its images, though a registry has them"
    )
    packing.add_argument(
        "--max-size", metavar="SIZE", type=_size, help="leave out what a replay can do without; such as 100MiB"
    )
    add_secrets(packing)
    shown = actions.add_parser(
        "show",
        help="say what is in a capsule",
        description="Say what is in a capsule, how large it is, and what a replay of it will not bring back.",
    )
    shown.add_argument("source", metavar="FILE|RUN", help="a file; or a run, to see what its capsule would be")
    shown.add_argument("--json", action="store_true", help="as JSON, with the whole record")
    checked = actions.add_parser(
        "verify", help="check every digest", description="Compare all that is in a capsule with its digests."
    )
    checked.add_argument("file", metavar="FILE", type=Path)
    checked.add_argument("--key", metavar="PUB", type=Path, help="check who attests it: a public Ed25519 key (PEM)")
    checked.add_argument(
        "--attestation",
        metavar="JSON",
        type=Path,
        help="what `ci-env runs attest --key` wrote (default: FILE.intoto.json)",
    )
    pushed = actions.add_parser(
        "push",
        help="push to a registry",
        description="Push a capsule to a registry, and print what `ci-env replay` takes it from.",
    )
    pushed.add_argument("file", metavar="FILE", type=Path)
    pushed.add_argument("reference", metavar="REF", help="such as ghcr.io/team/failures:42")


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked for."""
    from ci_env.cli.interrupt import interruptible

    with interruptible():
        if arguments.action == "pack":
            _pack(arguments)
        elif arguments.action == "show":
            _show(arguments.source, as_json=arguments.json)
        elif arguments.action == "verify":
            _verify(arguments.file, arguments.key, arguments.attestation)
        else:
            _push(arguments.file, arguments.reference)
    return 0


def _pack(arguments: argparse.Namespace) -> None:
    from ci_env.capsules.pack import Wish, pack
    from ci_env.cli.opened import opened
    from ci_env.ui.sizes import size

    with opened() as everything:
        record = _recorded(everything, arguments.run)
        path = arguments.output or Path(f"{record.run_id}.cienv")
        secrets = _secrets(record, given(arguments))
        wish = Wish(is_self_contained=arguments.self_contained, max_bytes=arguments.max_size, secrets=secrets)
        done = pack(record, path, everything.shelf(tell), wish)
    for what in done.left_out:
        sys.stderr.write(f"warning: left out to keep the size: {what}\n")
    sys.stdout.write(f"{path}  {size(done.size_bytes)}\n")


def _show(source: str, *, as_json: bool) -> None:
    from ci_env.capsules.file import CapsuleFile
    from ci_env.capsules.opening import read_capsule
    from ci_env.capsules.pack import Wish, pack
    from ci_env.cli.opened import opened
    from ci_env.cli.sourced import is_file

    if is_file(source):
        with CapsuleFile(Path(source)) as file:
            read = read_capsule(file, what=source)
            _print(read.record, read.capsule, file.size, as_json=as_json)
        return
    with opened() as everything:
        record = _recorded(everything, source)
        done = pack(record, everything.scratch / "shown.cienv", everything.shelf(tell), Wish())
    _print(record, done.capsule, done.size_bytes, as_json=as_json)


def _print(record: Record, capsule: Capsule, size_bytes: int, *, as_json: bool) -> None:
    from ci_env.ui.capsules import details

    if not as_json:
        sys.stdout.writelines(line + "\n" for line in details(record, capsule, size_bytes))
        return
    import json

    from ci_env import codec
    from ci_env.capsule.unreproduced import unreproduced

    layers = [
        {"layer": part.layer, "part": part.part, "size_bytes": part.blob.size, "redacted": part.redacted}
        for part in capsule.layers
    ]
    contents = [
        {"kind": content.kind, "digest": content.blob.digest, "size_bytes": content.blob.size}
        for content in capsule.contents
    ]
    facts = {
        "size_bytes": size_bytes,
        "images": [base.reference for base in capsule.bases],
        "layers": layers,
        "contents": contents,
        "not_reproduced": unreproduced(record, capsule),
        "record": codec.encode(record),
    }
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")


def _verify(path: Path, key: Path | None, attestation: Path | None) -> None:
    from ci_env.capsules.file import CapsuleFile
    from ci_env.capsules.opening import read_capsule
    from ci_env.digest import Digest
    from ci_env.ui.sizes import size

    if key is None and attestation is not None:
        raise ConfigError("--attestation needs --key", hint="name the public key of whoever signed it")
    with CapsuleFile(path) as file:
        count = file.check()
        read = read_capsule(file, what=str(path))
        signed = None
        if key is not None:
            signed = attestation or path.with_name(f"{path.name}.intoto.json")
            _check_attested(signed, key, {Digest.of(file.root()), read.capsule.record.digest})
        sys.stdout.write(f"{path}: run {read.record.run_id}, {count} blobs in {size(file.size)}, all as they were\n")
    if signed is not None:
        sys.stdout.write(f"{signed}: of this run, signed with the key of {key}\n")


def _check_attested(path: Path, key: Path, made: set[Digest]) -> None:
    from ci_env.capsule.envelope import MAX_BYTES
    from ci_env.capsule.provenance import check_statement
    from ci_env.capsules.signing import verified
    from ci_env.files import explained

    if not path.is_file():
        raise ConfigError(f"there is no attestation {path}", hint="`ci-env runs attest --key` makes one")
    with explained("read", path), open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    check_statement(verified(content, key, what=str(path)), made, what=str(path))


def _push(path: Path, text: str) -> None:
    from ci_env.capsules.file import CapsuleFile
    from ci_env.capsules.push import push
    from ci_env.cli.opened import opened
    from ci_env.cli.sourced import reference
    from ci_env.oci.registries import Registries

    place = reference(text)
    if place.digest is not None:
        raise ConfigError(f"{text!r} is no name to push to", hint="name it as in ghcr.io/team/failures:42")
    registries = Registries(os.environ, tell)
    with (
        opened() as everything,
        CapsuleFile(path) as file,
        registries.target(place, everything.scratch, source=None) as target,
    ):
        digest = push(file, target, what=str(path))
    sys.stdout.write(f"oci://{place.registry}/{place.repository}@{digest}\n")


def _secrets(record: Record, values: Given) -> tuple[bytes, ...]:
    """Return the values of the run's secrets, which its layers may hold. ConfigError where one is not given."""
    from ci_env.cli.secrets import Declared, gather

    declared = {secret: job.name for job in record.plan.jobs for step in job.steps for secret in step.secrets}
    wanted = [Declared(secret, job) for secret, job in declared.items()]
    return gather(values, wanted, tell, otherwise="; they are needed to take them out").values()


def _size(text: str) -> int:
    from ci_env.pipeline.quantities import parse_size

    return parse_size(text)


def _recorded(everything: Opened, name: str) -> Record:
    from ci_env.cli.sourced import ended_run

    return ended_run(name, everything.store, hint="pack it when it has ended")

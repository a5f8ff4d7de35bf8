"""Secrets in all that a capsule is made of, in all their forms: none is in its bytes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ci_env.capsules.file import CapsuleFile
from ci_env.capsules.opening import open_capsule, read_capsule
from ci_env.capsules.pack import Wish, pack
from ci_env.digest import Digest
from ci_env.errors import ConfigError
from tests.capsule_material import CONTENTS, LEFT, STEP, desk, failed_run
from tests.oci_builder import Item, d, f, link, tar

SECRETS = tuple(f"{os.urandom(9).hex()}/{number}+'\"é {os.urandom(6).hex()}".encode() for number in range(50))
ENCODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "plain": lambda secret: secret,
    "base64": base64.b64encode,
    "base64 in something": lambda secret: base64.b64encode(b"user:" + secret + b"@host"),
    "base64url": base64.urlsafe_b64encode,
    "url": lambda secret: urllib.parse.quote(secret, safe="").encode(),
    "json": lambda secret: json.dumps(secret.decode()).encode(),
    "hex": lambda secret: secret.hex().encode(),
}
PAGE = 2**20
STARS = "*" * len(SECRETS[0].hex())


def traces(secret: bytes) -> set[bytes]:
    """Return what would give the secret away: each encoding, without what stands around it."""
    inside = base64.b64encode(b"user:" + secret + b"@host")
    found = {encode(secret) for name, encode in ENCODINGS.items() if name not in ("base64 in something", "json")}
    return found | {inside[8 : len(inside) - 12], json.dumps(secret.decode())[1:-1].encode()}


def planted() -> bytes:
    """Return a file that holds each secret in each encoding, two of them across where a reader's piece ends."""
    lines = [encode(secret) for secret in SECRETS for encode in ENCODINGS.values()]
    content = b"\n".join(lines)
    assert len(content) < PAGE // 2
    return content + b"\n" + b"." * (PAGE - len(content) - 1 - len(SECRETS[7]) // 2) + SECRETS[7] + b"\n" + SECRETS[8]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    """Give the plain bytes of a capsule that is full of secrets, and the capsule."""
    top = tmp_path_factory.mktemp("secrets")
    content = planted()
    log, artifacts = b"log\n" + content, tar([f("workspace/report.xml", content), f("workspace/" + named(3), "x")])
    more: tuple[Item, ...] = (
        d("workspace"),
        f("workspace/env", content, SCHILY__xattr__user__token=SECRETS[1].decode()),
        f(f"workspace/{named(2)}", "named"),
        d(f"workspace/{named(4)}"),
        f(f"workspace/{named(4)}/below", "below"),
        link("workspace/link", f"/{named(5)}"),
        f("workspace/innocent", "innocent"),
    )
    record = failed_run()
    test = record.jobs[0].steps[1]
    test = replace(test, output=Digest.of(log), artifacts=Digest.of(artifacts))
    build = replace(record.jobs[0], steps=(record.jobs[0].steps[0], test, record.jobs[0].steps[2]))
    planned = record.plan.jobs[0]
    told = replace(
        planned.steps[1],
        env={"TOKEN": SECRETS[10].decode(), "URL": f"https://x:{urllib.parse.quote(SECRETS[11], safe='')}@host"},
        argv=("sh", "-c", f"curl {SECRETS[12].decode()}"),
    )
    plan = replace(
        record.plan,
        jobs=(replace(planned, steps=(planned.steps[0], told, planned.steps[2])), record.plan.jobs[1]),
    )
    record = replace(record, plan=plan, jobs=(build, record.jobs[1]), ci={"message": SECRETS[13].decode()})
    capsule = top / "run.cienv"
    with desk(top / "maker") as maker:
        maker.fill({**CONTENTS, STEP: (*CONTENTS[STEP], *more), LEFT: more})
        maker.shelf.blobs.put(log)
        maker.shelf.blobs.put(artifacts)
        pack(record, top / "open.cienv", maker.shelf, Wish())
        pack(record, capsule, maker.shelf, Wish(secrets=SECRETS))
    without_care = unpacked(top / "open.cienv")
    assert all(trace in without_care for secret in SECRETS for trace in traces(secret))
    return unpacked(capsule), capsule


def named(number: int) -> str:
    """Return what can be a file's name, and holds a secret."""
    return f"of-{SECRETS[number].hex()}"


def unpacked(capsule: Path) -> bytes:
    return subprocess.run(["zstd", "-dcq", str(capsule)], capture_output=True, check=True, timeout=60).stdout


def test_none_is_in_its_bytes(plain: tuple[bytes, Path]) -> None:
    content, _ = plain
    found = [(number, trace) for number, secret in enumerate(SECRETS) for trace in traces(secret) if trace in content]
    assert found == []


def test_what_comes_back_instead(plain: tuple[bytes, Path], tmp_path: Path) -> None:
    _, capsule = plain
    with desk(tmp_path / "other") as other, CapsuleFile(capsule) as file:
        file.check()
        redacted = {part.layer: part.redacted for part in read_capsule(file, what="it").capsule.layers}
        assert redacted == {**dict.fromkeys(CONTENTS, 0), STEP: 5, LEFT: 5}
        record, _ = open_capsule(file, other.shelf, what="it")
        after = record.jobs[0].steps[1].after
        assert after is not None
        tree = other.tree(after[-1])
    assert tree["workspace/innocent"] == b"innocent"
    env = tree["workspace/env"]
    assert env is not None
    assert len(env) == len(planted())
    assert env.splitlines()[0] == b"*" * len(SECRETS[0])
    starred = [path for path in tree if path.startswith("workspace/of-***")]
    assert sorted(tree[path] or b"" for path in starred) == [b"", b"below", b"named"]
    assert {path.partition("~")[0] for path in starred if tree[path] == b"named"} == {f"workspace/of-{STARS}"}
    step = record.plan.jobs[0].steps[1]
    assert step.env["TOKEN"] == "*" * len(SECRETS[10].decode().encode())
    assert step.argv[-1].startswith("curl ***")


def test_a_secret_that_is_a_word_of_records(tmp_path: Path) -> None:
    with desk(tmp_path / "maker") as maker:
        maker.fill()
        with pytest.raises(ConfigError, match="cannot be without the secrets"):
            pack(failed_run(), tmp_path / "run.cienv", maker.shelf, Wish(secrets=(b"failed",)))
    assert not (tmp_path / "run.cienv").exists()

"""`ci-env runs attest` and `capsule verify --key`: provenance of real runs, signatures that openssl agrees with."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.account import Who
from tests.installed import CiEnv
from tests.project import Project, project

JOBS = """
only:
  steps:
    - {name: make, run: 'mkdir dist; echo one >dist/a; echo two >dist/b', artifacts: [dist/]}
    - {name: test, run: 'echo broken; exit 3'}
"""
PAYLOAD_TYPE = "application/vnd.in-toto+json"


@pytest.fixture
def made(ci_env: Callable[[Who], CiEnv]) -> Project:
    made = project(ci_env("user"), JOBS)
    made.run(code=1)
    return made


def make_key(made: Project, name: str) -> None:
    openssl(made.root, "genpkey", "-algorithm", "ed25519", "-out", f"{name}.pem")
    openssl(made.root, "pkey", "-in", f"{name}.pem", "-pubout", "-out", f"{name}.pub")
    made.ci_env.own(made.root)


def openssl(directory: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, check=True, timeout=60)


def test_a_failed_run_unsigned(made: Project) -> None:
    stated = json.loads(made.call("runs", "attest").out)
    subjects = {one["name"]: one["digest"]["sha256"] for one in stated["subject"]}
    assert subjects["only/make/dist/a"] == hashlib.sha256(b"one\n").hexdigest()
    assert subjects["only/make/dist/b"] == hashlib.sha256(b"two\n").hexdigest()
    (written,) = (made.ci_env.store / "runs").glob("*/record.json")
    assert subjects["record.json"] == hashlib.sha256(written.read_bytes()).hexdigest()
    assert stated["predicate"]["runDetails"]["cienv_result"]["status"] == "failed"
    commit = made.ci_env.git(made.root, "rev-parse", "HEAD", "HEAD^{tree}").split()
    source = stated["predicate"]["buildDefinition"]["resolvedDependencies"][0]
    assert [source["digest"]["gitCommit"], source["digest"]["gitTree"]] == commit


def test_signed_and_checked_by_others(made: Project) -> None:
    make_key(made, "key")
    assert made.call("capsule", "pack", "-o", "run.cienv").code == 0
    plain = made.call("runs", "attest").out.strip()
    signed = made.call("runs", "attest", "--key", "key.pem", "-o", "run.cienv.intoto.json")
    assert (signed.code, signed.out, signed.err) == (0, "", "")
    envelope = json.loads((made.root / "run.cienv.intoto.json").read_text())
    payload = base64.b64decode(envelope["payload"])
    assert payload.decode() == plain
    kind = PAYLOAD_TYPE.encode()
    (made.root / "pae").write_bytes(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
    (made.root / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    checked = openssl(
        made.root, "pkeyutl", "-verify", "-pubin", "-inkey", "key.pub", "-rawin", "-in", "pae", "-sigfile", "sig"
    )
    assert checked.stdout == b"Signature Verified Successfully\n"
    called = made.call("capsule", "verify", "run.cienv", "--key", "key.pub")
    assert (called.code, called.err) == (0, "")
    assert called.out.splitlines()[1] == "run.cienv.intoto.json: of this run, signed with the key of key.pub"

    from_file = made.call("runs", "attest", "./run.cienv", "--key", "key.pem", "-o", "other.json")
    assert from_file.code == 0
    called = made.call("capsule", "verify", "run.cienv", "--key", "key.pub", "--attestation", "other.json")
    assert called.code == 0


def test_what_openssl_has_signed_is_good(made: Project) -> None:
    make_key(made, "key")
    made.call("capsule", "pack", "-o", "run.cienv")
    payload = made.call("runs", "attest").out.encode()
    kind = PAYLOAD_TYPE.encode()
    (made.root / "pae").write_bytes(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
    openssl(made.root, "pkeyutl", "-sign", "-inkey", "key.pem", "-rawin", "-in", "pae", "-out", "sig")
    signature = base64.b64encode((made.root / "sig").read_bytes()).decode()
    envelope = {"payloadType": PAYLOAD_TYPE, "payload": base64.b64encode(payload).decode()}
    made.put("own.json", json.dumps({**envelope, "signatures": [{"sig": signature}]}))
    called = made.call("capsule", "verify", "run.cienv", "--key", "key.pub", "--attestation", "own.json")
    assert called.code == 0, called.err


def test_what_is_not_to_be_trusted(made: Project) -> None:
    make_key(made, "key")
    make_key(made, "stranger")
    made.call("capsule", "pack", "-o", "run.cienv")
    made.call("runs", "attest", "--key", "key.pem", "-o", "good.json")
    good = json.loads((made.root / "good.json").read_text())
    payload = json.loads(base64.b64decode(good["payload"]))
    payload["predicate"]["runDetails"]["cienv_result"]["status"] = "passed"
    changed = base64.b64encode(json.dumps(payload).encode()).decode()
    hostile = {
        "changed payload": (good | {"payload": changed}, 5),
        "cut signature": (good | {"signatures": [{"sig": good["signatures"][0]["sig"][:40]}]}, 5),
        "wrong type": (good | {"payloadType": "text/plain"}, 2),
        "two signatures": (good | {"signatures": good["signatures"] * 2}, 2),
        "none": (good | {"signatures": []}, 2),
        "huge": ({"x": "y" * 2**25}, 2),
    }

    def verify(key: str, attestation: str) -> int:
        called = made.call("capsule", "verify", "run.cienv", "--key", key, "--attestation", attestation)
        assert called.out == "" or called.code == 0
        return called.code

    assert verify("key.pub", "good.json") == 0
    for name, (document, code) in hostile.items():
        made.put("hostile.json", json.dumps(document))
        assert (name, verify("key.pub", "hostile.json")) == (name, code)
    assert verify("stranger.pub", "good.json") == 5
    assert verify("key.pem", "good.json") == 2
    assert verify("ci-env.yml", "good.json") == 2
    assert verify("missing.pub", "good.json") == 2
    assert verify("key.pub", "missing.json") == 2
    made.run("--no-cache", code=1)
    made.call("runs", "attest", "--key", "key.pem", "-o", "later.json")
    assert verify("key.pub", "later.json") == 5


def test_keys_that_cannot_sign(made: Project) -> None:
    openssl(made.root, "genpkey", "-algorithm", "rsa", "-out", "rsa.pem")
    openssl(made.root, "genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x", "-out", "locked.pem")
    made.ci_env.own(made.root)
    for key in ("rsa.pem", "locked.pem", "ci-env.yml", "missing.pem", "."):
        called = made.call("runs", "attest", "--key", key, "-o", "out.json")
        assert (key, called.code) == (key, 2)
        assert not (made.root / "out.json").exists()

"""A run as a statement, and which statements speak of what."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ci_env.capsule.provenance import PREDICATE, STATEMENT, Subject, check_statement, statement
from ci_env.digest import Digest
from ci_env.errors import ConfigError, IntegrityError
from tests.capsule_material import ARTIFACTS, LEFT, LOG, failed_run

MADE = Digest.of(b"made")


def test_a_failed_run() -> None:
    record = replace(failed_run(), duration_ms=61_500)
    stated = json.loads(json.dumps(statement(record, [Subject("build/test/x", MADE)], builder="https://ci/1")))
    assert stated["_type"] == "https://in-toto.io/Statement/v1"
    assert stated["predicateType"] == "https://slsa.dev/provenance/v1"
    assert stated["subject"] == [{"name": "build/test/x", "digest": {"sha256": MADE.hex}}]
    definition, details = stated["predicate"]["buildDefinition"], stated["predicate"]["runDetails"]
    assert definition["externalParameters"] == {"file": "ci-env.yml", "jobs": ["build", "other"]}
    source, image = definition["resolvedDependencies"]  # one image, though two jobs use it
    assert source["digest"] == {"gitCommit": "c" * 40, "gitTree": "a" * 40}
    assert image["digest"] == {"sha256": Digest.of(b"manifest").hex}
    assert details["builder"] == {"id": "https://ci/1"}
    assert details["metadata"] == {
        "invocationId": record.run_id,
        "startedOn": "2026-01-01T12:00:00Z",
        "finishedOn": "2026-01-01T12:01:01Z",
    }
    assert details["cienv_result"]["status"] == "failed"
    assert [step["status"] for step in details["cienv_result"]["steps"]] == ["passed", "failed", "skipped", "passed"]
    made = {one["name"]: one["digest"] for one in details["byproducts"]}
    assert made["log build/test"] == {"sha256": Digest.of(LOG).hex}
    assert made["artifacts build/test"] == {"sha256": Digest.of(ARTIFACTS).hex}
    assert made["layer build/test"] == {"ciEnvLayer": LEFT.hex}


def test_what_a_statement_speaks_of() -> None:
    content = json.dumps(statement(failed_run(), [Subject("other", Digest.of(b"o")), Subject("x", MADE)])).encode()
    check_statement(content, {MADE}, what="it")
    with pytest.raises(IntegrityError, match="another run"):
        check_statement(content, {Digest.of(b"else")}, what="it")


@pytest.mark.parametrize(
    "document",
    [
        {"_type": "https://in-toto.io/Statement/v0.1", "predicateType": PREDICATE},
        {"_type": STATEMENT, "predicateType": "https://spdx.dev/Document"},
        {},
        [],
    ],
)
def test_other_statements(document: object) -> None:
    with pytest.raises(ConfigError):
        check_statement(json.dumps(document).encode(), {MADE}, what="it")


@pytest.mark.parametrize("subject", [None, [], {}, [None], [{"digest": "sha256"}], [{"digest": {"sha256": [1]}}]])
def test_subjects_that_are_none(subject: object) -> None:
    document = {"_type": STATEMENT, "predicateType": PREDICATE, "subject": subject}
    with pytest.raises(IntegrityError):
        check_statement(json.dumps(document).encode(), {MADE}, what="it")

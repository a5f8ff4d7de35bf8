"""The documents of an image that was built: what they keep of the base, and what they add."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ci_env.digest import Digest
from ci_env.oci.assemble import Base, Built, PlainLayer, assemble
from ci_env.oci.document import Manifest, parse_config, parse_document
from ci_env.oci.platform import Platform
from tests.oci_builder import f, image, tar

BUILT = Built(
    layers=(PlainLayer(Digest.of(b"new"), 10),),
    config={"Env": ["A=ü"], "Cmd": ["sh"]},
    author=None,
    history=(("COPY a /", False), ("CMD sh", True)),
    platform=Platform("linux", "arm64", "v8"),
    created="1980-01-01T00:00:00Z",
)


@pytest.fixture
def base() -> Base:
    made = image([tar([f("a")]), tar([f("b")])], config={"Env": ["PATH=/bin"]})
    return Base(made.manifest, made.blobs[digest_of_config(made.manifest)])


def digest_of_config(manifest: bytes) -> str:
    return str(json.loads(manifest)["config"]["digest"])


def test_on_a_base(base: Base) -> None:
    manifest, config = assemble(base, BUILT)
    document = parse_document(manifest, what="manifest")
    assert isinstance(document, Manifest)
    assert document.config.digest == Digest.of(config)
    original = parse_document(base.manifest, what="base")
    assert isinstance(original, Manifest)
    assert [layer.digest for layer in document.layers] == [*(one.digest for one in original.layers), Digest.of(b"new")]
    assert {layer.media_type.partition("+")[0] for layer in document.layers} == {
        "application/vnd.oci.image.layer.v1.tar"
    }
    facts = parse_config(config, layers=3, what="config")
    assert (facts.env, facts.platform.architecture) == (("A=ü",), json.loads(base.config)["architecture"])


def test_on_nothing() -> None:
    manifest, config = assemble(None, replace(BUILT, author="me"))
    found = json.loads(config)
    assert (found["architecture"], found["variant"], found["author"]) == ("arm64", "v8", "me")
    assert [entry.get("empty_layer", False) for entry in found["history"]] == [False, True]
    assert parse_config(config, layers=1, what="config").diff_ids == (Digest.of(b"new"),)
    assert len(json.loads(manifest)["layers"]) == 1


def test_equal_builds_give_equal_bytes(base: Base) -> None:
    assert assemble(base, BUILT) == assemble(base, BUILT)

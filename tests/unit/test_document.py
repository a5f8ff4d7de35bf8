"""Index, manifest and config: what is read, what is refused, and which image of many is chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from ci_env.digest import Digest
from ci_env.errors import ConfigError, IntegrityError
from ci_env.oci import platform
from ci_env.oci.document import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Index,
    Manifest,
    chain_ids,
    parse_config,
    parse_document,
)
from ci_env.oci.platform import Platform
from tests.oci_builder import CONFIG_TYPE, LAYER_TYPE, descriptor, embedded

CONFIG: Mapping[str, object] = descriptor(CONFIG_TYPE, b"{}")
LAYER: Mapping[str, object] = descriptor(LAYER_TYPE, b"layer")
A, B = Digest("sha256:" + "a" * 64), Digest("sha256:" + "b" * 64)


def manifest(**changes: object) -> bytes:
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": [LAYER], **changes}
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


def config(**changes: object) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [A]}
    return json.dumps({"os": "linux", "architecture": "amd64", "rootfs": rootfs, **changes}).encode()


class TestManifest:
    @pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST, None])
    def test_kinds(self, media_type: str | None) -> None:
        found = parse_document(manifest(mediaType=media_type, unknown=[1]), what="m")
        assert isinstance(found, Manifest)
        assert (found.config.digest, found.layers[0].size) == (CONFIG["digest"], 5)

    @pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_INDEX, None])
    def test_index(self, media_type: str | None) -> None:
        entry = {**CONFIG, "platform": {"os": "linux", "architecture": "arm64", "variant": "v8", "features": "x"}}
        found = parse_document(manifest(mediaType=media_type, layers=None, manifests=[entry]), what="i")
        assert isinstance(found, Index)
        assert found.manifests[0].platform == Platform("linux", "arm64", "v8")

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "not valid JSON"),
            (b"\xef\xbb\xbf{}", "not valid JSON"),
            (b"\xff{}", "not valid JSON"),
            (b"[" * 100_000, "not valid JSON"),
            (b'{"a": ["\\ud83d\\ude00", "\\uD83D"]}', "not valid JSON.*half of a pair"),
            (b'{"schemaVersion": 2, "schemaVersion": 2}', "key 'schemaVersion' is there twice"),
            (b"[]", "not a JSON object"),
            (b" " * (4 * 2**20 + 1), "larger than 4 MiB"),
            (manifest(schemaVersion=1), "schema 1"),
            (manifest(schemaVersion=None), "schemaVersion is None"),
            (manifest(schemaVersion=3), "schemaVersion is 3"),
            (manifest(manifests=[]), "an index and a manifest at once"),
            (manifest(mediaType="text/html"), "its type is 'text/html'"),
            (manifest(layers=None), "no list 'layers'"),
            (manifest(config=None), "no object 'config'"),
            (manifest(config=descriptor("application/vnd.oci.empty.v1+json", b"{}")), "an artifact of type"),
            (manifest(artifactType="application/x"), "an artifact of type 'application/x'"),
            (manifest(layers=[descriptor(LAYER_TYPE.replace("v1", "nondistributable.v1"), b"")]), "may not distribute"),
            (manifest(layers=[descriptor("application/x", b"")]), "not a tar archive"),
            (manifest(layers=[{**LAYER, "size": -1}]), "no valid size: -1"),
            (manifest(layers=[{**LAYER, "size": 2**63}]), "no valid size"),
            (manifest(layers=[{**LAYER, "size": True}]), "no valid size: True"),
            (manifest(layers=[{**LAYER, "size": 1.0}]), "no valid size"),
            (manifest(layers=[{**LAYER, "digest": "sha256:../x"}]), "not a digest"),
            (manifest(layers=[{**LAYER, "digest": "sha256:" + "A" * 64}]), "not a digest"),
            (manifest(layers=[{**LAYER, "digest": "sha256:" + "a" * 65}]), "not a digest"),
            (manifest(layers=[{**LAYER, "digest": "blake3:" + "a" * 64}]), "unsupported digest algorithm"),
            (manifest(layers=["x"]), r"layers\[0\] is not a descriptor"),
            (manifest(layers=[{**LAYER, "annotations": {"a": 1}}]), "no text 'a'"),
        ],
    )
    def test_refused(self, content: bytes, why: str) -> None:
        with pytest.raises(ConfigError, match=why):
            parse_document(content, what="it")

    def test_sha512_is_a_digest(self) -> None:
        found = parse_document(manifest(layers=[{**LAYER, "digest": "sha512:" + "a" * 128}]), what="m")
        assert isinstance(found, Manifest)
        assert found.layers[0].digest.algorithm == "sha512"

    def test_d6_embedded_data(self) -> None:
        parse_document(manifest(layers=[{**LAYER, "data": embedded(b"layer")}]), what="m")
        with pytest.raises(IntegrityError, match="embeds 5 bytes"):
            parse_document(manifest(layers=[{**LAYER, "data": embedded(b"LAYER")}]), what="m")


class TestConfig:
    def test_all(self) -> None:
        inner = {"Env": ["A=1"], "User": "u", "WorkingDir": "/w", "Entrypoint": ["/e"], "Cmd": None, "Labels": None}
        found = parse_config(config(config=inner, variant=""), layers=1, what="c")
        assert (found.env, found.user, found.workdir) == (("A=1",), "u", "/w")
        assert (found.entrypoint, found.command) == (("/e",), ())
        assert (found.platform, found.diff_ids) == (Platform("linux", "amd64"), (A,))

    @pytest.mark.parametrize("inner", [None, {}])
    def test_least(self, inner: object) -> None:
        assert parse_config(config(config=inner), layers=1, what="c").env == ()

    @pytest.mark.parametrize("layers", [0, 2])
    def test_number_of_layers(self, layers: int) -> None:
        with pytest.raises(ConfigError, match="lists 1 diff_ids"):
            parse_config(config(), layers=layers, what="c")

    @pytest.mark.parametrize(
        "changes",
        [
            {"os": None},
            {"rootfs": None},
            {"config": []},
            {"config": {"Env": "A=1"}},
            {"config": {"Env": ["A"]}},
            {"config": {"Env": ["=1"]}},
            {"config": {"Env": ["A=\0"]}},
            {"config": {"User": 0}},
            {"config": {"User": "0\0"}},
            {"config": {"WorkingDir": "/\0"}},
            {"config": {"Cmd": [1]}},
        ],
    )
    def test_refused(self, changes: dict[str, object]) -> None:
        with pytest.raises(ConfigError):
            parse_config(config(**changes), layers=1, what="c")


def test_chain_ids() -> None:
    # the second: printf 'sha256:aa... sha256:bb...' | sha256sum
    assert chain_ids([]) == ()
    assert chain_ids([A]) == (A,)
    first, second, third = chain_ids([A, B, A])
    assert first == A
    assert second == "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"
    assert third == Digest.of(f"{second} {A}".encode())


class TestPlatforms:
    @pytest.mark.parametrize(
        ("machine", "expected"),
        [
            ("x86_64", "linux/amd64"),
            ("aarch64", "linux/arm64/v8"),
            ("armv7l", "linux/arm/v7"),
            ("mips", "linux/mips"),
        ],
    )
    def test_of_machine(self, machine: str, expected: str) -> None:
        assert str(platform.of_machine(machine)) == expected
        assert platform.parse(expected) == platform.of_machine(machine)

    @pytest.mark.parametrize("text", ["", "linux", "linux/", "a/b/c/d", "linux/amd 64", "/amd64"])
    def test_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="not a platform"):
            platform.parse(text)

    @pytest.mark.parametrize(
        ("wanted", "offers", "chosen"),
        [
            ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
            ("linux/amd64", ["linux/amd64", "linux/amd64"], 0),
            ("linux/amd64", ["windows/amd64", "linux/386"], None),
            ("linux/amd64", ["linux/amd64/v2"], None),
            ("linux/amd64", ["linux/amd64/v1"], 0),
            ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], 1),
            ("linux/arm64/v8", ["linux/arm64"], 0),
            ("linux/arm64", ["linux/arm64/v8"], 0),
            ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm/v8"], 1),
            ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v7"], 1),
            ("linux/arm/v6", ["linux/arm/v7"], None),
            ("linux/amd64", ["", ""], None),
            ("linux/amd64", [""], 0),
            ("linux/riscv64", ["linux/riscv64"], 0),
            ("linux/amd64", [], None),
        ],
    )
    def test_best(self, wanted: str, offers: list[str], chosen: int | None) -> None:
        parsed = [platform.parse(offer) if offer else None for offer in offers]
        assert platform.best(parsed, platform.parse(wanted)) == chosen

"""Names of images: docker's defaults, canonical form, and what is refused with which words."""

from __future__ import annotations

import pytest

from ci_env.oci.reference import Reference, parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:12", "docker.io/library/debian:12"),
        ("library/debian:12", "docker.io/library/debian:12"),
        ("docker.io/debian", "docker.io/library/debian:latest"),
        ("index.docker.io/team/app", "docker.io/team/app:latest"),
        ("team/app", "docker.io/team/app:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("localhost:5000/team/x:1.2_a-b", "localhost:5000/team/x:1.2_a-b"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest"),
        ("[::1]/x", "[::1]/x:latest"),
        ("GHCR.io/team/x", "ghcr.io/team/x:latest"),
        ("ghcr.io/a/b/c__d/e---f/g.h", "ghcr.io/a/b/c__d/e---f/g.h:latest"),
        (f"debian@{DIGEST}", f"docker.io/library/debian@{DIGEST}"),
        (f"localhost:5000/x:1@{DIGEST}", f"localhost:5000/x:1@{DIGEST}"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    assert str(parse(text)) == canonical
    assert parse(canonical) == parse(text)


def test_parts() -> None:
    assert parse(f"r.example:1/a/b:t@{DIGEST}") == Reference("r.example:1", "a/b", "t", parse(f"x@{DIGEST}").digest)


def test_digest_decides() -> None:
    assert parse(f"x:1@{DIGEST}").target == DIGEST
    assert parse("x:1").target == "1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it has no name"),
        (":tag", "it has no name"),
        ("localhost:5000/", "it has no name"),
        ("Debian", "'Debian' must be lower case"),
        ("a//b", "'' is not a repository name"),
        ("a/../b", "'..' is not a repository name"),
        ("a b", "'a b' is not a repository name"),
        ("-a", "'-a' is not a repository name"),
        ("x:", "'' is not a tag"),
        ("x:-1", "'-1' is not a tag"),
        ("x:" + "t" * 129, "is not a tag"),
        ("x:1\n", "is not a tag"),
        ("x@", "not a digest"),
        ("x@sha256:abc", "not a digest"),
        ("x@sha256:" + "A" * 64, "not a digest"),
        ("x@blake3:" + "a" * 64, "unsupported digest algorithm 'blake3'"),
        ("x@sha256:../" + "a" * 61, "not a digest"),
        ("r.example:0/x", "is not a registry host"),
        ("r.example:65536/x", "is not a registry host"),
        ("r.example:/x", "is not a registry host"),
        ("-r.example/x", "is not a registry host"),
        ("user@r.example/x", "not a digest"),
        ("http://r.example/x", "write it without http://"),
        ("[::1/x", "is not a registry host"),
        ("a/" * 127 + "abc", "at most 255 characters"),
    ],
)
def test_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="invalid image") as caught:
        parse(text)
    assert why in str(caught.value)

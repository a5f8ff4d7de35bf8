"""Names of images in registries, as people write them. Pure: knows no network and no registry's address."""

from __future__ import annotations

import re

from ci_env.digest import Digest
from ci_env.frozen import dataclass

_DEFAULT_REGISTRY = "docker.io"
_MAX_NAME_LENGTH = 255
# distribution-spec, "Pulling manifests": <name> and <reference>.
_COMPONENT = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*\Z")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z")
_HOST_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"({_HOST_LABEL}(\.{_HOST_LABEL})*|\[[0-9a-fA-F:.]+\])(:[0-9]{{1,5}})?\Z")


@dataclass(frozen=True, slots=True)
class Reference:
    """An image in a registry. With both, `digest` decides and `tag` only informs; one of them is always there."""

    registry: str
    """host[:port], lower case"""
    repository: str
    tag: str | None
    digest: Digest | None

    def __str__(self) -> str:
        """Return the canonical form, which `parse` reads back."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @property
    def target(self) -> str:
        """What to ask the registry for: the digest where there is one, else the tag."""
        return self.digest or self.tag or "latest"


def parse(text: str) -> Reference:
    """Return the image that `text` names, with docker's defaults filled in; ValueError says what is wrong with it.

    Defaults: registry docker.io, there the repository library/NAME for a bare NAME, and tag latest without a digest.
    """
    if "://" in text:
        raise ValueError(f"invalid image {text!r}: write it without {text.partition('://')[0]}://")
    name, at, digest = text.partition("@")
    name, tag = _split_tag(name)
    registry, repository = _split_registry(name)
    _check_repository(repository, text)
    if tag is not None and not _TAG.match(tag):
        raise ValueError(f"invalid image {text!r}: {tag!r} is not a tag (letters, digits, '_', '.', '-'; at most 128)")
    return Reference(
        registry=_checked_registry(registry, text),
        repository=repository,
        tag=tag if tag is not None or at else "latest",
        digest=_parse_digest(digest, text) if at else None,
    )


def _split_tag(name: str) -> tuple[str, str | None]:
    """Cut a tag off. A colon before the last slash belongs to a port."""
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, None)


def _split_registry(name: str) -> tuple[str, str]:
    """Cut the registry off. Like docker: the first part is one only if it has a dot or a colon, or is localhost."""
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or any(mark in first for mark in ".:[")):
        registry, repository = first.lower(), rest
    else:
        registry, repository = _DEFAULT_REGISTRY, name
    if registry in ("index.docker.io", "registry-1.docker.io"):
        registry = _DEFAULT_REGISTRY
    if registry == _DEFAULT_REGISTRY and repository and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository


def _check_repository(repository: str, text: str) -> None:
    if not repository:
        raise ValueError(f"invalid image {text!r}: it has no name")
    for component in repository.removeprefix("library/").split("/"):
        if component != component.lower():
            raise ValueError(f"invalid image {text!r}: {component!r} must be lower case")
        if not _COMPONENT.match(component):
            rule = "letters and digits, separated by . _ or -"
            raise ValueError(f"invalid image {text!r}: {component!r} is not a repository name ({rule})")
    if len(repository) > _MAX_NAME_LENGTH:
        raise ValueError(f"invalid image {text!r}: a repository name has at most {_MAX_NAME_LENGTH} characters")


def _checked_registry(registry: str, text: str) -> str:
    port = registry.rpartition(":")[2] if not registry.endswith("]") and ":" in registry else "1"
    if not _REGISTRY.match(registry) or not 0 < int(port) <= 65535:
        raise ValueError(f"invalid image {text!r}: {registry!r} is not a registry host")
    return registry


def _parse_digest(digest: str, text: str) -> Digest:
    try:
        return Digest.parse(digest)
    except ValueError as error:
        raise ValueError(f"invalid image {text!r}: {error}") from error

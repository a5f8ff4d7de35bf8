"""Images in archives that `docker save` writes, the old form and the one of docker 25 and later. ImageSource of them.

Nothing is unpacked to a path that the archive names: its files are copied to numbered files of ours, and links among
them are looked up by name. Such an archive has no manifest of the registry's kind, so one is made, of what was read.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.files import explained
from ci_env.frozen import dataclass
from ci_env.oci.decompress import decompress
from ci_env.oci.document import MAX_DOCUMENT_BYTES, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, parse_json
from ci_env.oci.reference import parse
from ci_env.oci.tar import Archive
from ci_env.oci.verify import Reader

_MANIFEST = "manifest.json"
_PIECE = 2**20
_MAX_LINKS = 40  # as the kernel
_MAX_MEMBERS = 10_000
_MAX_BYTES = 64 * 2**30


@dataclass(frozen=True, slots=True)
class _Image:
    """An image as `manifest.json` lists it: names of members."""

    config: str
    layers: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Member:
    file: Path
    digest: Digest
    size: int


class DockerArchiveSource:
    """One image of a docker archive. Implements ImageSource."""

    def __init__(self, what: Path, members: Mapping[str, _Member | str], name: str | None) -> None:
        """`members`: files and links by name; `name`: chooses among several images."""
        self._what = what
        self._members = members
        self._image = _chosen(self._images(), name, what)
        config = self._descriptor(self._image.config, OCI_CONFIG)
        layers = [self._descriptor(layer, OCI_LAYER) for layer in self._image.layers]
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
        self._root = json.dumps(document, separators=(",", ":")).encode()
        names = (self._image.config, *self._image.layers)
        self._blobs = {(member := self._member(name)).digest: member.file for name in names}

    @property
    def names(self) -> tuple[str, ...]:
        """What the image is called in the archive."""
        return self._image.names

    def root(self) -> bytes:
        return self._root

    def manifest(self, descriptor: Descriptor) -> bytes:
        raise ConfigError(f"{self._what} has no manifest {descriptor.digest}")

    @contextmanager
    def blob(self, descriptor: Descriptor) -> Generator[Reader]:
        path = self._blobs[descriptor.digest]
        with explained("read", path), open(path, "rb") as file:
            yield file

    def worth_retrying(self) -> bool:
        return False

    def _images(self) -> list[_Image]:
        if _MANIFEST not in self._members:
            raise ConfigError(
                f"{self._what} is not a docker archive: it has no {_MANIFEST}", hint="`docker save` writes one"
            )
        member = self._member(_MANIFEST)
        with explained("read", member.file), open(member.file, "rb") as file:
            data = parse_json(file.read(MAX_DOCUMENT_BYTES + 1), what=f"{self._what}: {_MANIFEST}")
        if not isinstance(data, list) or not data:
            raise ConfigError(f"{self._what}: {_MANIFEST} is not a list of images")
        return [
            _parse_image(item, f"{self._what}: {_MANIFEST}[{i}]") for i, item in enumerate(cast("list[object]", data))
        ]

    def _member(self, name: str) -> _Member:
        """Return the file that a name leads to; links may stand for layers that another image has too."""
        at = posixpath.normpath(name)
        for _ in range(_MAX_LINKS):
            found = self._members.get(at)
            if found is None:
                raise ConfigError(f"{self._what} is not whole: it has no {name}", hint="save the image again")
            if isinstance(found, _Member):
                return found
            at = found
        raise ConfigError(f"{self._what}: {name} is a link that leads nowhere")

    def _descriptor(self, name: str, media_type: str) -> dict[str, object]:
        member = self._member(name)
        return {"mediaType": media_type, "digest": member.digest, "size": member.size}


def open_docker_archive(file: Path, name: str | None, spool: Path) -> DockerArchiveSource:
    """Copy a docker archive's files to `spool`, an empty directory of the caller's, and return the image in it.

    `name`: `repository[:tag]`; None: the only image. ConfigError if `file` is not there or not such an archive.
    """
    if not file.is_file():
        raise ConfigError(f"there is no image archive {file}")
    members: dict[str, _Member | str] = {}
    left = _MAX_BYTES
    with explained("read", file), open(file, "rb") as stream:
        archive = Archive(decompress(stream))
        for number, entry in enumerate(archive):
            if number == _MAX_MEMBERS:
                raise ConfigError(f"{file} is not a docker archive: it has more than {_MAX_MEMBERS} files")
            at = _text(entry.path)
            if entry.kind == "file":
                members[at] = copied = _copy(archive, spool / str(number), left)
                left -= copied.size
            elif entry.kind == "symlink":
                members[at] = posixpath.normpath(posixpath.join(posixpath.dirname(at), _text(entry.link)))
            elif entry.kind == "hardlink":
                members[at] = _text(entry.link)
    return DockerArchiveSource(file, members, name)


def _text(name: bytes) -> str:
    return posixpath.normpath(name.decode(errors="surrogateescape"))


def _copy(archive: Archive, path: Path, limit: int) -> _Member:
    digest, size = hashlib.sha256(), 0
    with explained("write", path), open(path, "wb") as target:
        while piece := archive.read(_PIECE):
            size += len(piece)
            if size > limit:
                raise ConfigError(f"the archive is larger than {_MAX_BYTES // 2**30} GiB")
            digest.update(piece)
            target.write(piece)
    return _Member(path, Digest(f"sha256:{digest.hexdigest()}"), size)


def _parse_image(item: object, what: str) -> _Image:
    data = cast("dict[str, object]", item) if isinstance(item, dict) else {}
    config = data.get("Config")
    if not isinstance(config, str):
        raise ConfigError(f"{what} names no Config")
    return _Image(config, _texts(data, "Layers", what), _texts(data, "RepoTags", what))


def _texts(data: Mapping[str, object], key: str, what: str) -> tuple[str, ...]:
    """Return a list of texts; none for null, which docker writes for an image without a name."""
    value = data.get(key)
    items = cast("list[object]", value) if isinstance(value, list) else []
    if not (value is None or isinstance(value, list)) or not all(isinstance(text, str) for text in items):
        raise ConfigError(f"{what} has something other than names in {key}")
    return tuple(cast("list[str]", items))


def _chosen(images: Sequence[_Image], name: str | None, what: Path) -> _Image:
    fitting = [image for image in images if name is None or _canonical(name) in map(_canonical, image.names)]
    if len(fitting) == 1:
        return fitting[0]
    names = sorted({known for image in images for known in image.names})
    if name is None:
        raise ConfigError(
            f"{what} has {len(images)} images", hint=f"choose one, as in docker-archive:{what}:{(names or ['NAME'])[0]}"
        )
    raise ConfigError(
        f"no image is called {name!r} in {what}",
        hint=f"it has {', '.join(names)}" if names else "its image has no name",
    )


def _canonical(name: str) -> str:
    """Return a name with docker's defaults filled in, so that `app` is `docker.io/library/app:latest`."""
    try:
        return str(parse(name))
    except ValueError:
        return name

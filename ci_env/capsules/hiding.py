"""Secrets out of what a capsule is to hold beside layers: out of logs, artifacts and the record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from ci_env import codec
from ci_env.capsule.record import Record
from ci_env.digest import Digest, Json
from ci_env.errors import ConfigError
from ci_env.frozen import replace
from ci_env.mask import Mask
from ci_env.oci.tar import Archive
from ci_env.oci.tar_write import END, header, padding
from ci_env.oci.verify import Reader

_PIECE = 2**20


def hidden(source: Reader, mask: Mask) -> Iterator[bytes]:
    """Yield what `source` has, with other letters in place of secrets, and as long as it was."""
    stream = mask.stream(keeps_length=True)
    while piece := source.read(_PIECE):
        yield stream.feed(piece)
    yield stream.close()


def hidden_tar(source: BinaryIO, mask: Mask) -> Iterator[bytes]:
    """Yield a tar archive with the files of that in `source`, but without secrets in contents, names and targets."""
    archive = Archive(iter(lambda: source.read(_PIECE), b""))
    for entry in archive:
        path, link = (mask.apply(text, keeps_length=True) for text in (entry.path, entry.link))
        yield header(replace(entry, path=path, link=link))
        yield from hidden(_Content(archive), mask)
        yield padding(entry.size)
    yield END


class _Content:
    """The current file of an archive, to be read."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def read(self, size: int, /) -> bytes:
        return bytes(self._archive.read(size))


def hide(record: Record, mask: Mask, contents: Mapping[Digest, Digest]) -> Record:
    """Return the record without secrets, and with new names for what was hidden in logs and artifacts.

    ConfigError where what is left is no record: where a word that every record has is a secret.
    """
    try:
        left = codec.decode(Record, _hidden(codec.encode(record), mask, contents))
    except ValueError as error:
        raise ConfigError(
            "the record cannot be without the secrets: one is a word that it needs", hint="choose other secrets"
        ) from error
    if mask.spans(codec.dumps(left)):
        raise ConfigError("the record cannot be without the secrets: one is a name in it", hint="choose other secrets")
    return left


def _hidden(value: Json, mask: Mask, contents: Mapping[Digest, Digest]) -> Json:
    if isinstance(value, str):
        return contents.get(Digest(value)) or mask.apply_to_text(value, keeps_length=True)
    if isinstance(value, Mapping):
        return {name: _hidden(item, mask, contents) for name, item in value.items()}
    return [_hidden(item, mask, contents) for item in value] if isinstance(value, Sequence) else value

"""What the copy program (copy.py) is asked to do, as data that both of its ends know. Pure."""

from __future__ import annotations

from ci_env.frozen import dataclass


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that comes with the order itself."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Order:
    """Files of one stack of layers to be copied over another one, as docker's COPY does."""

    origin: tuple[str, ...]
    """directories of the layers to copy from, bottom first"""
    sources: tuple[str, ...]
    """patterns (wildcard.py)"""
    files: tuple[NewFile, ...]
    destination: str
    """absolute; a directory if it ends with a slash. Without sources and files it is a directory to make"""
    chown: str | None
    """`user[:group]`; None: as in the origin"""
    chmod: int | None
    """None: as in the origin"""
    is_unpacking: bool
    """archives among the sources are unpacked"""
    epoch: int
    """mtime of what is made and has none: directories on the way, and `files`"""
    upper: str
    """the directory that takes the result, empty"""
    lowers: tuple[str, ...]
    """what it lies over, bottom first"""
    squash_ids: bool
    """all files belong to the caller"""

"""The pipeline file on disk: its bytes, and what they mean. The only place that reads it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.errors import ConfigError

if TYPE_CHECKING:
    from ci_env.pipeline.model import Pipeline

DEFAULT = "ci-env.yml"
_MAX_BYTES = 2**20  # document.MAX_BYTES, whose module is too dear for a cached run


def read(path: Path) -> bytes:
    """Return the content of the pipeline file. ConfigError where there is none, or it is unreadable or too large."""
    try:
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(f"{path} is not a file", hint="name the pipeline file itself")
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        hint = "`ci-env init` writes one that fits the project" if path.name == DEFAULT else "check the path"
        raise ConfigError(f"there is no pipeline file {path}", hint=hint) from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is a directory", hint=f"name the file in it, such as {path / DEFAULT}") from error
    except OSError as error:
        raise ConfigError(f"cannot read the pipeline file {path}: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"the pipeline file {path} is larger than {_MAX_BYTES // 2**20} MiB")
    return content


def lockfile_of(path: Path) -> Path:
    """Return where the lockfile of a pipeline file is, or would be."""
    return path.with_suffix(".lock")


def load(content: bytes, file: str) -> Pipeline:
    """Return the pipeline that `content` describes; `file` is its name in messages and positions."""
    from ci_env.oci.reference import parse
    from ci_env.pipeline import loader

    return loader.load(content, file, parse)


def check_image(text: str, *, at: str) -> None:
    """See that `text` names an image, as `load` does for those of the file; ConfigError says what is wrong `at` it."""
    from ci_env.oci.reference import parse
    from ci_env.pipeline.image import parse_image

    try:
        name = parse_image(text)
        if name.kind == "registry":
            parse(name.place)
    except ValueError as error:
        raise ConfigError(str(error), where=at) from error


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO without a writer would wait forever

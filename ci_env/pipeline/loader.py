"""The pipeline file's bytes to a Pipeline. Pure; the one entry to this package for those who have a file."""

from __future__ import annotations

from pydantic import ValidationError

from ci_env.pipeline.complaints import complain
from ci_env.pipeline.document import Document, read
from ci_env.pipeline.expand import expand
from ci_env.pipeline.model import Pipeline
from ci_env.pipeline.positions import Problems
from ci_env.pipeline.reading import CheckReference
from ci_env.pipeline.schema import File


def load(content: bytes, file: str, check_reference: CheckReference) -> Pipeline:
    """Return the pipeline that `content` describes; `file` is its name in messages and in the positions kept.

    ConfigError tells all that is wrong with it, each with `file:line:column`.
    """
    document = read(content, file)
    return expand(_validate(document), document.positions, check_reference)


def _validate(document: Document) -> File:
    try:
        return File.model_validate(document.data)
    except ValidationError as error:
        problems = Problems(document.positions)
        for one in error.errors(include_url=False):
            complain(one, problems)
        problems.raise_any()
        raise AssertionError("an error without a complaint") from error

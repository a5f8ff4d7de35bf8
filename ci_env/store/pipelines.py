"""Pipeline files as they were understood, so that a cached run need not read YAML. Owns `pipelines/`."""

from __future__ import annotations

from ci_env import digest
from ci_env.digest import Digest
from ci_env.pipeline.model import Pipeline
from ci_env.store.documents import Documents
from ci_env.store.home import Store


def pipeline_key(content: bytes, *, file: str, version: str) -> Digest:
    """Return the identity of a pipeline file: its bytes, its name (errors point to it) and ci-env's own version."""
    name = Digest.of(file.encode(errors="surrogateescape"))  # a name need not be UTF-8, canonical JSON must
    return digest.key("pipeline", {"content": Digest.of(content), "file": name, "version": version})


class Pipelines:
    """Pipelines by `pipeline_key`."""

    def __init__(self, store: Store) -> None:
        self._pipelines = Documents(store.pipelines, Pipeline)

    def load(self, key: Digest) -> Pipeline | None:
        """Return the pipeline; None where it is absent or damaged."""
        return self._pipelines.load(key.hex)

    def save(self, key: Digest, pipeline: Pipeline) -> None:
        """Keep what a file was understood as."""
        self._pipelines.save(key.hex, pipeline)

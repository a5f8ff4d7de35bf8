"""What the world contributes to a plan: resolve.py finds it out, compile.py reads nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from ci_env.digest import Digest
from ci_env.frozen import dataclass
from ci_env.plan.plan import Image, Source


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image, and what its configuration says about the processes that run in it."""

    image: Image
    env: Mapping[str, str]
    user: str
    """empty: the image names none"""
    workdir: str
    """where services start; steps do in the workspace, whatever the image says"""
    entrypoint: tuple[str, ...] = ()
    """of services, as `command`"""
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inputs:
    """Holds every image and every selection that the chosen jobs name (`compile.choose_jobs`)."""

    source: Source
    images: Mapping[str, ResolvedImage]
    """by the text of `image:`"""
    selections: Mapping[tuple[str, ...] | None, Digest]
    """source layers (`keys.source_layer`) by the patterns of `inputs:`; None: the whole tree"""
    project: Digest
    """identity of the project on this machine, which shares caches with itself only"""

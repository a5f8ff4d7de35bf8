"""A job to be written to a new pipeline file, with the words that explain it."""

from __future__ import annotations

from ci_env.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    run: str
    comment: str = ""
    """above the step; lines are wrapped by hand"""
    downloads: bool = False
    """needs the network"""
    inputs: tuple[str, ...] | None = None
    """paths in the project's directory, wildcards allowed; None: everything"""
    caches: tuple[str, ...] = ()
    junit: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    image: str
    steps: tuple[Step, ...]

"""Other names for what a record speaks of. Pure.

A capsule names layers and caches as the machine did that made it. What it brings gets names of its own on the machine
that opens it, so that nothing which it claims can stand in the place of a layer or cache of that machine (ADR 0020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ci_env import codec
from ci_env.capsule.record import Record
from ci_env.capsule.stacks import images, source_layers
from ci_env.digest import Digest, Json, key


def layers_of(record: Record) -> frozenset[Digest]:
    """Return every layer that the record names, whether a replay needs it or not."""
    named = {layer for job in record.plan.jobs for image in images(job) for layer in image.layers}
    named |= {layer for job in record.jobs for step in job.steps for layer in (*step.before, *(step.after or ()))}
    copies = [step.copy for job in record.plan.jobs for step in job.steps if step.copy is not None]
    return source_layers(record.plan) | named | {layer for copy in copies for layer in copy.layers}


def renamed(record: Record, layers: Mapping[Digest, Digest]) -> Record:
    """Return the record with `layers` under their new names, all others under names that no layer has, caches likewise.

    A cache that a step has is one that nobody else uses, and so empty.
    """
    caches = {cache.id for job in record.plan.jobs for step in job.steps for cache in step.caches}
    names = {layer: layers.get(layer) or key("layer-not-here", {"layer": layer}) for layer in layers_of(record)}
    names |= {cache: key("cache-of-capsule", {"cache": cache}) for cache in caches}
    return codec.decode(Record, _replaced(codec.encode(record), names))


def _replaced(value: Json, names: Mapping[Digest, Digest]) -> Json:
    if isinstance(value, str):
        return names.get(Digest(value), value)
    if isinstance(value, Mapping):
        return {name: _replaced(item, names) for name, item in value.items()}
    return [_replaced(item, names) for item in value] if isinstance(value, Sequence) else value

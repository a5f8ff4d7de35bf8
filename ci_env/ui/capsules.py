"""How a capsule looks on a terminal. Pure; owns words, not where they are printed."""

from __future__ import annotations

from collections.abc import Iterator

from ci_env.capsule.form import Capsule
from ci_env.capsule.record import Record
from ci_env.capsule.unreproduced import unreproduced
from ci_env.ui.clean import clean
from ci_env.ui.runs import ending_of, source
from ci_env.ui.sizes import size


def details(record: Record, capsule: Capsule, size_bytes: int) -> Iterator[str]:
    """Return a capsule as lines: what it is of, what is in it, and what it does not bring back."""
    yield f"run {record.run_id}: {record.status}"
    yield f"  started   {clean(record.started_at)}"
    yield f"  pipeline  {clean(record.file)}, {source(record)}"
    yield from (f"  {clean(name):8}  {clean(value)}" for name, value in record.ci.items())
    plans = {job.name: job for job in record.plan.jobs}
    for job in record.jobs:
        for step, planned in zip(job.steps, plans[job.name].steps, strict=True):
            if step.status == "failed":
                yield f"  failed    {clean(job.name)}/{clean(step.name)}: {ending_of(step, planned)}"
    yield ""
    yield f"{size(size_bytes)}; not compressed:"
    yield from (f"  {size(bytes_inside):>10}  {what}" for what, bytes_inside in contents(capsule).items())
    yield ""
    yield "not in it, and not brought back by a replay:"
    yield from (f"  - {clean(line)}" for line in unreproduced(record, capsule))


def contents(capsule: Capsule) -> dict[str, int]:
    """Return what is inside, in words, with the bytes that it takes there."""
    sources = [part for part in capsule.layers if part.is_source]
    others = [part for part in capsule.layers if not part.is_source]
    found = {
        "the record": capsule.record.size,
        _counted(len({part.layer for part in sources}), "layer of the source", "layers of the source"): sum(
            part.blob.size for part in sources
        ),
        _counted(len({part.layer for part in others}), "layer of an image or a step", "layers of images and steps"): (
            sum(part.blob.size for part in others)
        ),
    }
    for kind, one, many in (("log", "log", "logs"), ("artifacts", "tar of artifacts", "tars of artifacts")):
        chosen = [content for content in capsule.contents if content.kind == kind]
        found[_counted(len(chosen), one, many)] = sum(content.blob.size for content in chosen)
    found[_counted(len(capsule.bases), "description of an image", "descriptions of images")] = sum(
        base.manifest.size + base.config.size for base in capsule.bases
    )
    return {what: bytes_inside for what, bytes_inside in found.items() if not what.startswith("0 ")}


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"

"""Which limits hold only in part where ci-env may make no control groups, in words. Changes nothing."""

from __future__ import annotations

import resource

from ci_env.pipeline.model import Limits

_WHY = "ci-env may make no control group with {controllers} here; `ci-env doctor` says how to get that"


def weakness(limits: Limits, controllers: frozenset[str]) -> str | None:
    """Return what does not hold as it should, and why; None: everything does."""
    parts = {
        "memory": (limits.memory_bytes, "the limit of memory holds for each process alone"),
        "pids": (limits.pids, "the limit of processes holds for all of the user's in this run"),
        "cpu": (limits.cpus_milli, "that of processors does not hold"),
    }
    lacking = [name for name, (limit, _) in parts.items() if limit is not None and name not in controllers]
    said = [parts[name][1] for name in lacking]
    if lacking:
        said.append(_WHY.format(controllers=", ".join(lacking)))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limits.open_files is not None and most != resource.RLIM_INFINITY and limits.open_files > most:
        said.append(f"no more than {most} files can be open, as the limit around ci-env says (ulimit -Hn)")
    return "; ".join(said) or None

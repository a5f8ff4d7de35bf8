"""What stands between a step and this machine, as short names for the record and for `ci-env doctor`.

All of it is in force whenever a step runs: what cannot be had is an error, but for a keyring where the kernel has none.
"""

from __future__ import annotations

import os

_ALWAYS = (
    *("user-namespace", "pid-namespace", "mount-namespace", "uts-namespace", "ipc-namespace", "cgroup-namespace"),
    "network-namespace",  # but for steps with `network: host`
    *("pivot-root", "private-mounts", "nosuid-nodev", "own-dev", "masked-proc", "read-only-kernel"),
    *("capabilities", "no-new-privs", "seccomp", "closed-process-1", "closed-descriptors"),
    *("rlimits", "no-core-dumps", "oom-score"),
)


def in_force(mode: str) -> tuple[str, ...]:
    """Return the measures in a run whose ids are of the kind `mode` (idmap.py), without those of control groups."""
    keyring = ("session-keyring",) if os.path.exists("/proc/keys") else ()
    of_mode = {"root": ("idmapped-store",), "single": ("root-emulation",)}.get(mode, ())
    return (*_ALWAYS, *keyring, *of_mode, f"ids-{mode}")

"""Failures that come of the machine, of limits, and of signals."""

from __future__ import annotations

from dataclasses import replace

from tests.corpus.case import Case, Setting, script

_NPROC = Setting(script('echo "$(nproc) workers"; test $(nproc) -ge 2'), processors=1)
_WORKERS = Setting(
    script(
        """
        import os, sys
        workers = len(os.sched_getaffinity(0))
        print(workers, "worker, of several processors" if os.cpu_count() > 1 else "worker")
        sys.exit(workers < 2)
        """,
        step="shell: python3 -B",
    ),
    base="python",
    processors=1,
)
_MEMORY = Setting(
    script(
        """
        echo loading
        exec python3 -c 'x = bytearray(200 << 20); print(len(x))'
        """,
        job="limits: {memory: 64MiB}",
    ),
    base="python",
)
_PIDS = Setting(
    script(
        """
        for number in $(seq 40); do sleep 5 & done
        echo started
        """,
        job="limits: {pids: 20}",
    )
)
_DISK = Setting(script("echo filling; head -c 60000000 /dev/zero >file; echo full", job="limits: {disk: 16MiB}"))
_FILES = Setting(
    script(
        """
        import os
        for number in range(200):
            os.dup(0)
        """,
        step="shell: python3 -B",
        job="limits: {open_files: 64}",
    ),
    base="python",
)
_TIMEOUT = Setting(script("echo waiting for the lock; sleep 100", step="timeout: 1s"))
_SIGNAL = Setting(script("echo about to crash; kill -SEGV $$"))
_CORE = Setting(
    script(
        """
        ulimit -c
        exec python3 -B -c 'import os; print("inconsistent heap", flush=True); os.abort()'
        """
    ),
    base="python",
)

CASES = (
    Case(
        "cpu-count",
        _NPROC,
        "exit status 1",
        "1 workers",
        replace(_NPROC, processors=None),
        accounts=("root", "user"),
    ),
    Case(
        "affinity",
        _WORKERS,
        "exit status 1",
        "1 worker, of several processors",
        replace(_WORKERS, processors=None),
        accounts=("root", "user"),
    ),
    Case(
        "out-of-memory",
        _MEMORY,
        "memory limit of 64MiB reached, signal 9 (SIGKILL)",
        "loading",
        _MEMORY.instead("64MiB", "1GiB"),
        accounts=("root", "user"),
    ),
    Case(
        "pids",
        _PIDS,
        "limit of 20 processes reached, exit status 2",
        "sh: can't fork: Resource temporarily unavailable",
        _PIDS.instead("pids: 20", "pids: 200"),
        accounts=("user", "root"),
    ),
    Case("disk", _DISK, "disk limit of 16MiB reached", "filling", _DISK.instead("16MiB", "160MiB")),
    Case(
        "open-files", _FILES, "exit status 1", "OSError: [Errno 24] Too many open files", _FILES.instead("64}", "640}")
    ),
    Case("timeout", _TIMEOUT, "timeout after 1 s", "waiting for the lock", _TIMEOUT.instead("sleep 100", "sleep 0")),
    Case("signal", _SIGNAL, "signal 11 (SIGSEGV)", "about to crash", _SIGNAL.instead("-SEGV", "-BUS"), "different"),
    Case("core-dump", _CORE, "signal 6 (SIGABRT)", "inconsistent heap", _CORE.instead("os.abort()", "os._exit(0)")),
)

"""A pull is one pass: while a layer comes, what lies on the disk is what was unpacked of it, and no packed copy."""

from __future__ import annotations

import os
import random
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.fault_registry import Request, Response, fault_registry, serving
from tests.installed import CiEnv
from tests.oci_builder import f, image, sha256, tar
from tests.processes import Found, wait_until
from tests.project import leftovers

MIB = 2**20
_noise = random.Random(5)
IMAGE = image([tar([f(f"{layer}-{n}", _noise.randbytes(MIB)) for n in range(16)]) for layer in range(2)])


def test_no_packed_copy_lies_on_the_disk_meanwhile(actor: CiEnv) -> None:
    first, second = IMAGE.layers
    sent, release, normal = len(first) // 2, threading.Event(), serving(IMAGE)

    def behave(request: Request) -> Response:
        if request.path.endswith(sha256(first)):
            return Response(body=first, halt=lambda: release.wait(60))
        return normal(request)

    with fault_registry(behave) as registry:
        process = actor.start("image", "pull", f"{registry.host}/team/app:1")
        try:
            wait_until(lambda: any(path.endswith(sha256(second)) for path in registry.paths()), 40)
            wait_until(lambda: on_disk(actor.store, process.pid) > sent / 2, 40)
            size = settled(actor.store, process.pid)
        finally:
            release.set()
            _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert sent - 2 * MIB < size < sent + MIB / 4  # noise is no smaller packed: a copy would be as large again
    assert leftovers(actor) == []


def settled(store: Path, pid: int) -> int:
    """Return how much is on the disk once that has not changed for a while."""
    size = -1
    while size != (size := on_disk(store, pid)):
        time.sleep(0.5)
    return size


def on_disk(store: Path, pid: int) -> int:
    """Return the bytes in files of the store, and in those, with a name or not, that the process's family writes."""
    files = {(facts.st_dev, facts.st_ino): facts.st_size for facts in (*in_store(store), *being_written(pid))}
    return sum(files.values())


def in_store(store: Path) -> Iterator[os.stat_result]:
    for directory, _, names in os.walk(store):
        for name in names:
            try:
                facts = os.lstat(Path(directory, name))
            except FileNotFoundError:  # renamed
                continue
            if stat.S_ISREG(facts.st_mode):
                yield facts


def being_written(pid: int) -> Iterator[os.stat_result]:
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            if pid in family(int(process.name)):
                yield from written_by(process)
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue


def written_by(process: Path) -> Iterator[os.stat_result]:
    for number in os.listdir(process / "fd"):
        flags = int((process / "fdinfo" / number).read_text().split("flags:")[1].split()[0], 8)
        facts = (process / "fd" / number).stat()
        if stat.S_ISREG(facts.st_mode) and flags & os.O_ACCMODE != os.O_RDONLY:
            yield facts


def family(pid: int) -> list[int]:
    """Return the process and those above it."""
    found: list[int] = []
    while pid:
        found.append(pid)
        pid = Found(pid).parent().pid
    return found

"""The reports of a step, out of the tar that its artifacts are kept as. Owns what of it is read, and no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from ci_env.errors import CiEnvError
from ci_env.frozen import dataclass
from ci_env.oci.tar import Archive
from ci_env.patterns import chooser
from ci_env.replay.junit import MAX_REPORT_BYTES, FailedTest, ReportError, failed_tests
from ci_env.tree import decode_path

MAX_BYTES = 2**26
_TOP = b"workspace/"
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Reports:
    """What the reports of a step say."""

    failed: tuple[FailedTest, ...] | None
    """in the order of ids; None: there is no report, or one cannot be read"""
    remarks: tuple[str, ...]


NONE = Reports(None, ())


def read_reports(tar: BinaryIO, patterns: Sequence[str]) -> Reports:
    """Return what those reports say that `patterns`, a step's `reports: junit`, choose."""
    failed: list[FailedTest] = []
    is_any = False
    try:
        for path, content in _chosen(tar, patterns):
            is_any = True
            try:
                failed += failed_tests(content)
            except ReportError as error:
                return Reports(None, (f"the report {path} was not compared: {error}",))
    except (CiEnvError, ReportError) as error:
        return Reports(None, (f"reports were not compared: {error}",))
    return Reports(tuple(sorted(failed, key=_place)) if is_any else None, ())


def _place(test: FailedTest) -> tuple[str, str, tuple[str, ...]]:
    return test.id, test.how, test.said


def _chosen(tar: BinaryIO, patterns: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    archive = Archive(iter(lambda: tar.read(_PIECE), b""))
    is_chosen = chooser(patterns)
    total = 0
    for member in archive:
        path = decode_path(member.path.removeprefix(_TOP))
        if member.kind != "file" or not is_chosen(path):
            continue
        total += member.size
        if member.size > MAX_REPORT_BYTES or total > MAX_BYTES:
            raise ReportError(f"they are larger than {MAX_BYTES >> 20} MiB, or one than {MAX_REPORT_BYTES >> 20} MiB")
        yield path, b"".join(map(bytes, iter(lambda: archive.read(_PIECE), b"")))

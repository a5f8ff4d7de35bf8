"""The kind of a difference by its bytes."""

from __future__ import annotations

import gzip

import pytest

from ci_env.plan.variation import Change
from ci_env.replay.contrast import Contrast, Kind, kind_of

BEGAN, ENDED = 1_764_000_000, 1_764_000_060
HOSTNAME = Change("hostname", "ci-env", "elsewhere")


def content(was: bytes, now: bytes, **changes: object) -> Contrast:
    at = next(at for at, (a, b) in enumerate(zip(was, now, strict=False)) if a != b)
    return Contrast("/workspace/f", "content", (33188, 33188), at, was[:at], was[at:], now[at:], **changes)  # type: ignore[arg-type]  # one more


def kind(*contrasts: Contrast) -> Kind:
    return kind_of(contrasts, (HOSTNAME,), began_s=BEGAN, ended_s=ENDED)


def only(path: str, how: str) -> Contrast:
    return Contrast(path, how, (None, 33188))


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        (b"at 1764000010\n", b"at 1764000050\n", "timestamp"),
        (b"at 1764000010123\n", b"at 1764000050456\n", "timestamp"),
        (b"built 2026-11-25T10:00:01Z", b"built 2026-11-25T10:00:03Z", "timestamp"),
        (b"Wed Nov 25 10:00:01 UTC 2026", b"Wed Nov 25 10:00:03 UTC 2026", "timestamp"),
        (b"x\0%011o\0" % 1764000010, b"x\0%011o\0" % 1764000050, "timestamp"),
        (gzip.compress(b"x", mtime=1764000010), gzip.compress(b"x", mtime=1764000050), "timestamp"),
        (b"id 1234567890123\n", b"id 1234567890124\n", "randomness"),  # of 2009
        (b"v20261125100001-x", b"v20261125100003-x", "randomness"),  # no word of its own
        (b"v-20261125-100001", b"v-20261125-100003", "timestamp"),
        (b"id 3f2a\n", b"id 41bc\n", "randomness"),
        (b"in /tmp/build.aXb/x\n", b"in /tmp/build.q9z/x\n", "path"),
        (b"on ci-env at /x", b"on elsewhere at /x", "hostname"),
        (b"\xff\xfe\x00", b"\xff\xfd\x00", "randomness"),
    ],
)
def test_bytes(was: bytes, now: bytes, expected: Kind) -> None:
    assert kind(content(was, now)) == expected


def test_an_order_comes_before_what_stands_in_it() -> None:
    assert kind(content(b"10:00:01\n10:00:02\n", b"10:00:02\n10:00:01\n", is_permuted=True)) == "order"


def test_names() -> None:
    assert kind(only("/w/log-1764000010", "removed"), only("/w/log-1764000012", "added")) == "timestamp"
    assert kind(only("/w/tmp.aX3", "removed"), only("/w/tmp.b9Q", "added")) == "path"
    assert kind(only("/w/sometimes", "added")) == "randomness"


def test_what_is_no_matter_of_bytes() -> None:
    assert kind(Contrast("/w/f", "owner", (33188, 33188))) == "user"
    assert kind(Contrast("/w/f", "mode", (33188, 33261))) == "unknown"
    assert kind(Contrast("/w/f", "kind", (33188, 40960))) == "unknown"

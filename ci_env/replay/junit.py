"""The failed tests of a JUnit report. Trusts nothing in it: steps wrote it, and it may come with somebody's capsule.

Read by expat as it comes. A document type is refused, which is where entities are declared: none can be expanded.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.parsers import expat

from ci_env.frozen import dataclass

MAX_REPORT_BYTES = 2**24
MAX_FAILED = 20_000
_MAX_DEPTH = 64
_FAILED = ("failure", "error")


class ReportError(ValueError):
    """A report that cannot be read, and why."""


@dataclass(frozen=True, slots=True)
class FailedTest:
    id: str
    """`CLASS::NAME`, with the suite's name where there is no class; as written: times in it may tell tests apart"""
    how: str
    """`failure` or `error`"""
    said: tuple[str, ...]
    """its message and details, line by line, as written"""


def failed_tests(report: bytes) -> tuple[FailedTest, ...]:
    """Return the tests that failed, as written, in order. ReportError for what is no report, is too large, or odd."""
    if len(report) > MAX_REPORT_BYTES:
        raise ReportError(f"it has more than {MAX_REPORT_BYTES >> 20} MiB")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(report, True)
    except ReportError:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:  # an encoding that is unknown, or that expat cannot
        raise ReportError(f"it is no XML: {error}") from error
    return tuple(reader.found)


def _refuse(name: str, *_: object) -> None:
    raise ReportError(f"it declares a document type ({name[:40]!r}), which no report needs")


class _Reader:
    """What has been read of a report."""

    def __init__(self) -> None:
        self.found: list[FailedTest] = []
        self._open: list[str] = []
        self._suites: list[str] = []
        self._test = ""
        self._message = ""
        self._text: list[str] | None = None

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if not self._open and name not in ("testsuites", "testsuite"):
            raise ReportError(f"it begins with <{name[:40]}>, as no report does")
        self._open.append(name)
        if len(self._open) > _MAX_DEPTH:
            raise ReportError(f"its elements are nested more than {_MAX_DEPTH} deep")
        if name == "testsuite":
            self._suites.append(attributes.get("name", ""))
        elif name == "testcase":
            where = attributes.get("classname") or (self._suites[-1] if self._suites else "")
            self._test = f"{where}::{attributes.get('name', '')}"
        elif name in _FAILED and self._open[-2:-1] in (["testcase"], ["testsuite"]):
            if self._open[-2] == "testsuite":
                self._test = self._suites[-1]
            self._message, self._text = attributes.get("message") or attributes.get("type", ""), []

    def text(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def end(self, name: str) -> None:
        self._open.pop()
        if name == "testsuite":
            self._suites.pop()
        elif name in _FAILED and self._text is not None and self._open[-1] in ("testcase", "testsuite"):
            if len(self.found) == MAX_FAILED:
                raise ReportError(f"more than {MAX_FAILED} tests failed")
            said = (self._message, *"".join(self._text).split("\n"))
            self.found.append(FailedTest(self._test, name, said))
            self._text = None

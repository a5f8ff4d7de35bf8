"""The failed tests of reports, and the reports that are refused."""

from __future__ import annotations

import io
import tarfile
import time

import pytest

from ci_env.replay.junit import MAX_FAILED, MAX_REPORT_BYTES, FailedTest, ReportError, failed_tests
from ci_env.replay.reports import Reports, read_reports

# As pytest writes it.
REPORT = b"""<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="0"
 failures="1" skipped="1" tests="3" time="0.110" timestamp="2026-11-25T09:18:45.623319+00:00" hostname="vm">
<testcase classname="t_x" name="test_ok" time="0.002" />
<testcase classname="t_x" name="test_wait[0.5s]" time="0.002"><failure message="assert 3.5 == 4&#10; +  where 4">d = 0.5
&gt;   assert x == 4
t_x.py:10: AssertionError</failure><system-out>error &lt;failure&gt;</system-out></testcase>
<testcase classname="t_x" name="test_set_up"><error message="boom"/></testcase>
<testcase classname="t_x" name="test_no"><skipped message="no"/></testcase></testsuite></testsuites>"""


def report(body: str) -> bytes:
    return f"<testsuite name='s'>{body}</testsuite>".encode()


def test_failures_and_errors() -> None:
    assert failed_tests(REPORT) == (
        FailedTest(
            "t_x::test_wait[0.5s]",
            "failure",
            ("assert 3.5 == 4\n +  where 4", "d = 0.5", ">   assert x == 4", "t_x.py:10: AssertionError"),
        ),
        FailedTest("t_x::test_set_up", "error", ("boom", "")),
    )


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ("<testcase name='a'><failure/></testcase>", ["s::a"]),
        ("<testsuite name='t'><testcase name='a'><failure/></testcase></testsuite>", ["t::a"]),
        ("<testcase name='a'><failure/><failure/></testcase>", ["s::a", "s::a"]),
        ("<testcase name='a'><rerunFailure/><system-err><failure/></system-err></testcase>", []),
        ("<error message='cannot start'/>", ["s"]),
        ("<properties><property name='failure'/></properties>", []),
        ("<testcase name='&#228;'><failure/></testcase>", ["s::\xe4"]),
    ],
)
def test_names(body: str, ids: list[str]) -> None:
    assert [test.id for test in failed_tests(report(body))] == ids


BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 30))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is no XML"),
        (b"{}", "it is no XML"),
        (REPORT[:-1], "it is no XML"),
        (REPORT + b"<x/>", "it is no XML"),
        (b"<testsuite><testcase name='\xff'/></testsuite>", "it is no XML"),
        (b"<?xml version='1.0' encoding='nosuch'?><testsuite/>", "it is no XML"),
        (report("&nosuch;"), "it is no XML"),
        (b"<html/>", "it begins with <html>"),
        ("<?xml version='1.0' encoding='shift_jis'?><testsuite name='失敗'/>".encode("shift_jis"), "it is no XML"),
        (f'<!DOCTYPE x [<!ENTITY a0 "x">{BOMB}]><testsuite>&a29;</testsuite>'.encode(), "it declares a document type"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuite/>', "it declares a document type"),
        (b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><testsuite>&e;</testsuite>', "it declares"),
        (b"<testsuite>" * 100, "nested more than 64 deep"),
        (b"<testsuite>" + b" " * MAX_REPORT_BYTES, "it has more than 16 MiB"),
        (report("<testcase><failure/></testcase>" * (MAX_FAILED + 1)), "more than 20000 tests failed"),
    ],
)
def test_refused(content: bytes, why: str) -> None:
    began = time.process_time()
    with pytest.raises(ReportError, match=why):
        failed_tests(content)
    assert time.process_time() - began < 2


def tar(**files: bytes | None) -> io.BytesIO:
    """Return a tar of artifacts with these files in the workspace; None is a link."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"workspace/{name}.xml")
            member.size = len(text or b"")
            member.type = tarfile.SYMTYPE if text is None else tarfile.REGTYPE
            member.linkname = "one.xml" if text is None else ""
            archive.addfile(member, io.BytesIO(text or b""))
    content.seek(0)
    return content


ONE, OTHER = (report(f"<testcase name='{name}'><failure/></testcase>") for name in "ba")


@pytest.mark.parametrize(
    ("files", "patterns", "ids"),
    [
        ({"one": ONE, "other": OTHER}, ["*.xml"], ["s::a", "s::b"]),
        ({"one": ONE, "other": OTHER}, ["one.xml"], ["s::b"]),
        ({"one": ONE, "other": OTHER}, ["*.xml", "!one.xml"], ["s::a"]),
        ({"one": ONE, "other": None}, ["*.xml"], ["s::b"]),
        ({"one": report("")}, ["one.xml"], []),
        ({"one": ONE}, ["none.xml"], None),
        ({}, ["*.xml"], None),
    ],
)
def test_reports_of_a_step(files: dict[str, bytes | None], patterns: list[str], ids: list[str] | None) -> None:
    failed = read_reports(tar(**files), patterns).failed
    assert ids == (failed if failed is None else [test.id for test in failed])


def test_reports_that_cannot_be_read_are_told_of() -> None:
    found = read_reports(tar(one=ONE, other=b"<html/>"), ["*.xml"])
    assert found == Reports(None, ("the report other.xml was not compared: it begins with <html>, as no report does",))
    found = read_reports(tar(one=b" " * (MAX_REPORT_BYTES + 1)), ["*.xml"])
    assert found.remarks == ("reports were not compared: they are larger than 64 MiB, or one than 16 MiB",)
    found = read_reports(io.BytesIO(b"no tar" * 100), ["*.xml"])
    assert found.failed is None
    assert found.remarks[0].startswith("reports were not compared: ")

"""Output without what differs between two runs: what goes, and what must stay."""

from __future__ import annotations

import time

import pytest

from ci_env.replay.normalise import normalise


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1 failed, 2 passed in 0.12s", "1 failed, 2 passed in 3.40s"),
        ("===== 1 failed in 65.32s (0:01:05) =====", "===== 1 failed in 64.01s (0:01:04) ====="),
        ("Ran 3 tests in 0.001s", "Ran 3 tests in 0.002s"),
        ("ok  \tpkg/a\t0.012s", "ok  \tpkg/a\t0.311s"),
        ("--- FAIL: TestX (0.00s)", "--- FAIL: TestX (0.01s)"),
        ("real\t0m1.123s", "real\t0m0.998s"),
        ("  x parses (12 ms)", "  x parses (7 ms)"),
        ("done after 3.5ms, 17µs and 12ns", "done after 1ms, 1.5µs and 900ns"),
        ("BUILD FAILED in 3s", "BUILD FAILED in 12s"),
        ("BUILD FAILED in 1m 3s", "BUILD FAILED in 59s"),
        ("Time:        1 s", "Time:        1.234 s"),
        ("test result: FAILED. finished in 0.00s", "test result: FAILED. finished in 0.02s"),
        ("  duration_ms 1.5234", "  duration_ms 0.7"),
        ("2024-01-31T12:34:56.789Z start", "2025-11-01T01:02:03Z start"),
        ("2024-01-31 12:34:56,789 INFO x", "2024-02-01 00:00:00,001 INFO x"),
        ("2024-01-31 12:34:56+02:00 x", "2024-01-31 12:34:57+02:00 x"),
        ("2024/01/31 12:34:56 x", "2024/02/01 12:34:57 x"),
        ("on 2024-01-31", "on 2024-02-01"),
        ("[12:34:56] Starting", "[01:02:03] Starting"),
        ("Jan 31 12:34:56 host x", "Feb  1 01:02:03 host x"),
        ("Wed Jan 31 12:34:56 UTC 2024", "Thu Feb  1 01:02:03 UTC 2024"),
        ("Date: Wed, 31 Jan 2024 12:34:56 GMT", "Date: Thu, 01 Feb 2024 12:34:57 GMT"),
        ("127.0.0.1 - - [31/Jan/2024:12:34:56 +0000]", "127.0.0.1 - - [01/Feb/2024:12:34:56 +0000]"),
        ("12:34:56 Error: refused", "12:34:57 Error: refused"),
        ("started with pid 123", "started with pid 99"),
        ("PID: 12 ended", "PID: 345 ended"),
        ("[pid  123] x", "[pid 45678] x"),
        ("==123==ERROR: AddressSanitizer", "==4==ERROR: AddressSanitizer"),
        ("<object at 0x7f3c2a1b4d90>", "<object at 0x1b2c3d0>"),
        ("E  assert <Foo object at 0x7f3c2a1b4d90> == 3", "E  assert <Foo object at 0x7f3c2a1b4da0> == 3"),
        ("FAILED t - AssertionError: <Foo at 0x7f9a941...", "FAILED t - AssertionError: <Foo at 0x7f36f02..."),
        ("#0 0x00007f3c2a1b4d90 in main", "#0 0x0000563c2a1b4d90 in main"),
        ("open /tmp/tmpab12cd_9/x", "open /tmp/tmpzz12cd_9/x"),
        ("open '/tmp/tmp.Ab12Cd34Ef'", "open '/tmp/tmp.XXXXXXXXXX'"),
        ("rootdir: /tmp/pytest-of-root/pytest-3/x0", "rootdir: /tmp/pytest-of-root/pytest-12/x0"),
        ("/usr/bin/ld: /tmp/ccAbCdEf.o: undefined", "/usr/bin/ld: /tmp/ccZZZZZZ.o: undefined"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id 00000000-e89b-12d3-a456-426614174000"),
        ("commit d670460b4b4aece5915caf5c68d12f560a9fe3e4", "commit 0670460b4b4aece5915caf5c68d12f560a9fe3e5"),
        ("connect to 127.0.0.1:43817 failed", "connect to 127.0.0.1:60001 failed"),
        ("http://localhost:43817/x", "http://localhost:35000/x"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x\x1b(B", "x"),
        ("10%\r20%\rdone", "done"),
        ("windows\r", "windows"),
        ("[gw0] [ 25%] FAILED t.py::a ", "[gw3] [ 50%] FAILED t.py::a "),
        ("t.py::a FAILED        [ 33%]", "t.py::a FAILED        [100%]"),
        ("goroutine 7 [running]:", "goroutine 18 [running]:"),
        ("main.f(0xc000012345)", "main.f(0xc0000b6000)"),
        ("thread 'main' (4711) panicked at src/main.rs:4:5:", "thread 'main' (12) panicked at src/main.rs:4:5:"),
        ("(node:4711) Warning: x", "(node:9) Warning: x"),
        ("sh: line 1:    12 Segmentation fault      ./x", "sh: line 1: 34567 Segmentation fault      ./x"),
        (
            "npm error log in: /root/.npm/_logs/2026-11-25T09_10_54_123Z-debug-0.log",
            "npm error log in: /root/.npm/_logs/2026-11-26T10_11_54_001Z-debug-0.log",
        ),
        ("  ✕ waits 500 ms (12 ms)", "  ✕ waits 500 ms (7 ms)"),
        ("1/2 Test #1: a ..***Exception:   0.00 sec", "1/2 Test #1: a ..***Exception:   0.01 sec"),
        ("in /tmp/pytest-of-root/pytest-3/popen-gw0/x0", "in /tmp/pytest-of-root/pytest-4/popen-gw1/x0"),
        ("  duration_ms: 11.333039", "  duration_ms: 9"),
        ("FAIL\tpkg/a\t0.012s", "FAIL\tpkg/a\t0.300s"),
        ("FAIL src/x.test.js (5.123 s)", "FAIL src/x.test.js (6.001 s)"),
    ],
)
def test_is_the_same(one: str, other: str) -> None:
    assert normalise([one]) == normalise([other])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("assert 3 == 4", "assert 3 == 5"),
        ("expected 10 got 11", "expected 10 got 12"),
        ("exit status 1", "exit status 2"),
        ("main.c:10:5: error: x", "main.c:11:5: error: x"),
        ("main.c:10:20:30: x", "main.c:10:20:31: x"),
        ('  File "x.py", line 3, in f', '  File "x.py", line 4, in f'),
        ("1 failed, 2 passed", "2 failed, 1 passed"),
        ("Ran 3 tests in 0.001s", "Ran 4 tests in 0.001s"),
        ("value 0xff", "value 0xfe"),
        ("value 0xdeadbeef", "value 0xcafebabe"),
        ("max 0x7fffffffffffffff", "max 0x7ffffffffffffffe"),
        ("version 1.2.3", "version 1.2.4"),
        ("python 3.11", "python 3.12"),
        ("ratio 0.5", "ratio 0.6"),
        ("size 10 MB", "size 11 MB"),
        ("retry 3 seconds", "retry 4 seconds"),
        ("timeout after 30 s", "timeout after 60 s"),
        ("listening on 127.0.0.1:8080", "listening on 127.0.0.1:8081"),
        ("localhost:5432", "localhost:5433"),
        ("process 12", "process 13"),
        ("rapid 12", "rapid 13"),
        ("items[3]: x", "items[4]: x"),
        ("10000000000000000000000000000000000000000", "10000000000000000000000000000000000000001"),
        ("commit d670460", "commit d670461"),
        ("/tmp/output1", "/tmp/output2"),
        ("/tmp/tmpab12cd_9x", "/tmp/tmpab12cd_9y"),
        ("assert '2024-01-31' == d", "assert '2024-02-01' == d"),
        ("12:34:56 !== 12:34:57", "12:34:56 !== 12:34:58"),
        ("Expected: 12 ms", "Expected: 13 ms"),
        ("    Which is: 12 ms", "    Which is: 13 ms"),
        ("expected:<1.5s> but was:<2.5s>", "expected:<1.5s> but was:<3.5s>"),
        ("E     - 12:34:56", "E     - 12:34:57"),
        ("+ took 0.5s", "+ took 0.6s"),
        ("ValueError: no day 2024-02-30", "ValueError: no day 2024-02-31"),
        ("  left: 5ms", "  left: 6ms"),
        ("sha256 of x: expected " + "a1" * 32, "sha256 of x: expected " + "a2" * 32),
        ("a-2024-01-31.log", "a-2024-01-32.log"),
        ("50%\rfailed 3", "50%\rfailed 4"),
        ("FAILED t.py::t[0.5s] - ValueError", "FAILED t.py::t[1.5s] - ValueError"),
        ("____ t[2024-01-31] ____", "____ t[2024-02-01] ____"),
        ("  ✕ waits 500 ms (12 ms)", "  ✕ waits 600 ms (12 ms)"),
        ("● waits 500 ms", "● waits 600 ms"),
        ("not ok 3 - at 12:34:56", "not ok 3 - at 12:34:57"),
        ("FAIL: test_12:34:56 (x)", "FAIL: test_12:34:57 (x)"),
        ("mismatch: 2024-01-31 2024-02-01", "mismatch: 2024-01-31 2024-02-02"),
        ("invalid date 2024-02-30", "invalid date 2024-02-31"),
        ("bad id d670460b4b4aece5915caf5c68d12f560a9fe3e4", "bad id 0670460b4b4aece5915caf5c68d12f560a9fe3e4"),
        ("Received: 12 ms", "Received: 13 ms"),
        ("-12:34:56", "-12:34:57"),
        ("sh: line 1: 12 apples", "sh: line 1: 13 apples"),
        ("done 33%", "done 34%"),
        ("[gw0]", "[gw1]"),
    ],
)
def test_stays_different(one: str, other: str) -> None:
    assert normalise([one]) != normalise([other])


def test_placeholders_say_what_was_there() -> None:
    line = "2024-01-31 12:34:56 /tmp/tmpab12cd_9/x took 1.5s, pid 12, 127.0.0.1:43817"
    assert normalise([line]) == ("<time> <temporary>/x took <duration>, pid <pid>, 127.0.0.1:<port>",)


def test_no_line_comes_or_goes() -> None:
    assert normalise(["", "\x1b[0m", "a\r", ""]) == ("", "", "a", "")


REPEATED = (
    "1",
    "a1",
    "12:",
    "1.1",
    "-1",
    "1 ",
    "pid 1 ",
    "/tmp/tmp",
    "00000000-",
    "1;",
    "Error:",
    "\x1b]",
    " \t",
    "Jan  ",
)


@pytest.mark.parametrize("line", ["\x1b[" * begins + text * 20_000 + "1" for text in REPEATED for begins in (0, 1)])
def test_a_hostile_line_takes_linear_time(line: str) -> None:
    began = time.process_time()
    normalise([line])
    assert time.process_time() - began < 2

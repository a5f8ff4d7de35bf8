"""Output without what differs between two runs of the same failure. Owns the choice of what that is.

Two different failures must never become equal, so doubt leaves text as it is. Plain numbers are never touched: they are
line numbers, exit statuses and the very values that tests compare. Where a line compares values, and in the message of
an error, times and hashes are values too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# ECMA-48: control sequences, control strings, other escapes, and an escape that begins none of them.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-Z\\^-~])?")

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = r"(?:[01]?\d|2[0-3]):[0-5]\d:[0-6]\d(?:[.,]\d{1,9})?"
_ZONE = r"(?:\ ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?"
_TEMPORARY = r"""
    /(?:var/)?tmp/(?:
        tmp[a-z0-9_]{8}                       # Python's tempfile
      | tmp\.[A-Za-z0-9]{6,12}                # mktemp
      | pytest-of-[\w.-]+/pytest-\d+(?:/popen-gw\d+)?
      | pip-[a-z-]+-[a-z0-9_]{8}
      | go-build\d+
      | cc[A-Za-z0-9]{6}(?=\.)                # gcc
      | rustc[A-Za-z0-9]{6}
      | \.tmp[A-Za-z0-9]{6}                   # Rust's tempfile
    )(?![\w])
"""
_KILLED = r"""
    (?:Segmentation\ fault|Aborted|Killed|Terminated|Bus\ error|Illegal\ instruction|Floating\ point\ exception)\b
"""
# Never a value that a test compares: no one could write it down.
_VOLATILE = re.compile(
    rf"""
      (?P<temporary> (?<![\w./-]) {_TEMPORARY} )
    | (?P<address> (?<=\bat\ ) (?:0x[0-9a-f]{{6,16}} (?=>) | 0x[0-9a-f]{{1,16}} (?=\.\.\.))  # cut by pytest
                 | (?<!\w) 0x0*(?:7[ef]|5[56])[0-9a-f]{{10}} (?!\w)
                 | (?<!\w) 0xc0[0-9a-f]{{8}} (?!\w) )               # Go's heap
    | (?P<port> (?<=(?<![\w.])127\.0\.0\.1:)[3-6]\d{{4}}(?![\w.]) | (?<=\blocalhost:)[3-6]\d{{4}}(?![\w.])
              | (?<=\[::1\]:)[3-6]\d{{4}}(?![\w.]) )
    | (?P<pid> (?<=^==)\d+(?===) | (?<=^--)\d+(?=--)                 # sanitizers, valgrind
             | (?<=\[pid\ )\ *\d+(?=\]) | (?<=\bpid[\ =:])\ ?\d+(?![\w.]) | (?<=\bPID[\ =:])\ ?\d+(?![\w.])
             | (?<=\(node:)\d+(?=\)) | (?<=^goroutine\ )\d+(?=\ \[) | (?<='\ \()\d+(?=\)\ panicked\ at)  # Rust
             | (?<=:\ )\ *\d+(?=\ (?:{_KILLED})) )                # bash
    | (?P<log> (?<=_logs/)\d{{4}}-\d\d-\d\dT\d\d_\d\d_\d\d_\d{{3}}Z(?=-debug-\d) )  # npm
    | (?P<progress> ^\[gw\d+\](?=\ ) | (?:^|(?<=>\ )) \[\ *\d{{1,3}}%\](?=\ ) | (?<=\ )\[\ *\d{{1,3}}%\]$ )  # pytest
    """,
    re.VERBOSE,
)
_SIGNS = (
    *("tmp/", "0x", "127.0.0.1:", "localhost:", "[::1]:", "pid", "PID", "==", "--", "(node:", "goroutine ", "panicked"),
    *("Segm", "Abor", "Kill", "Term", "Bus ", "Ille", "Floa", "_logs/", "[gw", "%]"),
)
"""one of them is in whatever _VOLATILE matches"""
_MEASURED = re.compile(
    rf"""
      (?P<time> (?<![\w.:/-]) (?<!\w\[) (?:
          \d{{4}}-[01]\d-[0-3]\d (?:[T\ ]{_CLOCK}{_ZONE})?           # ISO 8601
        | \d{{4}}/[01]\d/[0-3]\d\ {_CLOCK}                           # Go's log
        | [0-3]\d/{_MONTH}/\d{{4}}:{_CLOCK}{_ZONE}                   # Apache
        | (?:{_DAY},\ )[0-3]?\d\ {_MONTH}\ \d{{4}}\ {_CLOCK}{_ZONE}  # RFC 5322
        | (?:{_DAY}\ )?{_MONTH}\ [\ 0-3]?\d\ {_CLOCK} (?:(?:\ [A-Z]{{3,4}})?\ \d{{4}}\b)?  # syslog, date(1)
        | {_CLOCK}{_ZONE}
      ) (?![\w:/-]) (?!\.\d) )
    | (?P<duration> (?: (?<![\w.:/,+-]) (?<!\w\[) (?:
          (?:\d+h)?(?:\d+m)?\d+\.\d+\ ?(?:s|secs?|seconds?)
        | \d+(?:\.\d+)?\ ?(?:ms|msecs?|milliseconds?|[µμu]s|microseconds?|ns|nanoseconds?)
        | (?:(?<=\bin\ )|(?<=\b[Tt]ook\ )) (?:\d+h\ ?)?(?:\d+m\ ?)?\d+\ ?(?:s|secs?|seconds?)
        | (?:(?<=\bduration_ms\ )|(?<=\bduration_ms:\ ))\d+(?:\.\d+)?                          # TAP of node
        ) | (?:(?<=\b[Tt]ime:)|(?<=\b[Dd]uration:)|(?<=\b[Ee]lapsed:)) \ *\d+(?:\.\d+)?\ ?(?:s|secs?|seconds?)
      ) (?![\w/]) (?!\.\d) )
    | (?P<uuid> (?<![\w-]) (?<!\w\[) [0-9a-fA-F]{{8}}-(?:[0-9a-fA-F]{{4}}-){{3}}[0-9a-fA-F]{{12}} (?![\w-]) )
    | (?P<hash> (?<!\w) (?<!\w\[) (?=\d*[a-f]) (?=[a-f]*\d) [0-9a-f]{{32,128}} (?!\w) )
    """,
    re.VERBOSE,
)
_LOG_TIME = re.compile(rf"^\d{{4}}[-/][01]\d[-/][0-3]\d[T ]{_CLOCK}(?:Z|UTC|[+-]\d\d:?\d\d)?(?=[\s|])")
_COMPARES = re.compile(
    r"\bassert|Assert|\b(?:[Ee]xpect(?:ed|s)?|EXPECT\w*|[Aa]ctual|got|want|was|Which is|should|left|right)\b"
    r"|\bReceived:|[Mm]ismatch|\b(?:[Dd]iffers?|[Ii]nvalid|[Uu]nexpected|[Bb]ad|[Mm]ust|[Ii]nstead)\b"
    r"|\b(?:not equal|does not)\b"
    r"|(?:^|\s)(?:[=!]==?|[<>]=?|is not|not in)(?:\s|$)"
    r"|^\s*(?:E\s+)?(?:[-+?](?:\s|$)|[-+](?![-+]))"  # a line of a diff
)
# Of a line that names a test that has failed, only what stands at its end is no name.
_NAMES = re.compile(r"\s*(?:(?:FAIL(?:ED)?|ERROR|not ok|--- FAIL:)[:\s]|\d+/\d+\s+Test\s+#|[✕✗✘✖×●])")  # noqa: RUF001  # what they print
_AT_END = re.compile(r"(?:\(\d[^()]*\)|\t\d+\.\d+s|\s\d+\.\d+\ssec|\bin \d\S*(?: ?s)?)$")
_RAISES = re.compile(r"(?:[Ee]rror|ERROR|Exception|panic|[Ff]atal|FATAL):")


def normalise(lines: Iterable[str]) -> tuple[str, ...]:
    """Return each line with placeholders such as `<duration>`; lines neither come nor go. Idempotent."""
    return tuple(map(_normalise, lines))


def normalise_message(lines: Iterable[str]) -> tuple[str, ...]:
    """Do the same for what a failed test says: times are values there, but for those that begin lines of a log."""
    return tuple(_normalise(line, is_message=True) for line in lines)


def _normalise(line: str, *, is_message: bool = False) -> str:
    line = _SEQUENCE.sub("", line).rstrip("\r").rpartition("\r")[2]
    if not any(map(str.isdigit, line)) and "tmp/" not in line:
        return line
    is_value = bool(_COMPARES.search(line))
    before = None
    while before != line:  # a placeholder can set free what its digits were glued to; each pass leaves fewer digits
        before = line
        if any(sign in line for sign in _SIGNS):
            line = _VOLATILE.sub(_placeholder, line)
        if not is_value:
            line = _without_measures(line, is_message=is_message)
    return line


def _without_measures(line: str, *, is_message: bool) -> str:
    """Replace times and the like of a line that compares nothing, but not in the message of an error."""
    if _NAMES.match(line):
        last = _AT_END.search(line)
        begin = last.start() if last else len(line)
        return line[:begin] + _MEASURED.sub(_placeholder, line[begin:])
    if is_message:
        return _LOG_TIME.sub("<time>", line)
    message = _RAISES.search(line)
    end = message.end() if message else len(line)
    return _MEASURED.sub(_placeholder, line[:end]) + line[end:]


def _placeholder(match: re.Match[str]) -> str:
    return f"<{match.lastgroup}>"

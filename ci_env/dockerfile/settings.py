"""Values that HEALTHCHECK, EXPOSE and STOPSIGNAL set in an image's configuration. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ci_env.digest import Json
from ci_env.dockerfile.forms import read_command, read_flags
from ci_env.dockerfile.model import Instruction
from ci_env.errors import ConfigError

_DURATIONS = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}
_UNITS_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"(?P<whole>[0-9]{1,18})(?:\.(?P<fraction>[0-9]{0,18}))?(?P<unit>ns|us|µs|ms|s|m|h)")
_LEAST_NS = 10**6
_MOST_NS = 2**53 - 1
_GAP = re.compile(r"[\t\v\f\r ]+")
_PORTS = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?(?:/(?P<protocol>tcp|udp|sctp))?", re.IGNORECASE)
_MAX_PORT = 65535
_SIGNALS = re.compile(
    "ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|SEGV|STKFLT|STOP|SYS|TERM|TRAP"
    r"|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ|RTMIN(\+([1-9]|1[0-5]))?|RTMAX(-([1-9]|1[0-4]))?"
)
_MAX_SIGNAL = 64


def read_healthcheck(instruction: Instruction) -> Mapping[str, Json]:
    """Return the `Healthcheck` object: what to run, durations in ns, the number of tries."""
    kind, *rest = _GAP.split(instruction.text, maxsplit=1)
    flags, at = read_flags(instruction), instruction.at
    if kind.upper() == "NONE":
        if rest or flags:
            raise ConfigError("HEALTHCHECK NONE has nothing else", where=at)
        return {"Test": ["NONE"]}
    if kind.upper() != "CMD":
        raise ConfigError("HEALTHCHECK is written `HEALTHCHECK CMD command` or `HEALTHCHECK NONE`", where=at)
    command = read_command(instruction, text=rest[0] if rest else "")
    if command.argv == ():
        raise ConfigError("HEALTHCHECK needs a command", where=at)
    test = ["CMD-SHELL", command.line] if command.argv is None else ["CMD", *command.argv]
    durations = {_DURATIONS[name]: _duration(name, flags[name][0], at) for name in _DURATIONS if name in flags}
    tries = {"Retries": _tries(flags["retries"][0], at)} if "retries" in flags else {}
    return {"Test": test, **{name: value for name, value in {**durations, **tries}.items() if value}}


def _duration(name: str, text: str, at: str) -> int:
    """Return nanoseconds of what Go's time.ParseDuration reads, such as 1m30s or 0."""
    if text == "0":
        return 0
    parts = list(_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise ConfigError(f"`--{name}` needs a duration such as 1m30s, not `{text[:40]}`", where=at)
    total = sum(_nanoseconds(part) for part in parts)
    if total and not _LEAST_NS <= total <= _MOST_NS:
        raise ConfigError(f"`--{name}={text[:40]}` is less than 1ms or more than 100 days", where=at)
    return total


def _nanoseconds(part: re.Match[str]) -> int:
    unit, fraction = _UNITS_NS[part["unit"]], part["fraction"] or "0"
    return int(part["whole"]) * unit + int(fraction) * unit // int("1" + "0" * len(fraction))


def _tries(text: str, at: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ConfigError(f"`--retries` needs a number, not `{text[:40]}`", where=at)
    return int(text)


def ports_of(word: str, *, at: str) -> Iterator[str]:
    """Return each port of `8080`, `8080/udp` or `8000-8010`, as `number/protocol`."""
    match = _PORTS.fullmatch(word)
    first, last = (int(match["first"]), int(match["last"] or match["first"])) if match else (1, 0)
    if match is None or not first <= last <= _MAX_PORT:
        raise ConfigError(f"`{word[:40]}` is not a port", where=at, hint="write 8080, 8080/udp or 8000-8010")
    protocol = (match["protocol"] or "tcp").lower()
    return (f"{port}/{protocol}" for port in range(first, last + 1))


def check_signal(text: str, *, at: str) -> None:
    """ConfigError unless `text` is a signal's name or number."""
    if re.fullmatch(r"[0-9]{1,3}", text):
        is_known = 1 <= int(text) <= _MAX_SIGNAL
    else:
        name = text.upper().removeprefix("SIG")
        is_known = bool(_SIGNALS.fullmatch(name))
    if not is_known:
        raise ConfigError(f"`{text[:40]}` is not a signal", where=at, hint="write SIGTERM, or its number")

"""All cases, those that take longest first; each group between other accounts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tests.account import Who
from tests.corpus import environment, flow, machine, sources, tools
from tests.corpus.case import Case


def _between(one: Who, other: Who, cases: Iterable[Case]) -> Iterator[Case]:
    return (replace(case, accounts=(one, other)) for case in cases)


CASES = (
    *_between("root", "user", tools.CASES),
    *_between("user", "user-nosub", sources.CASES),
    *machine.CASES,
    *_between("user-nosub", "user", flow.CASES),
    *environment.CASES,
)

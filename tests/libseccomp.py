"""Filters as libseccomp compiles them, to compare ours with. Needs libseccomp.so.2, which Debian's apt depends on."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

_MASKED_EQUAL = 7  # SCMP_CMP_MASKED_EQ
_BAD_ARCHITECTURE = 2  # SCMP_FLTATR_ACT_BADARCH
_NATIVE = 0  # SCMP_ARCH_NATIVE


@dataclass(frozen=True)
class Rule:
    """Answer the call `name` with `action`, or only where its argument masked is a value."""

    name: str
    action: int
    argument: int | None = None
    mask: int = 0
    value: int = 0


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


def compiled(architecture: int, default: int, bad_architecture: int, rules: Iterable[Rule]) -> bytes:
    """Return the program of a filter for `architecture` (AUDIT_ARCH_*) alone."""
    library = _library()
    filter_ = ctypes.c_void_p(library.seccomp_init(default))
    try:
        _check(library.seccomp_attr_set(filter_, _BAD_ARCHITECTURE, bad_architecture))
        if library.seccomp_arch_exist(filter_, architecture) != 0:
            _check(library.seccomp_arch_add(filter_, architecture))
            _check(library.seccomp_arch_remove(filter_, _NATIVE))
        for rule in rules:
            _add(library, filter_, rule)
        return _exported(library, filter_)
    finally:
        library.seccomp_release(filter_)


def number(name: str, architecture: int) -> int | None:
    """Return the number of a system call; None where the architecture does not have it."""
    found: int = _library().seccomp_syscall_resolve_name_arch(architecture, name.encode())
    return found if found >= 0 else None


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        pytest.skip("needs libseccomp.so.2 (Debian package libseccomp2)")
    library.seccomp_init.restype = ctypes.c_void_p
    return library


def _add(library: ctypes.CDLL, filter_: ctypes.c_void_p, rule: Rule) -> None:
    native = library.seccomp_syscall_resolve_name(rule.name.encode())  # it is translated to the filter's architecture
    count = 0 if rule.argument is None else 1
    comparison = _Comparison(rule.argument or 0, _MASKED_EQUAL, rule.mask, rule.value)
    _check(
        library.seccomp_rule_add_array(filter_, ctypes.c_uint32(rule.action), native, count, ctypes.byref(comparison))
    )


def _exported(library: ctypes.CDLL, filter_: ctypes.c_void_p) -> bytes:
    descriptor = os.memfd_create("filter")
    try:
        _check(library.seccomp_export_bpf(filter_, descriptor))
        return os.pread(descriptor, 1 << 20, 0)
    finally:
        os.close(descriptor)


def _check(result: int) -> None:
    assert result == 0, os.strerror(-result)

"""A seccomp filter as a tree of decisions, and the classic BPF program that the kernel runs for it.

Owns the encoding of instructions (linux/filter.h, linux/bpf_common.h) and the layout of what a filter sees
(`struct seccomp_data`, linux/seccomp.h). Knows no system call. Standard library only.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal, NamedTuple

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
_RETURN_ERRNO = 0x00050000
_MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_MAX_JUMP = 255
_ALL_BITS = 0xFFFFFFFF

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_JUMP = 0x05  # BPF_JMP | BPF_JA
_JUMP_IF = {"equal": 0x15, "at_least": 0x35}  # BPF_JMP | BPF_JEQ or BPF_JGE | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K


@dataclass(frozen=True, slots=True)
class Word:
    """32 bits of `struct seccomp_data`, of which those in `mask` count."""

    offset: int
    mask: int = _ALL_BITS


@dataclass(frozen=True, slots=True)
class Branch:
    """Decide by an unsigned comparison of `word` with `value`."""

    word: Word
    test: Literal["equal", "at_least"]
    value: int
    then: Filter
    otherwise: Filter


Filter = int | Branch
"""a decision, or what the kernel is to do: ALLOW, KILL_PROCESS, `answer(errno)`"""

NUMBER = Word(0)
ARCHITECTURE = Word(4)


def argument(index: int, mask: int = _ALL_BITS) -> Word:
    """Return the low half of a system call's argument, where machines are little-endian; 4 bytes on is the high half.

    A filter must look at both halves of what the kernel reads as 64 bits, and at the low one of what it truncates.
    """
    return Word(16 + 8 * index, mask)


def answer(errno: int) -> int:
    """Return the action that leaves the call undone and fails it with `errno`; 0: tells the caller that it was done."""
    return _RETURN_ERRNO | errno


def assemble(tree: Filter) -> bytes:
    """Return `tree` as an array of `struct sock_filter`; ValueError where it is more than the kernel takes."""
    program = _code(tree, None)
    if len(program) > _MAX_INSTRUCTIONS:
        raise ValueError(f"a filter of {len(program)} instructions; the kernel takes {_MAX_INSTRUCTIONS}")
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


class _Instruction(NamedTuple):
    code: int
    if_true: int
    if_false: int
    value: int


def _code(tree: Filter, loaded: Word | None) -> list[_Instruction]:
    """Return the program of `tree`, for an accumulator that holds `loaded`."""
    if isinstance(tree, int):
        return [_Instruction(_RETURN, 0, 0, tree)]
    load = [] if tree.word == loaded else _load(tree.word)
    then, otherwise = _code(tree.then, tree.word), _code(tree.otherwise, tree.word)
    if len(then) <= len(otherwise):
        return [*load, *_branch(tree, len(then), jump_if=False), *then, *otherwise]
    return [*load, *_branch(tree, len(otherwise), jump_if=True), *otherwise, *then]


def _load(word: Word) -> list[_Instruction]:
    load = _Instruction(_LOAD, 0, 0, word.offset)
    return [load] if word.mask == _ALL_BITS else [load, _Instruction(_AND, 0, 0, word.mask)]


def _branch(tree: Branch, distance: int, *, jump_if: bool) -> list[_Instruction]:
    """Return the test of `tree`, which skips `distance` instructions where it ends as `jump_if`."""
    code = _JUMP_IF[tree.test]
    if distance > _MAX_JUMP:  # a conditional jump has 8 bits: go over, or to, an unconditional one
        over = (0, 1) if jump_if else (1, 0)
        return [_Instruction(code, *over, tree.value), _Instruction(_JUMP, 0, 0, distance)]
    targets = (distance, 0) if jump_if else (0, distance)
    return [_Instruction(code, *targets, tree.value)]

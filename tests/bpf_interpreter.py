"""Classic BPF as seccomp runs it, in Python: what would the kernel answer?"""

from __future__ import annotations

import struct
from collections.abc import Sequence

X86_64 = 0xC000003E
AARCH64 = 0xC00000B7


def call(number: int, arguments: Sequence[int] = (), architecture: int = X86_64) -> bytes:
    """Return `struct seccomp_data` of a system call."""
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    return struct.pack("=IIQ6Q", number, architecture, 0x7F0000001000, *padded)


def run(program: bytes, data: bytes) -> int:
    """Return what `program` says of the call. AssertionError where the kernel would not have taken the program."""
    instructions: list[tuple[int, int, int, int]] = list(struct.iter_unpack("=HBBI", program))
    assert 0 < len(instructions) <= 4096
    at = 0
    accumulator: int | None = None
    while True:
        code, if_true, if_false, value = instructions[at]
        at += 1
        if code == 0x06:  # return
            return value
        if code == 0x05:  # jump
            at += value
        elif code == 0x20:  # load
            assert value % 4 == 0
            assert value < len(data)
            (accumulator,) = struct.unpack_from("=I", data, value)
        else:
            assert accumulator is not None
            if code == 0x54:
                accumulator &= value
            else:
                at += if_true if _holds(code, accumulator, value) else if_false


def _holds(code: int, accumulator: int, value: int) -> bool:
    match code:
        case 0x15:
            return accumulator == value
        case 0x25:
            return accumulator > value
        case 0x35:
            return accumulator >= value
        case 0x45:
            return bool(accumulator & value)
        case _:
            raise AssertionError(f"unknown instruction {code:#x}")

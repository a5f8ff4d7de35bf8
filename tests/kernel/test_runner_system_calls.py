"""What a step cannot ask of the kernel, tried from inside by a program."""

from __future__ import annotations

import shutil

import pytest

from tests.sandboxes import Place
from tests.system_calls import tried


def test_a_filter_is_in_force(place: Place) -> None:
    done = place.execute(place.sandbox("grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status"))
    assert done.lines() == ["NoNewPrivs:\t1", "Seccomp:\t2"]
    assert "seccomp" in place.runner.measures()


@pytest.mark.parametrize(
    "call",
    [
        '"keyctl", 0, -3, 0',  # KEYCTL_GET_KEYRING_ID of the session
        '"add_key", 0, 0, 0, 0, 0',
        '"bpf", 0, 0, 0',
        '"userfaultfd", 1',
        '"perf_event_open", 0, 0, -1, -1, 0',
        '"io_uring_setup", 1, 0',
        '"unshare", 0x10000000',
        '"unshare", 0x20000',
        '"setns", -1, 0',
        '"mount", 0, 0, 0, 0, 0',
        '"fsopen", 0, 0',
        '"open_by_handle_at", -1, 0, 0',
        '"clone", 0x10000011, 0, 0, 0, 0',  # CLONE_NEWUSER
    ],
)
def test_calls_that_are_refused(place: Place, call: str) -> None:
    assert tried(place, f"outcome({call})") == "EPERM"


def test_a_user_who_is_not_root_is_refused_the_same(place: Place) -> None:
    user = "1000" if place.runner.is_owner_mapped() else "0"
    calls = '[outcome("unshare", 0x10000000), outcome("keyctl", 0, -3, 0), outcome("getpid")]'
    assert tried(place, calls, user=user) == ["EPERM", "EPERM", 0]


def test_threads_and_processes_can_be_made(place: Place) -> None:
    code = "import subprocess, threading\nthreading.Thread(target=print, args=['thread']).start()\n"
    code += "subprocess.run(['true'])"
    done = place.execute(place.sandbox(("/usr/bin/python3", "-c", code)))
    assert (done.exit.code, done.output) == (0, "thread\n")
    assert tried(place, 'outcome("clone3", 0, 0)') == "ENOSYS"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("socket.AF_INET, socket.SOCK_STREAM", 0),
        ("socket.AF_INET6, socket.SOCK_DGRAM", 0),
        ("socket.AF_UNIX, socket.SOCK_STREAM", 0),
        ("socket.AF_NETLINK, socket.SOCK_RAW, 0", 0),
        ("socket.AF_INET, 10", "EAFNOSUPPORT"),  # SOCK_PACKET, which is AF_PACKET
        ("socket.AF_INET, socket.SOCK_SEQPACKET, 132", "EPROTONOSUPPORT"),  # SCTP
        ("38, socket.SOCK_SEQPACKET", "EAFNOSUPPORT"),  # AF_ALG: CVE-2026-31431
        ("33, socket.SOCK_DGRAM", "EAFNOSUPPORT"),  # AF_RXRPC: CVE-2026-43284
        ("40, socket.SOCK_STREAM", "EAFNOSUPPORT"),  # AF_VSOCK: the hypervisor
        ("15, socket.SOCK_RAW, 2", "EAFNOSUPPORT"),  # AF_KEY
        ("17, socket.SOCK_RAW, 0", "EAFNOSUPPORT"),  # AF_PACKET
        ("16, socket.SOCK_RAW, 6", "EPROTONOSUPPORT"),  # NETLINK_XFRM
    ],
)
def test_sockets(place: Place, arguments: str, expected: object) -> None:
    assert tried(place, f"opened({arguments})") == expected


def test_nobody_types_into_a_terminal(place: Place) -> None:
    code = "import fcntl, pty, termios\nmaster, slave = pty.openpty()\n"
    code += "for call in (termios.TIOCSTI, 0x541C):\n try: fcntl.ioctl(slave, call, b'x')\n"
    code += " except OSError as error: print(error.errno)"
    done = place.execute(place.sandbox(("/usr/bin/python3", "-c", code)))
    assert done.output == "1\n1\n"


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace (Debian package strace)")
def test_a_step_can_trace_its_own_processes(place: Place) -> None:
    done = place.execute(place.sandbox("strace -o /tmp/trace true && grep -c execve /tmp/trace"))
    assert (done.exit.code, done.output) == (0, "1\n")

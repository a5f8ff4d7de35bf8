"""What a step reaches over sockets: nothing by default, the host's network where asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.attempts import PYTHON, attempt
from tests.sandboxes import Place


@pytest.fixture
def listeners() -> Generator[tuple[int, str]]:
    """Give a port of 127.0.0.1 and the name of an abstract socket where a greeting is to be had."""
    name = f"ci-env-test-{os.getpid()}"
    code = (
        "import socket, threading\n"
        "tcp = socket.create_server(('127.0.0.1', 0))\n"
        "local = socket.socket(socket.AF_UNIX)\n"
        f"local.bind('\\0{name}')\n"
        "local.listen()\n"
        "def serve(server):\n"
        "    while True:\n"
        "        server.accept()[0].send(b'hello')\n"
        "threading.Thread(target=serve, args=(local,), daemon=True).start()\n"
        "print(tcp.getsockname()[1], flush=True)\n"
        "serve(tcp)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield int(server.stdout.readline()), name
        server.kill()


def test_no_network_by_default(place: Place, listeners: tuple[int, str]) -> None:
    port, name = listeners
    found = attempt(
        place,
        f"connect(socket.AF_INET, ('127.0.0.1', {port}))",
        f"connect(socket.AF_UNIX, '\\0{name}')",
        "connect(socket.AF_INET, ('192.0.2.1', 80))",
        "connect(socket.AF_INET6, ('2001:db8::1', 80))",
        "[name for _, name in socket.if_nameindex()][:1]",
    )
    assert found == ["ECONNREFUSED", "ECONNREFUSED", "ENETUNREACH", "ENETUNREACH", ["lo"]]


def test_loopback_inside(place: Place) -> None:
    found = attempt(
        place,
        "listen_and_connect('127.0.0.1')",
        "socket.gethostbyname('localhost')",
        "socket.gethostbyname(socket.gethostname())",
    )
    assert found == ["connected", "127.0.0.1", "127.0.1.1"]


def test_the_hosts_network_where_asked_for(place: Place, listeners: tuple[int, str]) -> None:
    port, _ = listeners
    found = attempt(
        place,
        f"connect(socket.AF_INET, ('127.0.0.1', {port}))",
        "open('/etc/resolv.conf').read()",
        "os.listdir('/sys/fs/cgroup')",
        "write('/sys/class/net/lo/mtu')",
        "write('/proc/sys/net/ipv4/ip_forward')",
        network="host",
    )
    resolver = Path("/etc/resolv.conf")
    assert found == ["hello", resolver.read_text() if resolver.exists() else "", [], "EROFS", "EROFS"]


_TRIES = {
    "a name": "socket.getaddrinfo('example.org', 80)",
    "IPv4": "socket.create_connection(('192.0.2.1', 80))",
    "IPv6": "socket.create_connection(('2001:db8::1', 80))",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
}


@pytest.mark.parametrize("attempt", _TRIES.values(), ids=_TRIES)
def test_a_failure_for_want_of_a_network_is_told_apart(place: Place, attempt: str) -> None:
    done = place.execute(place.sandbox([PYTHON, "-c", f"import socket; {attempt}"]))
    assert (done.exit.code, "`network: nat`" in done.exit.hint) == (1, True)


@pytest.mark.parametrize(
    "script",
    [
        "exit 3",
        f"{PYTHON} -c 'import socket; socket.create_connection((\"127.0.0.1\", 1))'",
        f"{PYTHON} -c 'import socket; socket.create_connection((\"192.0.2.1\", 1))' || exit 0",
    ],
)
def test_other_failures_have_no_hint(place: Place, script: str) -> None:
    assert place.execute(place.sandbox(script)).exit.hint == ""


@pytest.mark.parametrize("script", ["kill -SYS $$", "sh -c 'kill -SYS $$'; exit $?"])
def test_a_program_of_another_architecture_has_a_hint(place: Place, script: str) -> None:
    assert "32-bit" in place.execute(place.sandbox(script)).exit.hint

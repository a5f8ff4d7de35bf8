"""A network that several sandboxes are in: what they reach of each other, and how long it lives."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ci_env.errors import HostError
from ci_env.ports import SharedNetwork
from tests.processes import Found, wait_until
from tests.sandboxes import Place

PYTHON = "/usr/bin/python3"
_HOLDER = "ci-env-network\n"
_SERVE = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.create_server((sys.argv[1], 5432), family=family)
while True:
    connection, _ = server.accept()
    try:
        connection.sendall(b"hello")
    except OSError:
        pass
    connection.close()
"""
_ASK = "import socket; print(socket.create_connection(('localhost', 5432), timeout=5).recv(9).decode())"


@contextmanager
def served(place: Place, network: SharedNetwork, address: str = "127.0.0.1") -> Generator[None]:
    """Have a server run in a sandbox of `network`, until the block ends and the runner is cancelled."""
    sandbox = dataclasses.replace(place.sandbox([PYTHON, "-c", _SERVE, address]), network=network)
    thread = threading.Thread(target=lambda: place.execute(sandbox))
    thread.start()
    try:
        wait_until(lambda: network.can_connect(5432))
        yield
    finally:
        place.runner.cancel(now=True)
        thread.join()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_one_sandbox_reaches_a_server_in_another(place: Place, address: str) -> None:
    with place.runner.network("none", ()) as network:
        assert not network.can_connect(5432)
        with served(place, network, address):
            done = place.execute(dataclasses.replace(place.sandbox([PYTHON, "-c", _ASK]), network=network))
            assert done.output == "hello\n"


def test_others_do_not_reach_it(place: Place) -> None:
    run = place.runner
    with run.network("none", ()) as network, run.network("none", ()) as another, served(place, network):
        assert not another.can_connect(5432)
        for elsewhere in (None, another):
            done = place.execute(dataclasses.replace(place.sandbox([PYTHON, "-c", _ASK]), network=elsewhere))
            assert "ConnectionRefusedError" in done.output


def test_only_loopback_is_there(place: Place) -> None:
    with place.runner.network("none", ()) as network:
        sandbox = place.sandbox("ls /sys/class/net; cat /proc/net/route | wc -l")
        assert place.execute(dataclasses.replace(sandbox, network=network)).lines() == ["lo", "1"]


def test_it_ends_with_its_context(place: Place) -> None:
    with place.runner.network("none", ()) as network:
        (holder,) = holders()
        assert holder.has_ended() is False
    assert holders() == []
    with pytest.raises(HostError, match="the network of a job has ended"):
        network.can_connect(1)


def test_it_ends_with_the_launcher(place: Place) -> None:
    with place.runner.network("none", ()) as network:
        (holder,) = holders()
        holder.parent().signal("KILL")
        wait_until(lambda: not Path(f"/proc/{holder.pid}").exists())
        with pytest.raises(HostError, match="the network of a job has ended"):
            network.can_connect(1)
        with pytest.raises(HostError, match="the process that starts sandboxes has died"):
            place.execute(dataclasses.replace(place.sandbox("true"), network=network))


def test_a_network_of_the_host_is_the_hosts(place: Place) -> None:
    with place.runner.network("host", ()) as network, socket.create_server(("127.0.0.1", 0)) as server:
        sandbox = dataclasses.replace(place.sandbox("ls /sys/class/net", network="host"), network=network)
        assert place.execute(sandbox).lines() == sorted(os.listdir("/sys/class/net"))
        assert network.can_connect(server.getsockname()[1])
        assert not network.can_connect(1)


def holders() -> list[Found]:
    """Return the processes that hold a network for a launcher of this process."""
    named = [process for process in Path("/proc").iterdir() if process.name.isdecimal() and _name(process) == _HOLDER]
    found = [Found(int(process.name)) for process in named]
    return [holder for holder in found if holder.parent().parent().pid == os.getpid()]


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text()
    except OSError:
        return ""

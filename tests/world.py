"""A machine with a network behind it, made of network namespaces: tests of networks reach nothing else.

    [machine: MACHINE, MACHINE6] ── [outside: OUTSIDE; behind it SERVER, SERVER6, OTHER, METADATA]

The machine's file system is this one's, but for /etc/resolv.conf and /dev/net/tun. Needs root.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

MACHINE = "198.51.100.2"
MACHINE6 = "2001:db8:1::2"
OUTSIDE = "198.51.100.1"
SERVER = "203.0.113.7"
SERVER6 = "2001:db8:7::7"
OTHER = "203.0.113.8"
METADATA = "169.254.169.254"
PORT = 8080
OTHER_PORT = 8081
WILDCARD_PORT = 8090
"""of servers that listen on all addresses of the machine, also those that it gets later"""
NAME = "server.test"
OTHER_NAME = "other.test"

# nsenter(1) would begin in `/`.
_ENTER = """exec nsenter --target "$0" --net --mount sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
"""
_MOUNTS = """
set -e
mount --bind {resolver} /etc/resolv.conf
mount -t tmpfs tmpfs /dev/net; mknod -m 666 /dev/net/tun c 10 200
"""
_MACHINE = f"""
set -e
echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad; echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
echo 1 >/proc/sys/net/ipv4/ip_forward
ip link set lo up
ip addr add {MACHINE}/24 dev up0; ip addr add {MACHINE6}/64 dev up0 nodad
ip link set up0 up
ip route add default via {OUTSIDE}; ip -6 route add default via 2001:db8:1::1
"""
_OUTSIDE = f"""
set -e
echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad; echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
ip link set lo up
ip link add up0 type veth peer name in0
ip link set up0 netns /proc/$1/ns/net
ip addr add {OUTSIDE}/24 dev in0; ip addr add 2001:db8:1::1/64 dev in0 nodad
for address in {SERVER} {OTHER} {METADATA}; do ip addr add $address/32 dev lo; done
ip addr add {SERVER6}/128 dev lo nodad
ip link set in0 up
"""
# Greets whoever connects to a port of its argv with the address that it sees, and answers questions for names.
_SERVE = f"""
import socket, sys, threading
def greet(server):
    while True:
        connection, peer = server.accept()
        connection.sendall(("hello " + peer[0]).encode())
        connection.close()
def answer(server):
    known = {{b"\\6server\\4test\\0": ("{SERVER}", "{SERVER6}"), b"\\5other\\4test\\0": ("{OTHER}", None)}}
    while True:
        question, peer = server.recvfrom(512)
        end = question.index(b"\\0", 12) + 1
        name, kind = question[12:end].lower(), question[end + 1]
        ipv4, ipv6 = known.get(name, (None, None))
        found = socket.inet_aton(ipv4) if kind == 1 and ipv4 else b""
        found = socket.inet_pton(socket.AF_INET6, ipv6) if kind == 28 and ipv6 else found
        record = b"\\xc0\\x0c\\0" + bytes([kind]) + b"\\0\\1\\0\\0\\0\\1\\0" + bytes([len(found)]) + found
        flags = b"\\x81\\x80" if name in known else b"\\x81\\x83"
        head = question[:2] + flags + b"\\0\\1\\0" + bytes([bool(found)]) + b"\\0\\0\\0\\0"
        server.sendto(head + question[12 : end + 4] + (record if found else b""), peer)
for target in sys.argv[1:]:
    kind, _, place = target.partition("=")
    host, _, port = place.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if kind == "dns":
        server = socket.socket(family, socket.SOCK_DGRAM)
        server.bind((host, int(port)))
        threading.Thread(target=answer, args=(server,)).start()
        continue
    if kind == "unix":
        server = socket.socket(socket.AF_UNIX)
        server.bind("\\0" + place)
        server.listen()
    else:
        server = socket.create_server((host, int(port)), family=family)
    threading.Thread(target=greet, args=(server,)).start()
print(flush=True)
"""


@dataclass(frozen=True)
class World:
    machine: int
    """a process in it"""
    outside: int

    def on_machine(self, *argv: str) -> list[str]:
        """Return the command line that runs `argv` there, in the directory that it is called in."""
        return ["sh", "-c", _ENTER, str(self.machine), *argv]

    def run(self, *argv: str) -> str:
        """Run there, as root, and return what it writes."""
        done = subprocess.run(self.on_machine(*argv), capture_output=True, text=True, check=True, timeout=60)
        return done.stdout

    def traces(self) -> list[str]:
        """Return what there is on the machine beside what the world has made: interfaces, tables, abstract sockets."""
        links = [line.split(":")[1].strip() for line in self.run("ip", "-o", "link").splitlines()]
        sockets = [line.split()[-1] for line in self.run("cat", "/proc/net/unix").splitlines() if "@ci-env" in line]
        return [
            *(name for name in links if name.startswith("ci-env")),
            *self.run("nft", "list", "tables").split(),
            *sockets,
        ]


@contextmanager
def new_world(directory: Path, *, resolver: str = f"nameserver {SERVER}\n") -> Generator[World]:
    """Give a world with its servers: on SERVER, OTHER and METADATA, and on all addresses of the machine itself."""
    file = directory / "resolv.conf"
    file.write_text(resolver)
    with ExitStack() as stack:
        machine = stack.enter_context(_process("unshare", "--net", "--mount", *_shell(_MOUNTS.format(resolver=file))))
        outside = stack.enter_context(_process("unshare", "--net", *_shell("")))
        world = World(machine, outside)
        outside_argv = ["nsenter", "--target", str(outside), "--net"]
        for argv, script in ((outside_argv, _OUTSIDE), (world.on_machine(), _MACHINE)):
            subprocess.run([*argv, "sh", "-c", script, "sh", str(machine)], check=True, timeout=60)
        served = [f"tcp={host}:{port}" for host in (SERVER, OTHER) for port in (PORT, OTHER_PORT)]
        served += [f"tcp={SERVER6}:{PORT}", f"tcp={METADATA}:{PORT}", f"dns={SERVER}:53"]
        stack.enter_context(_process(*outside_argv, *_server(served)))
        own = [f"tcp={host}:{PORT}" for host in ("127.0.0.1", "::1", MACHINE, MACHINE6)]
        own += [f"tcp=0.0.0.0:{WILDCARD_PORT}"]
        stack.enter_context(
            _process(*world.on_machine(*_server([*own, "dns=127.0.0.1:53", f"dns={MACHINE}:53", "unix=greeting"])))
        )
        yield world


def _server(targets: Sequence[str]) -> list[str]:
    return [sys.executable, "-c", _SERVE, *targets]


def _shell(script: str) -> list[str]:
    return ["sh", "-c", f"{script}\necho; exec sleep 600"]


@contextmanager
def _process(*argv: str) -> Generator[int]:
    """Give a process that has written a line; it is ended afterwards."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "\n"
        try:
            yield process.pid
        finally:
            process.kill()

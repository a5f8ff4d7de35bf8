"""`network: nat`: what a step reaches and what it does not, between network namespaces that the test makes itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.account import Who
from tests.installed import CiEnv
from tests.processes import wait_until
from tests.project import Project, Run, leftovers, project
from tests.world import (
    MACHINE,
    MACHINE6,
    METADATA,
    OTHER,
    OTHER_NAME,
    OTHER_PORT,
    PORT,
    SERVER,
    SERVER6,
    WILDCARD_PORT,
    World,
    new_world,
)

pytestmark = pytest.mark.root

# Prints, as JSON, what each target of argv answers, or the name of the error within a second.
REACH = """\
import errno, json, socket, sys
def reach(target):
    host, _, port = target.rpartition(" ")
    try:
        if not host:
            client = socket.socket(socket.AF_UNIX)
            client.connect("\\0" + port)
        else:
            client = socket.create_connection((host, int(port)), timeout=1)
        return client.recv(99).decode()
    except socket.gaierror:
        return "no such name"
    except TimeoutError:
        return "nothing"
    except OSError as error:
        return errno.errorcode[error.errno]
print(json.dumps([reach(target) for target in sys.argv[1:]]))
"""
REFUSED = "ECONNREFUSED"


@pytest.fixture
def world(tmp_path: Path) -> Generator[World]:
    with new_world(tmp_path) as made:
        yield made
        assert made.traces() == []


def living_in(world: World, ci_env: CiEnv) -> CiEnv:
    """Return the same ci-env on the world's machine."""
    become = tuple(world.on_machine(*ci_env.account.become))
    return replace(ci_env, account=replace(ci_env.account, become=become))


def reaching(ci_env: CiEnv, *targets: str, allow: tuple[str, ...] = ()) -> Project:
    """Return a project with a step that tries to reach `host port` each, or an abstract socket."""
    words = " ".join(f'"{target}"' for target in targets)
    step = f"- {{name: reach, network: nat, allow: {json.dumps(allow)}, run: 'python3 reach.py {words}'}}"
    jobs = f"only:\n  steps:\n    {step}\n"
    return project(ci_env, jobs if allow else jobs.replace("allow: [], ", ""), files={"reach.py": REACH})


def answers(run: Run, step: str = "reach") -> list[str]:
    (line,) = run.lines(step)
    found: list[str] = json.loads(line)
    return found


def test_it_reaches_others_and_not_the_machine(actor: CiEnv, world: World) -> None:
    made = reaching(
        living_in(world, actor),
        *(f"{SERVER} {PORT}", f"server.test {PORT}", f"{OTHER_NAME} {OTHER_PORT}", f"nowhere.test {PORT}"),
        *(f"127.0.0.1 {PORT}", f"::1 {PORT}", f"{MACHINE} {PORT}", f"{METADATA} {PORT}", " greeting"),
    )
    hello = f"hello {MACHINE}"
    first, named, other, *rest = answers(made.run())
    assert (first, named in (hello, f"hello {MACHINE6}"), other) == (hello, True, hello)
    assert rest == ["no such name", *[REFUSED] * 5]
    assert leftovers(actor) == []


def test_the_gateway_does_not_lead_to_the_machine(actor: CiEnv, world: World) -> None:
    """As root it is the machine's end of a pair of interfaces; pasta would take it for the machine, unless told."""
    read_gateway = "route = open('/proc/net/route').read().splitlines()[1].split()[2]"
    script = f"import socket, subprocess\n{read_gateway}\naddress = socket.inet_ntoa(bytes.fromhex(route)[::-1])\n"
    script += f"subprocess.run(['python3', 'reach.py', f'{{address}} {WILDCARD_PORT}', '{MACHINE} {WILDCARD_PORT}'])\n"
    made = project(
        living_in(world, actor),
        "only: {steps: [{name: reach, network: nat, run: python3 ask.py}]}\n",
        files={"reach.py": REACH, "ask.py": script},
    )
    gateway_says, machine_says = answers(made.run())
    assert gateway_says in (REFUSED, "nothing")  # pasta keeps it to itself that nobody listens there
    assert machine_says == REFUSED


def test_many_one_after_the_other(actor: CiEnv, world: World) -> None:
    steps = "\n".join("    - {network: nat, run: 'true'}" for _ in range(15))
    made = project(living_in(world, actor), f"only:\n  steps:\n{steps}\n")
    assert set(made.run().steps.values()) == {"passed"}


@pytest.mark.parametrize("who", ["root", "user"])
def test_ipv6(ci_env: Callable[[Who], CiEnv], world: World, who: Who) -> None:
    """As root only where the host passes on IPv6 packets: ci-env changes none of its settings."""
    world.run("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")
    made = reaching(living_in(world, ci_env(who)), f"{SERVER6} {PORT}", f"{MACHINE6} {PORT}", f"{SERVER} {PORT}")
    assert answers(made.run()) == [f"hello {MACHINE6}", REFUSED, f"hello {MACHINE}"]


def test_an_allow_list(actor: CiEnv, world: World) -> None:
    made = reaching(
        living_in(world, actor),
        *(f"server.test {PORT}", f"{SERVER} {PORT}", f"{OTHER} {OTHER_PORT}"),
        *(f"server.test {OTHER_PORT}", f"{OTHER} {PORT}", f"{OTHER_NAME} {OTHER_PORT}", f"{MACHINE} {PORT}"),
        allow=(f"server.test:{PORT}", f"{OTHER}:{OTHER_PORT}", f"{MACHINE}:{PORT}"),
    )
    first, *rest = answers(made.run())
    assert first in (f"hello {MACHINE}", f"hello {MACHINE6}")
    assert rest == [*[f"hello {MACHINE}"] * 2, REFUSED, REFUSED, "no such name", REFUSED]


def test_a_step_cannot_undo_the_list(actor: CiEnv, world: World) -> None:
    """There is no way to nftables from inside, nor the right to use it; likewise for interfaces and addresses."""
    script = (
        "import errno, json, socket, struct\n"
        "def send(protocol, *messages):\n"
        "    try:\n"
        "        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)\n"
        "    except OSError as error:\n"
        "        return errno.errorcode[error.errno]\n"
        "    opened.settimeout(5)\n"
        "    opened.send(b''.join(messages))\n"
        "    return errno.errorcode[-struct.unpack_from('=i', opened.recv(4096), 16)[0]]\n"
        "def message(kind, flags, body):\n"
        "    return struct.pack('=IHHII', 16 + len(body), kind, flags | 1, 1, 0) + body\n"
        "batch = struct.pack('>BBH', 0, 0, 10)\n"
        "print(send(12, message(16, 0, batch), message(10 << 8 | 2, 4, bytes(4)), message(17, 0, batch)))\n"
        "print(send(0, message(16, 4, struct.pack('=BxHiII', 0, 0, 1, 0, 1))))\n"
    )
    made = project(
        living_in(world, actor),
        "only:\n  steps:\n    - {name: undo, network: nat, allow: ['server.test:1'], run: python3 undo.py}\n",
        files={"undo.py": script},
    )
    assert made.run().lines("undo") == ["EPROTONOSUPPORT", "EPERM"]


def test_a_name_of_the_list_that_does_not_exist(actor: CiEnv, world: World) -> None:
    made = reaching(living_in(world, actor), "nowhere.test 1", allow=("nowhere.test:1",))
    called = made.call("run")
    assert called.code == 4
    assert "cannot find the address of nowhere.test" in called.err


def test_several_at_once(actor: CiEnv, world: World) -> None:
    """Three jobs of two runs at the same time, each in a network of its own."""
    words = f'"{SERVER} {PORT}" "127.0.0.1 {OTHER_PORT}"'
    steps = f"steps: [{{name: reach, network: nat, run: 'python3 reach.py {words}; sleep 2'}}]"
    made = project(
        living_in(world, actor), "".join(f"{name}: {{{steps}}}\n" for name in "abc"), files={"reach.py": REACH}
    )
    runs: list[Run] = []
    threads = [threading.Thread(target=lambda: runs.append(made.run("--no-cache", "-j", "3"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [line for run in runs for line in run.lines("reach")]
    assert found == [json.dumps([f"hello {MACHINE}", REFUSED])] * 6


def test_nothing_is_left_after_kill_9(actor: CiEnv, world: World) -> None:
    there = living_in(world, actor)
    who = actor.account.who
    made = project(there, "only: {steps: [{network: nat, run: 'touch /tmp/x; echo started; sleep 300'}]}\n")
    argv = there.argv("run", "--format", "json")
    with subprocess.Popen(argv, cwd=made.root, env=there.environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert any('"started"' in line for line in process.stdout)
            assert (world.traces() != [], carriers(world)) == ((True, 0) if who == "root" else (False, 1))
        finally:
            os.kill(ci_env_of(process.pid), signal.SIGKILL)
    wait_until(lambda: world.traces() == [] and carriers(world) == 0)


def carriers(world: World) -> int:
    """Return how many pastas carry packets of the world's machine."""
    machine = os.readlink(f"/proc/{world.machine}/ns/net")
    named = [process for process in Path("/proc").glob("[0-9]*") if _name(process).startswith(("pasta", "passt"))]
    return sum(_is_in(process, machine) for process in named)


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text()
    except OSError:
        return ""


def _is_in(process: Path, namespace: str) -> bool:
    try:
        return os.readlink(process / "ns/net") == namespace
    except OSError:
        return False


def ci_env_of(process: int) -> int:
    """Return the process that ci-env is: all that leads to it has executed itself into it, or waits for it."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    names = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    return process if any(name.endswith(b"/ci-env") for name in names[:2]) else ci_env_of(int(children[0]))


def without_pasta(world: World) -> None:
    world.run("mount", "--bind", "/dev/null", os.path.realpath("/usr/bin/pasta"))


@pytest.mark.parametrize("who", ["user", "user-nosub"])
def test_a_user_needs_pasta(ci_env: Callable[[Who], CiEnv], world: World, who: Who) -> None:
    without_pasta(world)
    called = reaching(living_in(world, ci_env(who)), f"{SERVER} {PORT}").call("run")
    assert called.code == 3
    assert "`network: nat` needs pasta, which is not installed" in called.err
    assert "apt-get install passt" in called.err


OBSTACLES = {
    "net.ipv4.ip_forward is 0": "echo 0 >/proc/sys/net/ipv4/ip_forward",
    "its firewall drops what it forwards": (
        "nft add table ip filter;"
        "nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'"
    ),
}


@pytest.mark.parametrize("reason", OBSTACLES)
def test_a_host_that_does_not_route(ci_env: Callable[[Who], CiEnv], world: World, reason: str) -> None:
    """Root's packets are carried by pasta then; without it, both ways out are named."""
    world.run("sh", "-c", OBSTACLES[reason])
    made = reaching(living_in(world, ci_env("root")), f"{SERVER} {PORT}", f"{MACHINE} {PORT}", f"127.0.0.1 {PORT}")
    assert answers(made.run()) == [f"hello {MACHINE}", REFUSED, REFUSED]
    without_pasta(world)
    called = made.call("run", "--no-cache")
    assert called.code == 3
    assert reason in called.err
    assert "apt-get install passt" in called.err
    world.run("sh", "-c", "nft flush ruleset")


def test_a_firewall_that_lets_it_through(ci_env: Callable[[Who], CiEnv], world: World) -> None:
    chain = OBSTACLES["its firewall drops what it forwards"]
    rule = "nft add rule ip filter FORWARD"
    let_through = f"{rule} iifname 'ci-env*' accept; {rule} ct state established accept"
    world.run("sh", "-c", f"{chain}; {let_through}")
    without_pasta(world)
    assert answers(reaching(living_in(world, ci_env("root")), f"{SERVER} {PORT}").run()) == [f"hello {MACHINE}"]
    world.run("nft", "flush", "ruleset")


@pytest.mark.parametrize("resolver", ["nameserver 127.0.0.1\n", f"nameserver {MACHINE}\n"])
def test_a_name_server_of_the_machine_itself(actor: CiEnv, tmp_path: Path, resolver: str) -> None:
    with new_world(tmp_path, resolver=resolver) as world:
        made = reaching(living_in(world, actor), f"{OTHER_NAME} {PORT}")
        assert answers(made.run()) == [f"hello {MACHINE}"]

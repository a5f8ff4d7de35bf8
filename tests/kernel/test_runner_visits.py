"""Commands that join a running sandbox: they are where the step is, and may do no more than it."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import struct
import termios
import threading
import time
from pathlib import Path

import pytest

from ci_env.errors import ConfigError
from ci_env.ports import Visit
from tests.going_on import Running, going_on
from tests.kernel.test_runner_isolation import NAMESPACES
from tests.processes import running, wait_until
from tests.sandboxes import Place
from tests.visit_program import WITH_ITS_SANDBOX, visiting

PYTHON = "/usr/bin/python3"
STATUS = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
FACTS = f"""
import json, os, resource
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({{
    "status": {{name: status[name].split() for name in {STATUS}}},
    "namespaces": [os.readlink("/proc/self/ns/" + name) for name in {NAMESPACES}],
    "cgroup": open("/proc/self/cgroup").read(),
    "root": [os.stat("/").st_dev, os.stat("/").st_ino],
    "limits": [resource.getrlimit(kind) for kind in range(16)],
    "oom": open("/proc/self/oom_score_adj").read(),
    "env": {{name: value for name, value in os.environ.items() if name not in ("PWD", "SHLVL", "_", "OLDPWD")}},
    "cwd": os.getcwd(),
    "umask": os.umask(0o22),
    "signals": [status[name].strip() for name in ("SigBlk", "SigIgn")],
    "descriptors": sorted(os.listdir("/proc/self/fd"))[:3],
    "count": len(os.listdir("/proc/self/fd")),
}}), flush=True)
"""


@pytest.mark.parametrize("user", ["root", "1000:1000"])
def test_is_where_the_step_is_and_may_do_what_it_may(place: Place, nap: str, user: str) -> None:
    user = user if place.runner.is_owner_mapped() else "root"
    env = {"PATH": "/usr/bin:/bin", "MINE": "1"}
    with going_on(place, place.sandbox(("sh", "-c", f'{PYTHON} -c "$0"; {nap}', FACTS), user=user, env=env)) as step:
        done = step.visit((PYTHON, "-c", FACTS))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == json.loads(step.output)
        assert json.loads(done.stdout)["status"]["Seccomp"] == ["2"]


def test_streams_and_exit_status(place: Place, nap: str) -> None:
    with going_on(place, place.sandbox(f"echo; {nap}")) as step:
        done = step.visit("cat; echo error >&2; echo $$ >/dev/null; exit 42", stdin=b"a\0b\n" * 100_000)
        assert (done.returncode, done.stdout, done.stderr) == (42, b"a\0b\n" * 100_000, b"error\n")
        assert step.visit("kill -9 $$").returncode == 128 + 9
        assert b"cannot execute no-such: not found in the image\n" in step.visit(("no-such",)).stderr
        assert step.visit(("",)).returncode == 126
        assert step.visit("head -c 1; sleep 0.2", stdin=b"x" * 10_000_000).stdout == b"x"
        assert step.exit is None


def test_sees_processes_and_files_of_the_step(place: Place, nap: str) -> None:
    with going_on(place, place.sandbox(f"echo mine >/tmp/file; echo; exec {nap}", workdir="/opt")) as step:
        done = step.visit("cat /tmp/file; pwd; tr '\\0' ' ' </proc/2/cmdline; echo more >/tmp/file; ls /proc/self/fd")
        assert done.stdout.decode() == f"mine\n/opt\n{nap} 0\n1\n2\n3\n"  # 3 is the directory that ls reads


def test_user_and_directory_of_its_own(place: Place, nap: str) -> None:
    with going_on(place, place.sandbox(f"echo; {nap}")) as step:
        assert step.visit("pwd", workdir="/usr").stdout == b"/usr\n"
        if place.runner.is_owner_mapped():
            done = step.visit("id -u; grep CapEff /proc/self/status", user="1000")
            assert done.stdout == b"1000\nCapEff:\t" + b"0" * 16 + b"\n"
        outside = "/proc/self/fd/3"  # CVE-2024-21626
        for done in (
            step.visit("echo no", user="nobody-here"),
            step.visit("echo no", workdir="/no/such"),
            step.visit("echo no", workdir=outside),
        ):
            assert (done.returncode, done.stdout) == (2, b""), done.stderr
            assert b"ConfigError" in done.stderr


def test_ends_with_the_step(place: Place, nap: str) -> None:
    step = Running(place, place.sandbox("echo; read -r line </tmp/pipe || sleep 1"))
    wait_until(lambda: step.output)
    with visiting(place.runner, step.sandbox, f"trap '' TERM HUP; {nap}") as program:
        assert program.wait(timeout=20) == WITH_ITS_SANDBOX
    step.thread.join()
    assert step.ending == (0, None, "exit")
    assert not running(nap)


def test_ends_with_its_caller(place: Place, nap: str) -> None:
    with going_on(place, place.sandbox("echo; sleep 300")) as step:
        with visiting(place.runner, step.sandbox, f"trap '' TERM HUP; {nap}; {nap}") as program:
            wait_until(lambda: running(nap))
            program.kill()
            program.wait()
            wait_until(lambda: not running(nap))
        assert step.visit("echo on").stdout == b"on\n"


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "INT"), (signal.SIGTERM, "TERM"), (signal.SIGHUP, "HUP")])
def test_signals_are_passed_on(place: Place, nap: str, number: signal.Signals, name: str) -> None:
    script = f"trap 'echo asked; exit 5' {name}; echo ready; while :; do sleep 0.1; done"
    with going_on(place, place.sandbox(f"echo; {nap}")) as step:
        with visiting(place.runner, step.sandbox, script) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == b"ready\n"
            program.send_signal(number)
            out, _ = program.communicate(timeout=20)
            assert (program.returncode, out) == (5, b"asked\n")
        assert step.exit is None


def test_a_terminal_of_its_own(place: Place, nap: str) -> None:
    master, slave = os.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    before = termios.tcgetattr(slave)
    shown = b""

    def await_text(text: bytes) -> None:
        nonlocal shown
        deadline = time.monotonic() + 20
        while text not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([master], [], [], 0.2)[0]:
                shown += os.read(master, 65536)
        shown = shown.partition(text)[2]

    # what nobody inside may have put there is not used: the link, and names in /dev
    hostile = "ln -sfn /dev/null /dev/ptmx; touch /dev/console; echo"
    with going_on(place, place.sandbox(f"{hostile}; {nap}")) as step:
        with visiting(place.runner, step.sandbox, ("sh",), env={"PS1": "in$ "}, terminal=slave) as program:
            await_text(b"in$ ")
            os.write(master, b"tty; stty size; echo $((6*7))\n")
            await_text(b"/dev/pts/0\r\n33 99\r\n42\r\n")
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 132, 0, 0))
            time.sleep(0.5)
            os.write(master, b"stty size\n")
            await_text(b"40 132\r\n")
            os.write(master, f"echo rea''dy; {nap}\n".encode())
            await_text(b"ready\r\n")
            time.sleep(0.3)
            os.write(master, b"\x03")
            await_text(b"in$ ")
            os.write(master, b"echo status=$?; exit 7\n")
            await_text(b"status=130\r\n")
            assert program.wait(timeout=20) == 7
        assert termios.tcgetattr(slave) == before
    os.close(slave)
    os.close(master)


def test_several_at_once(place: Place, nap: str) -> None:
    with going_on(place, place.sandbox(f"echo; {nap}")) as step:
        found: dict[int, bytes] = {}

        def visit(number: int) -> None:
            found[number] = step.visit(f"sleep 0.5; echo {number}").stdout

        threads = [threading.Thread(target=visit, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {number: f"{number}\n".encode() for number in range(4)}


def test_before_there_is_a_step_it_waits(place: Place, nap: str) -> None:
    """While the sandbox is being made, its root is the host's."""
    for _ in range(8):
        step = Running(place, place.sandbox(f"exec {nap}"))
        deadline = time.monotonic() + 20
        while True:
            try:
                visitor = place.runner.join(step.sandbox, Visit(("true",), {}, None, None, has_terminal=False))
                break
            except ConfigError:
                assert time.monotonic() < deadline
        os.close(visitor)
        done = step.visit("cat /etc/hostname; ls /proc/1/root")
        assert (done.stdout, done.returncode) == (b"ci-env\n", 2), done.stderr
        wait_until(lambda: running(nap))[0].signal("KILL")
        step.thread.join()


def test_after_the_step_there_is_nothing_to_join(place: Place) -> None:
    sandbox = place.sandbox("true")
    place.execute(sandbox)
    with pytest.raises(ConfigError, match="has just ended"):
        place.runner.join(sandbox, Visit(("true",), {}, None, None, has_terminal=False))


def test_descriptors_of_the_caller_do_not_get_in(place: Place, tmp_path: Path, nap: str) -> None:
    """A file, or even a directory, of the caller's would be a way out."""
    with (
        open(tmp_path / "outside", "w+b") as outside,
        going_on(place, place.sandbox(f"echo; {nap}")) as step,
        visiting(place.runner, step.sandbox, "readlink /proc/self/fd/*; echo x >&0", stdin=outside) as program,
    ):
        out, err = program.communicate(timeout=20)
        assert (out.count(b"pipe:"), out.count(b"\n"), program.returncode) == (3, 3, 1), err
        assert (tmp_path / "outside").read_bytes() == b""


def test_the_process_that_becomes_a_visitor_gives_nothing_away(place: Place) -> None:
    """A step looks into each process that appears, as CVE-2016-9962 and CVE-2019-5736 did."""
    spy = """
import os, time
print(flush=True)
end, seen, open_ = time.monotonic() + 4, set(), set()
while time.monotonic() < end:
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) not in (1, os.getpid()):
            try:
                is_ours = b"launcher" in open(f"/proc/{name}/cmdline", "rb").read()
            except OSError:
                continue
            if is_ours:
                seen.add(name)
                for what in ("fd", "root", "cwd"):
                    try:
                        os.listdir(f"/proc/{name}/{what}")
                        open_.add(what)
                    except OSError:
                        pass
                for what in ("mem", "exe", "maps", "environ"):
                    try:
                        open(f"/proc/{name}/{what}", "rb").read(1)
                        open_.add(what)
                    except OSError:
                        pass
                try:
                    has_become = b"launcher" not in open(f"/proc/{name}/cmdline", "rb").read()
                except OSError:
                    has_become = True
                if has_become:
                    open_.clear()  # the command, which may be looked into
print(len(seen) > 0, sorted(open_))
"""
    step = Running(place, place.sandbox((PYTHON, "-c", spy)))
    wait_until(lambda: step.output)
    while step.thread.is_alive():
        with visiting(place.runner, step.sandbox, "true") as program:
            program.wait()
    assert step.output.decode().splitlines()[-1] == "True []"

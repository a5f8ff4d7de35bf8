"""Hosts that refuse isolation, and callers in odd states or killed: a program of its own runs the step."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ci_env.errors import HostError
from ci_env_runners import namespace
from tests.processes import Found, running, wait_until
from tests.sandboxes import Place, new_place
from tests.step_program import argv, environment


@pytest.fixture
def store(tmp_path: Path) -> Path:
    store = tmp_path / "store"
    (store / "mnt").mkdir(parents=True)
    return store


def in_user_namespace(*settings: str) -> Sequence[str]:
    """Return an argv prefix: in a user namespace, as its root, with settings of its own."""
    commands = [f"echo 0 >/proc/sys/user/{name}" for name in settings]
    return ("unshare", "--user", "--map-root-user", "sh", "-c", " && ".join([*commands, 'exec "$@"']), "sh")


def outcome(store: Path, *before: str, script: str = "echo ran") -> str:
    done = subprocess.run(
        argv("run", store, script, *before),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_without_user_namespaces_the_setting_and_the_fix_are_named(store: Path) -> None:
    found = outcome(store, *in_user_namespace("max_user_namespaces"))
    assert found.startswith(
        "HostError: cannot isolate steps: cannot make a user namespace: user.max_user_namespaces is 0\n"
    )
    assert "\n$ sudo sysctl -w user.max_user_namespaces=15000\n" in found


@pytest.mark.parametrize(("setting", "kind"), [("max_net_namespaces", "network"), ("max_pid_namespaces", "PID")])
def test_without_another_kind_of_namespace_its_setting_is_named(store: Path, setting: str, kind: str) -> None:
    found = outcome(store, *in_user_namespace(setting))
    assert f": user.{setting} is 0\n" in found
    assert f"allow {kind} namespaces:\n$ sudo sysctl -w user.{setting}=15000\n" in found


def test_a_root_of_a_user_namespace_is_one_user(store: Path) -> None:
    assert outcome(store, *in_user_namespace()).startswith("ran\n")


def test_signals_that_are_ignored_from_the_start(store: Path) -> None:
    """A service may be started with SIGCHLD ignored: its children then have no status to wait for."""
    assert outcome(store, "env", "--ignore-signal=CHLD", "--ignore-signal=QUIT").startswith("ran\n")


def test_descriptors_of_the_caller_are_not_the_steps(store: Path) -> None:
    """10 and 251 are open, inheritable and lead out; 3 is that of the directory being listed."""
    before = ("bash", "-c", 'exec 10</ 251</ && exec "$@"', "bash")
    done = subprocess.run(
        argv("run", store, "ls /proc/self/fd; exec 9</", *before),
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split()[:5] == ["0", "1", "2", "3", "ended:"]


def test_no_standard_streams(store: Path) -> None:
    done = subprocess.run(
        argv("run", store, "echo ran >/etc/ran", "sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"),
        env=environment(),
        timeout=60,
    )
    assert done.returncode is not None
    (made,) = store.glob("layers/*/host/etc/ran")
    assert made.read_text() == "ran\n"


def test_a_store_that_is_not_there(store: Path) -> None:
    with (
        namespace.open(store / "gone") as runner,
        pytest.raises(HostError, match=r"cannot (enter|clone) the store.*: No such file or directory"),
    ):
        runner.run(Place(store, runner).sandbox("true"), lambda _: None)


def test_a_place_for_layers_that_is_none(store: Path) -> None:
    with namespace.open(store) as runner:
        sandbox = Place(store, runner).sandbox("true")
        (sandbox.rootfs.upper / "root").touch()
        with pytest.raises(HostError, match=r"cannot make .*/root: "):
            runner.run(sandbox, lambda _: None)


def test_every_process_too_many_is_told(store: Path) -> None:
    """A limit of processes may be met by any of those that a sandbox takes."""
    found = [outcome(store, "prlimit", f"--nproc={limit}") for limit in range(1, 14)]
    for text in found:
        assert text.startswith("ran\n") or "Resource temporarily unavailable\nend other processes" in text
    assert any(text.startswith("HostError") for text in found)


@pytest.mark.parametrize("moment", ["while the step runs", "at once"])
def test_nothing_outlives_a_caller_that_is_killed(tmp_path: Path, nap: str, moment: str) -> None:
    for _ in range(1 if moment == "while the step runs" else 8):
        with new_place(tmp_path / "store") as place:
            kill_caller(place, nap, at_once=moment == "at once")
            assert place.execute(place.sandbox("echo usable", lowers=[])).output == "usable\n"
        (tmp_path / "store/mnt").rmdir()


def kill_caller(place: Place, nap: str, *, at_once: bool) -> None:
    script = f"setsid {nap} & {nap}"
    program = argv("run", place.store, script)
    with (
        open(place.store / "errors", "w") as errors,
        subprocess.Popen(program, env=environment(), stdout=subprocess.DEVNULL, stderr=errors) as caller,
    ):
        if at_once:
            wait_until(lambda: launchers(caller.pid))
        else:
            wait_until(lambda: len(running(nap)) == 2)
        left = [*launchers(caller.pid)]
        caller.kill()
        killed = time.monotonic()
    wait_until(lambda: not running(nap) and not any(is_alive(process) for process in left))
    assert time.monotonic() - killed < 2
    assert mounts_of(place.store) == []
    assert (place.store / "errors").read_text() == ""


def launchers(pid: int) -> list[Found]:
    """Return the children of a process."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [Found(int(child)) for child in children.read_text().split()] if children.exists() else []


def is_alive(process: Found) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process.pid}/stat").read_text()
    except OSError:
        return False


def mounts_of(store: Path) -> list[str]:
    """Return the processes in whose mount namespace something of the store is mounted."""
    found: list[str] = []
    for mountinfo in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            if str(store) in mountinfo.read_text():
                found.append(str(mountinfo))
        except OSError:
            continue
    return found


@pytest.mark.root
def test_mounts_that_the_host_shares_get_none_of_ours(store: Path) -> None:
    """systemd makes `/` shared; what is mounted in a clone of such a mount would appear on the host."""
    script = 'mount --make-rshared / && before=$(cat /proc/self/mountinfo) && "$@" && '
    script += 'test "$(cat /proc/self/mountinfo)" = "$before" && echo "no mount left"'
    assert outcome(store, "unshare", "--mount", "sh", "-c", script, "sh").endswith("no mount left\n")


def test_the_umask_of_the_caller_does_not_matter(store: Path) -> None:
    found = outcome(store, "sh", "-c", 'umask 077 && exec "$@"', "sh", script="stat -c %a / /usr /etc")
    assert found.startswith("755\n755\n755\n")


def test_soft_limits_of_the_caller_do_not_matter(store: Path) -> None:
    found = outcome(store, "sh", "-c", 'ulimit -S -f 5555 && exec "$@"', "sh", script="ulimit -S -f; ulimit -H -f")
    soft, hard, *_ = found.splitlines()
    assert soft == hard


def test_a_store_of_other_owners_is_refused(store: Path) -> None:
    assert outcome(store).startswith("ran\n")
    kind = (store / "owners").read_text()
    (store / "owners").write_text("mapped" if kind == "single" else "single")
    found = outcome(store)
    assert found.startswith(f"HostError: the layers in {store} were made with")
    assert f"remove the store (rm -r {store})" in found

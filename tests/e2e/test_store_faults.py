"""The store in hard times: pulls that are killed, that meet each other or a full disk, and prune beside all of it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ci_env.store.measure import size
from tests.account import Who
from tests.fault_registry import Behaviour, FaultRegistry, Request, Response, fault_registry, serving
from tests.installed import CiEnv, Installed
from tests.oci_builder import Image, d, f, image, sha256, tar
from tests.processes import wait_until
from tests.project import leftovers, project

KILLS = 200
KILLING_S = 45
PRUNING_S = 25
_noise = random.Random(3)
LAYERS = [tar([d(f"d{n}"), *(f(f"d{n}/{i}", _noise.randbytes(40_000)) for i in range(12))]) for n in range(3)]
IMAGE = image(LAYERS)


def reference(registry: FaultRegistry) -> str:
    return f"{registry.host}/team/app:1"


def blob_requests(registry: FaultRegistry) -> Counter[str]:
    return Counter(path.rpartition("/")[2] for path in registry.paths() if "/blobs/" in path)


def forget(ci_env: CiEnv) -> None:
    """Remove all that was pulled, as if it had never been, but nothing that a crash has left."""
    for name in ("layers", "images", "blobs/sha256"):
        for path in (ci_env.store / name).iterdir():
            if not path.name.startswith("."):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_killed_pulls_leave_nothing_for_long(ci_env: Callable[[Who], CiEnv]) -> None:
    clean, killed = ci_env("user"), ci_env("user")
    chance = random.Random(7)
    with fault_registry(serving(IMAGE)) as registry:
        began = time.monotonic()
        assert clean.run("image", "pull", reference(registry)).returncode == 0
        whole_s = time.monotonic() - began
        kills, deadline = 0, time.monotonic() + KILLING_S
        while kills < KILLS and time.monotonic() < deadline:
            process = killed.start("image", "pull", reference(registry))
            time.sleep(chance.uniform(0.1, 1) * min(whole_s, 1))
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=20)
            kills += process.returncode == -signal.SIGKILL
            if kills % 5 == 0:
                forget(killed)
        assert kills > 20
        assert killed.run("image", "pull", reference(registry)).returncode == 0
    wait_until(lambda: leftovers(killed) == [], 40)
    checked = killed.run("store", "check")
    assert checked.returncode == 0, checked.stdout
    sizes = [size(os.fsencode(used.store)) for used in (clean, killed)]
    assert abs(sizes[0] - sizes[1]) <= sizes[0] / 100 + 2**16, sizes


def gated(content: Image, is_open: Callable[[Request], bool]) -> Behaviour:
    """Return a registry that answers a request only once `is_open`."""
    normal = serving(content)

    def behave(request: Request) -> Response:
        deadline = time.monotonic() + 60
        while not is_open(request) and time.monotonic() < deadline:
            time.sleep(0.01)
        return normal(request)

    return behave


def test_two_pulls_ask_for_each_blob_once(actor: CiEnv) -> None:
    manifests: list[Request] = []

    def is_open(request: Request) -> bool:
        if "/manifests/" in request.path and request not in manifests:
            manifests.append(request)
        return "/blobs/" not in request.path or len(started) == 2

    started: list[subprocess.Popen[str]] = []
    with fault_registry(gated(IMAGE, is_open)) as registry:
        pulls = [actor.start("image", "pull", reference(registry)) for _ in range(2)]
        wait_until(lambda: sum("/manifests/" in path for path in registry.paths()) == 2, 40)
        started += pulls
        said = [pull.communicate(timeout=60) for pull in pulls]
        assert [pull.returncode for pull in pulls] == [0, 0], said
    assert set(blob_requests(registry).values()) == {1}, blob_requests(registry)
    assert len(blob_requests(registry)) == len(IMAGE.blobs)
    assert leftovers(actor) == []


def test_a_waiting_pull_takes_over_from_a_dead_one(ci_env: Callable[[Who], CiEnv]) -> None:
    layer, release = sha256(IMAGE.layers[0]), threading.Event()

    def is_open(request: Request) -> bool:
        return not request.path.endswith(layer) or release.is_set()

    ours = ci_env("user")
    with fault_registry(gated(IMAGE, is_open)) as registry:
        first = ours.start("image", "pull", reference(registry))
        wait_until(lambda: blob_requests(registry)[layer] == 1, 40)
        second = ours.start("image", "pull", reference(registry))
        wait_until(lambda: sum("/manifests/" in path for path in registry.paths()) == 2, 40)
        time.sleep(0.5)
        assert blob_requests(registry)[layer] == 1, "the second one waits for the first"
        os.killpg(first.pid, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: blob_requests(registry)[layer] == 2, 40)
        assert time.monotonic() - killed < 2
        release.set()
        _, said = second.communicate(timeout=60)
        assert second.returncode == 0, said
        first.communicate(timeout=20)
    assert ours.run("store", "check").returncode == 0


# argv: ci-env, a directory, an image. Pulls to ever larger filesystems, until one is large enough. A pull that fails
# says why, leaves no scratch and no half of anything, and succeeds once there is room.
FULL = """if True:
    import os, subprocess, sys
    from pathlib import Path

    program, root, reference = sys.argv[1:]
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "CI_ENV_HOME": root}

    def ci_env(*arguments):
        done = subprocess.run([program, *arguments], env=env, capture_output=True, text=True, timeout=120)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    kib, failures = 48, 0
    while True:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=700,size={kib}k", "tmpfs", root], check=True)
        done = ci_env("image", "pull", reference)
        if done.returncode == 0:
            break
        failures += 1
        assert done.returncode == 3, (done.returncode, done.stderr)
        assert "No space left on device" in done.stderr, done.stderr
        left = [str(path) for path in Path(root, "tmp").glob("*")]
        assert not left, left
        subprocess.run(["mount", "-o", "remount,size=64m", root], check=True)
        checked = ci_env("store", "check")
        assert checked.returncode == 0, checked.stdout
        again = ci_env("image", "pull", reference)
        assert again.returncode == 0, again.stderr
        subprocess.run(["umount", root], check=True)
        kib = kib * 5 // 4
    assert ci_env("store", "check").returncode == 0
    print(failures)
"""


@pytest.mark.root
def test_pulls_to_a_full_disk(installed: Installed, tmp_path: Path) -> None:
    with fault_registry(serving(IMAGE)) as registry:
        argv = ["unshare", "-m", sys.executable, "-c", FULL, str(installed.program), str(tmp_path), reference(registry)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5


def test_prune_beside_runs_and_pulls(ci_env: Callable[[Who], CiEnv]) -> None:
    """Nothing that runs notices it, and what the newest runs speak of can be replayed at any time."""
    ours = ci_env("user")
    made = project(ours, "only: {steps: [{name: a, run: 'date +%N >x'}, {name: b, run: cat x, caches: [/c]}]}")
    made.run()
    failed: list[str] = []
    deadline = time.monotonic() + PRUNING_S
    count = Counter[str]()

    def repeat(*commands: tuple[str, ...]) -> None:
        while time.monotonic() < deadline and not failed:
            for command in commands:
                done = ours.run(*command, cwd=made.root)
                count[command[0]] += 1
                if done.returncode or "Traceback" in done.stderr:
                    failed.append(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")

    with fault_registry(serving(IMAGE)) as registry:
        work = (
            (("prune", "--older", "0s", "--keep", "2"),),
            (
                ("run", "--format", "plain"),
                ("replay", "last"),
                ("run", "--no-cache", "--format", "plain"),
                ("replay", "last"),
            ),
            (("image", "pull", reference(registry)),),
        )
        threads = [threading.Thread(target=repeat, args=commands) for commands in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PRUNING_S + 120)
        assert not failed, failed[0]
        assert min(count.values()) > 2, count
    checked = ours.run("store", "check")
    assert checked.returncode == 0, checked.stdout
    assert "incomplete" not in checked.stdout
    assert ours.run("prune", "--all").returncode == 0
    assert list((ours.store / "layers").iterdir()) == []
    assert list((ours.store / "caches").iterdir()) == []
    assert list((ours.store / "runs").iterdir()) == []
    assert leftovers(ours) == []


@pytest.mark.root
def test_a_store_has_one_owner(ci_env: Callable[[Who], CiEnv], shared: Path) -> None:
    theirs = {"CI_ENV_HOME": str(shared / f"of-root-{os.urandom(4).hex()}")}
    assert ci_env("root").run("store", "check", env=theirs).returncode == 0
    for who in ("user", "user-nosub"):
        done = ci_env(who).run("store", "check", env=theirs)
        assert done.returncode == 3
        assert "belongs to user 0, but this is user" in done.stderr
        assert "point CI_ENV_HOME at a directory of your own" in done.stderr

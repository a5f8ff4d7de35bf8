"""What this host can do, tried for real; compared with what util-linux and the system's files say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ci_env_runners.host
from ci_env_runners.probe import abilities
from tests.sandboxes import Place

PROGRAM = """
import json, sys
from pathlib import Path
from ci_env_runners.probe import abilities
from tests.sandboxes import Place
store = Path(sys.argv[1]) if sys.argv[1:] else None
print(json.dumps({found.name: [found.state, found.detail, found.fix, found.required] for found in abilities(store)}))
"""
# Becomes root of a user namespace in which no other may be made.
FORBID = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
Found = dict[str, tuple[str, str, str, bool]]


def probe(*before: str, store: Path | None = None) -> Found:
    """Return what is found in a process of its own, started by `before`."""
    # ci_env_runners may be known by an editable installation only, which is the interpreter's business
    packages = {Path(module.__file__ or "").parents[1] for module in (ci_env_runners.host, sys.modules["ci_env.ports"])}
    done = subprocess.run(
        [*before, sys.executable, "-c", PROGRAM, *([str(store)] if store else [])],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, packages))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    found: Found = json.loads(done.stdout)
    return found


def works(*argv: str) -> bool:
    return subprocess.run(argv, capture_output=True, check=False, timeout=30).returncode == 0


def test_same_as_util_linux_finds() -> None:
    found = {ability.name: ability.state == "found" for ability in abilities()}
    in_namespace = ("unshare", "--user", "--map-root-user")
    assert found["user namespaces"] == works(*in_namespace, "true")
    every_kind = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork")
    assert found["other namespaces"] == works(*in_namespace, *every_kind, "true")
    assert found["proc and sysfs"] == works(*in_namespace, *every_kind, "--mount-proc", "true")


def test_subordinate_ids_as_newuidmap_allows() -> None:
    (found,) = [ability for ability in abilities() if ability.name == "subordinate ids"]
    expected = os.geteuid() == 0 or works("unshare", "--user", "--map-root-user", "--map-auto", "true")
    assert (found.state == "found") == expected
    assert found.required == (os.geteuid() == 0)


def test_where_user_namespaces_are_used_up_the_fix_is_told() -> None:
    found = probe("unshare", "--user", "--map-root-user", "sh", "-c", FORBID, "sh")
    state, detail, fix, required = found["user namespaces"]
    assert (state, required) == ("missing", True)
    assert detail == "cannot make a user namespace: user.max_user_namespaces is 0"
    assert "\n$ sudo sysctl -w user.max_user_namespaces=15000\n" in fix
    assert found["overlay"][1] == "not tried: needs user namespaces"
    assert found["openat2"][0] == "found"


def test_filesystem_of_the_store_is_tried(tmp_path: Path) -> None:
    store = tmp_path / "not/made/yet"
    found = probe(store=store)
    assert str(tmp_path) in found["overlay"][1]
    assert not list(tmp_path.iterdir())


def test_overlay_on_an_overlay_is_refused_or_works_but_never_a_crash(tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work,userxattr"
    mount = f'mount -t overlay overlay -o {options} {tmp_path}/merged && exec "$@"'
    found = probe("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh", store=tmp_path / "merged")
    state, detail, fix, _ = found["overlay"]
    assert "(overlay)" in detail or (state == "missing" and fix)


def test_nothing_is_left(tmp_path: Path) -> None:
    def processes() -> str:
        return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout

    abilities(tmp_path)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()  # others may mount at the same time
    assert str(tmp_path) not in processes()
    assert not list(tmp_path.iterdir())


def test_measures_are_those_of_a_run(place: Place) -> None:
    """Without what holds limits, which has a line of its own."""
    (shown,) = [ability.detail for ability in abilities() if ability.name == "measures in force"]
    assert place.execute(place.sandbox("true")).exit.code == 0
    assert shown.split(", ") == [name for name in place.runner.measures() if not name.startswith("cgroup-v")]

"""`ci-env doctor` without a host: how findings are judged, what is advised, and how it looks."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ci_env.ports import Ability
from ci_env.ui.doctor import can_run, render
from ci_env_runners.delegation import Delegation, read_delegation
from ci_env_runners.host import Host, Nat
from ci_env_runners.probe import judge
from ci_env_runners.refusal import Restrictions, explain
from ci_env_runners.trials import Failure

TRIALS = (
    *("user_namespace", "namespaces", "proc", "id_map", "subordinate_ids", "overlay", "idmapped_mount"),
    *("mount_api", "seccomp", "openat2", "nftables", "tun"),
)
FREE = Restrictions(
    max_user_namespaces=15000,
    unprivileged_userns_clone=None,
    apparmor_restrict_unprivileged_userns=None,
    is_privileged=False,
    is_filtered=False,
    is_in_chroot=False,
    program="/usr/bin/python3.12",
)
V2 = Delegation(version="v2", limits=("cpu", "memory", "pids"))
REFUSED: Failure = ("make a user namespace", errno.EPERM)


def host(failures: Mapping[str, Failure] | None = None, **changes: object) -> Host:
    """Return a host of an ordinary user where all goes well but what is said."""
    well = Host(
        user="ann",
        is_root=False,
        place="/home (ext4)",
        restrictions=FREE,
        delegation=V2,
        subordinate_ids=65536,
        first_free_id=165536,
        nat=Nat("/usr/bin/pasta", "", ""),
        failures=dict.fromkeys(TRIALS) | dict(failures or {}),
        untried=("", 0),
    )
    return replace(well, **changes)  # type: ignore[arg-type]  # names and types of Host's fields


def ability(name: str, on: Host) -> Ability:
    (found,) = [found for found in judge(on) if found.name == name]
    return found


@pytest.mark.parametrize("is_root", [True, False])
def test_on_a_good_host_everything_is_found(is_root: bool) -> None:
    abilities = judge(host(is_root=is_root))
    assert {(found.state, found.cost, found.fix) for found in abilities} == {("found", "", "")}
    assert can_run(abilities)
    assert render(abilities, 80)[-1] == "This host can run steps."


@pytest.mark.parametrize("trial", TRIALS)
def test_whatever_is_missing_says_what_it_costs_and_how_to_get_it(trial: str) -> None:
    for number in (0, errno.EPERM, errno.ENOSYS, errno.ENODEV, errno.EACCES, errno.ENOENT):
        for is_root in (True, False):
            for found in judge(host({trial: ("do this", number)}, is_root=is_root)):
                assert (found.state == "found") == (not found.cost) == (not found.fix)


def test_without_user_namespaces_what_needs_them_is_not_blamed() -> None:
    needing = {name: REFUSED for name in TRIALS if name not in ("seccomp", "openat2")}
    abilities = judge(host(needing))
    assert not can_run(abilities)
    untried = [found for found in abilities if found.detail == "not tried: needs user namespaces"]
    assert {found.fix for found in untried} == {"get user namespaces first"}
    assert {found.name for found in abilities} - {found.name for found in untried} == {
        *("user namespaces", "AppArmor permission", "idmapped mounts", "seccomp filters", "openat2", "control groups")
    }


def test_trials_that_could_not_be_run_are_told() -> None:
    on = host(failures={}, untried=("try this: No such file", 0))
    on = replace(on, failures={})
    assert ability("user namespaces", on).detail == "cannot try this: No such file"
    assert not can_run(judge(on))


def test_apparmor_profile_names_the_python() -> None:
    restricted = replace(FREE, apparmor_restrict_unprivileged_userns=1)
    on = host({"user_namespace": REFUSED}, restrictions=restricted)
    found = ability("AppArmor permission", on)
    assert (found.state, found.required) == ("missing", True)
    assert "\n$ printf 'abi <abi/4.0>,\\nprofile ci-env /usr/bin/python3.12 flags=(unconfined)" in found.fix
    assert ability("AppArmor permission", host(restrictions=restricted)).state == "found"
    privileged = replace(restricted, is_privileged=True)
    assert ability("AppArmor permission", host(restrictions=privileged)).detail == "no restriction of user namespaces"


def test_subordinate_ids_are_no_condition() -> None:
    on = host({"subordinate_ids": ("find a range of ann in /etc/subuid", 0)}, subordinate_ids=0)
    found = ability("subordinate ids", on)
    assert (found.state, found.required) == ("missing", False)
    assert found.fix.endswith("\n$ sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 ann")
    no_program = ability("subordinate ids", host({"subordinate_ids": ("find newuidmap", errno.ENOENT)}))
    assert no_program.fix.endswith("\n$ sudo apt-get install uidmap")
    assert ability("subordinate ids", host(subordinate_ids=1000)).state == "degraded"


def test_how_nat_is_had() -> None:
    def seen(nat: Nat, failures: Mapping[str, Failure] | None = None) -> list[str]:
        found = [ability(name, host(failures, nat=nat)) for name in ("network: nat", "/dev/net/tun")]
        return [found[0].detail, found[0].fix, found[1].detail]

    refused = {"tun": ("open /dev/net/tun", errno.EACCES)}
    assert seen(Nat("", "", ""), refused) == [
        "this host routes packets",
        "",
        "not needed: this host routes packets",
    ]
    carried, _, device = seen(Nat("/usr/bin/pasta", "", ""), refused)
    assert (carried, device) == ("/usr/bin/pasta carries packets", "cannot open /dev/net/tun: Permission denied")
    assert seen(Nat("", "it needs pasta", "install it"))[:2] == ["it needs pasta", "install it"]
    modprobe = seen(Nat("", "", ""), {"nftables": ("make a table of nftables", errno.EOPNOTSUPP)})[1]
    assert modprobe.endswith("$ sudo modprobe nf_tables")


@pytest.mark.parametrize(
    ("delegation", "state", "cost"),
    [
        (V2, "found", ""),
        (Delegation("v1", ("cpu", "memory", "pids")), "found", ""),
        (Delegation("v2", ()), "missing", "(docs/isolation.md): cpu, memory, pids"),
        (Delegation("v2", ("memory", "pids")), "degraded", "(docs/isolation.md): cpu"),
        (Delegation("none", ()), "missing", "(docs/isolation.md): cpu, memory, pids"),
    ],
)
def test_control_groups(delegation: Delegation, state: str, cost: str) -> None:
    found = ability("control groups", host(delegation=delegation))
    assert (found.state, found.required) == (state, False)
    assert found.cost.endswith(cost)


@pytest.mark.parametrize(
    ("error", "restrictions", "reason", "fix"),
    [
        (errno.ENOSPC, replace(FREE, max_user_namespaces=0), "is 0", "$ sudo sysctl -w user.max_user_namespaces=15000"),
        (errno.ENOSPC, FREE, "(15000 here) is reached", "raise user.max_user_namespaces there"),
        (errno.EPERM, replace(FREE, unprivileged_userns_clone=0), "unprivileged_userns_clone is 0", "userns_clone=1"),
        (errno.EPERM, replace(FREE, is_filtered=True), "a seccomp filter is in force", "$ docker run --security-opt"),
        (errno.EPERM, replace(FREE, is_in_chroot=True), "in a chroot", "outside of the chroot"),
        (errno.EINVAL, FREE, "built without user namespaces", "CONFIG_USER_NS=y"),
        (errno.EPERM, FREE, "no setting known to ci-env says why", "the kernel's log"),
    ],
)
def test_refusal_is_explained(error: int, restrictions: Restrictions, reason: str, fix: str) -> None:
    why, advice = explain(error, restrictions)
    assert reason in why
    assert fix in advice
    assert ("/etc/sysctl.d" in advice) == ("$ sudo sysctl" in advice)


def test_several_causes_are_all_told() -> None:
    restrictions = replace(FREE, is_filtered=True, is_in_chroot=True)
    why, advice = explain(errno.EPERM, restrictions)
    assert why.count("; or ") == 1
    assert len(advice.splitlines()) == 3


def test_looks() -> None:
    abilities = (
        Ability("one", "found", "made one", "", "", required=True),
        Ability("another", "missing", "cannot " + "word " * 12, "no step can run", "do:\n$ a " + "b " * 40, True),
    )
    assert render(abilities, 50) == [
        "one      found     made one",
        "another  missing   cannot word word word word word",
        "                   word word word word word word",
        "                   word",
        "  cost: no step can run",
        "  fix:  do:",
        "        $ a " + "b " * 40,
        "",
        "This host cannot run steps; it lacks: another.",
    ]
    assert render((), 10) == ["", "This host can run steps."]


def test_no_line_is_wider_than_the_terminal_but_commands() -> None:
    for width in (80, 160):
        lines = render(judge(host(dict.fromkeys(TRIALS, REFUSED), restrictions=replace(FREE, is_filtered=True))), width)
        assert all(len(line) <= width or line.lstrip().startswith("$ ") for line in lines)


def mounted(process: Path, line: str, cgroup: str) -> Delegation:
    (process / "mountinfo").write_text(line)
    (process / "cgroup").write_text(cgroup)
    return read_delegation(process)


def test_delegation_is_found_by_making_a_group(tmp_path: Path) -> None:
    group = tmp_path / "sys" / "user" / "mine"
    group.mkdir(parents=True)
    (group / "cgroup.controllers").write_text("cpu io memory\n")
    mount = f"30 1 0:1 / {tmp_path}/sys rw shared:1 - cgroup2 none rw\n"
    assert mounted(tmp_path, mount, "0::/user/mine\n") == Delegation("v2", ("cpu", "memory"))
    assert sorted(path.name for path in group.iterdir()) == ["cgroup.controllers"]
    in_container = f"30 1 0:1 /user {tmp_path}/sys/user rw - cgroup2 none rw\n"
    assert mounted(tmp_path, in_container, "0::/user/mine\n").limits == ("cpu", "memory")


def test_delegation_where_there_is_none(tmp_path: Path) -> None:
    assert read_delegation(tmp_path) == Delegation("none", ())
    mount = f"30 1 0:1 / {tmp_path}/gone rw - cgroup none rw,cpu,cpuacct\n"
    assert mounted(tmp_path, mount, "1:cpu,cpuacct:/\n") == Delegation("v1", ())

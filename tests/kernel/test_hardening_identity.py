"""Rights that a step has and cannot extend: capabilities, ids, set-uid programs, namespaces."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import cast

import pytest

from tests.attempts import PYTHON, attempt
from tests.sandboxes import Place
from tests.system_calls import numbers, tried

NEW_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
USERS = ("0", "1000:1000")

# A program with all file capabilities and the set-uid and set-gid bits: version 2, effective, all permitted.
SET_UP = f"""
import os, shutil, struct
shutil.copy("{PYTHON}", "/opt/powerful")
everything = struct.pack("<5I", 0x02000001, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
try:
    os.setxattr("/opt/powerful", "security.capability", everything)
except OSError as error:
    print(error)
os.chmod("/opt/powerful", 0o6755)
"""
STATUS = (
    "print(*[line.split()[1:] for line in open('/proc/self/status') if line[:6] in ('Uid:\\t', 'CapEff', 'CapPrm')])"
)


def users(place: Place) -> tuple[str, ...]:
    return USERS if place.runner.is_owner_mapped() else USERS[:1]


def test_set_uid_and_file_capabilities_give_nothing(place: Place) -> None:
    """An image or a step may mark a program as it likes; who executes it stays who he is."""
    marked = place.execute(place.sandbox((PYTHON, "-c", SET_UP)))
    assert marked.exit.code == 0, marked.output
    (program,) = [path for path in (marked.layer / "host/opt").iterdir() if path.name == "powerful"]
    assert program.lstat().st_mode & 0o7000 or not place.runner.is_owner_mapped()
    for user in users(place):
        own = place.execute(place.sandbox((PYTHON, "-I", "-c", STATUS), user=user))
        through = place.execute(place.sandbox(("/opt/powerful", "-I", "-c", STATUS), user=user, lowers=[marked.layer]))
        assert (through.exit.code, through.output) == (0, own.output)


def test_ids_of_the_host_cannot_be_mapped(place: Place) -> None:
    files = ("uid_map", "gid_map", "setgroups")  # whoever likes may write projid_map; it gives no right to anything
    for error in attempt(place, *(f"os.write(os.open('/proc/self/{name}', os.O_WRONLY), b'0 0 1')" for name in files)):
        assert error in ("EPERM", "EACCES", "EINVAL")
    assert attempt(place, "int(open('/proc/self/uid_map').read().split()[1]) > 0") == [True]


@pytest.mark.parametrize("flag", NEW_NAMESPACES)
def test_no_namespace_can_be_made(place: Place, flag: int) -> None:
    calls = f'outcome("unshare", {flag}), outcome("clone", {flag | signal.SIGCHLD}, 0, 0, 0, 0)'
    for user in users(place):
        assert tried(place, f"[{calls}]", user=user) == ["EPERM", "EPERM"]


def test_no_namespace_of_time_can_be_made(place: Place) -> None:
    """Its bit belongs to the signal in clone(2), so only unshare(2) makes one."""
    assert tried(place, 'outcome("unshare", 0x80)') == "EPERM"


def test_no_namespace_can_be_entered(place: Place) -> None:
    calls = ", ".join(f'outcome("setns", os.open("/proc/self/ns/{name}", os.O_RDONLY), 0)' for name in ("user", "mnt"))
    assert tried(place, f"[{calls}]") == ["EPERM"] * 2


def test_capabilities_that_are_gone_do_not_come_back(place: Place) -> None:
    """CVE-2022-29162: nothing is inheritable, so no file capability of an image adds to what there is."""
    found = tried(
        place,
        '[outcome("prctl", 47, 2, 21, 0, 0), outcome("prctl", 47, 2, 0, 0, 0), outcome("prctl", 24, 21), '
        'outcome("prctl", 38, 0, 0, 0, 0)]',  # PR_CAP_AMBIENT_RAISE twice, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS to 0
    )
    assert found == ["EPERM", "EPERM", "EPERM", "EINVAL"]


def test_what_only_the_machines_root_may_is_refused(place: Place) -> None:
    calls = (
        'outcome("reboot", 0xFEE1DEAD, 672274793, 0x89ABCDEF, 0)',
        'outcome("swapon", 0, 0)',
        'outcome("init_module", 0, 0, 0)',
        'outcome("finit_module", -1, 0, 0)',
        'outcome("delete_module", 0, 0)',
        'outcome("kexec_load", 0, 0, 0, 0)',
        'outcome("settimeofday", 0, 0)',
        'outcome("clock_settime", 0, ctypes.addressof(ctypes.create_string_buffer(16)))',
        'outcome("sethostname", ctypes.addressof(ctypes.create_string_buffer(b"x")), 1)',
        'outcome("syslog", 3, ctypes.addressof(ctypes.create_string_buffer(64)), 64)',
        'outcome("acct", 0)',
        'outcome("quotactl", 0, 0, 0, 0)',
        'outcome("iopl", 3)',
        'outcome("fanotify_init", 0, 0)',
        'outcome("open_by_handle_at", -100, 0, 0)',
    )
    known = [call for call in calls if call.split('"')[1] in numbers()]
    assert tried(place, f"[{', '.join(known)}]") == ["EPERM"] * len(known)


def test_groups_of_the_caller_are_not_the_steps(place: Place) -> None:
    """What cannot be given up, where groups cannot be set, has no name inside: docs/isolation.md."""
    (groups,) = attempt(place, "os.getgroups()")
    assert set(cast("list[int]", groups)) <= ({0} if place.runner.is_owner_mapped() else {0, 65534})


def test_an_image_of_its_own_has_the_same_rights(place: Place, image: Path) -> None:
    done = place.execute(
        place.sandbox("cat /proc/self/status", lowers=[image], host=False, env={"PATH": "/bin"}, workdir="/")
    )
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in done.lines())}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert (status["CapInh"], status["CapAmb"]) == ("0" * 16,) * 2
    assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == 0x800404FB

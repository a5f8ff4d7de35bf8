"""The kernel's own files and doors: what a step cannot read there, set or open."""

from __future__ import annotations

import os
import socket
from typing import cast

import pytest

from ci_env_runners import sandbox
from tests.attempts import PYTHON, attempt
from tests.sandboxes import Place
from tests.system_calls import tried

SETTINGS = (
    "/proc/sysrq-trigger",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/core_uses_pid",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hotplug",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/shmmax",
    "/proc/sys/kernel/msgmax",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sys/fs/file-max",
    "/proc/sys/fs/mqueue/queues_max",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/ping_group_range",
    "/proc/sys/user/max_user_namespaces",
    "/proc/irq/default_smp_affinity",
    "/proc/bus/pci/devices",
    "/proc/mtrr",
    "/proc/kmsg",
    "/proc/pressure/memory",
    "/proc/fs/ext4",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/ksm/run",
    "/sys/power/state",
    "/sys/class/net/lo/mtu",
    "/sys/module/overlay/parameters/metacopy",
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/release_agent",
    "/sys/fs/cgroup/memory/release_agent",
    "/sys/fs/cgroup/devices/devices.allow",
    "/sys/firmware/efi/efivars/x",
)
HIDDEN = (
    *("/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug"),
    *("/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/proc/interrupts"),
    *("/sys/dev/block", "/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/cgroup", "/sys/fs/selinux"),
    *("/sys/kernel/debug", "/sys/kernel/security", "/sys/kernel/tracing", "/sys/kernel/btf"),
)


@pytest.mark.parametrize("network", ["none", "host"])
def test_nothing_of_the_kernels_can_be_set(place: Place, network: str) -> None:
    """Not even opened for writing; CVE-2022-0492 needed a release_agent, others a core_pattern or uevent_helper."""
    code = "\n".join(
        (
            "import errno, os, sys",
            f"for path in {SETTINGS}:",
            "    try: print(path, os.close(os.open(path, os.O_WRONLY)))",
            "    except OSError as error:",
            "        name = errno.errorcode[error.errno]",
            "        if name not in ('EROFS', 'EACCES', 'ENOENT', 'EISDIR', 'EPERM'): print(path, name)",
        )
    )
    done = place.execute(place.sandbox((PYTHON, "-c", code), network="host" if network == "host" else "none"))
    assert (done.exit.code, done.output) == (0, "")


def test_no_file_of_the_kernels_is_writable(place: Place) -> None:
    """All of /sys, and all of /proc but what belongs to processes."""
    code = r"""
import os, re
masked = "keys|kcore|timer_list|timer_stats|interrupts|latency_stats|sched_debug"  # by /dev/null
own = re.compile(rf"/proc/([0-9]+|self|thread-self)(/|$)|/proc/({masked})$")
def walk(top):
    for directory, names, files in os.walk(top):
        names[:] = [name for name in names if not own.match(f"{directory}/{name}")]
        for name in files:
            path = f"{directory}/{name}"
            if not own.match(path) and not os.path.islink(path):
                try:
                    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                    print(path)
                except OSError:
                    pass
walk("/proc")
walk("/sys")
"""
    done = place.execute(place.sandbox((PYTHON, "-c", code)))
    assert (done.exit.code, done.output) == (0, "")


def test_what_tells_of_the_host_is_hidden(place: Place) -> None:
    there = [path for path in HIDDEN if os.path.exists(path)]
    shown = "os.listdir({0!r}) if os.path.isdir({0!r}) else open({0!r}).read()"
    found = attempt(place, *(shown.format(path) for path in there))
    assert [(path, shown) for path, shown in zip(there, found, strict=True) if shown not in ("", [], "ENOENT")] == []


def test_what_each_processor_tells_of_others_is_hidden(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """How often each was too hot; virtual machines do not know, so that another thing stands for it."""
    script = "cat /sys/devices/system/cpu/cpu*/topology/* /sys/devices/system/cpu/cpu*/thermal_throttle/* 2>/dev/null"
    assert place.execute(place.sandbox(script)).output
    monkeypatch.setattr(sandbox, "_MASKED_OF_EACH", (("/sys/devices/system/cpu", "cpu", "topology"),))
    assert place.execute(place.sandbox(script)).output == ""


def test_addresses_and_logs_of_the_kernel_are_not_shown(place: Place) -> None:
    addresses, log = attempt(
        place, "[line.split()[0] for line in open('/proc/kallsyms')][:3]", "open('/proc/kmsg').read(1)"
    )
    assert {int(address, 16) for address in cast("list[str]", addresses)} == {0}
    assert log in ("EACCES", "EPERM")
    assert tried(place, 'outcome("syslog", 10, 0, 0)') == "EPERM"


def test_control_groups_are_out_of_reach(place: Place) -> None:
    (own,) = attempt(place, "open('/proc/self/cgroup').read()")
    assert {line.rpartition(":")[2] for line in str(own).splitlines()} == {"/"}
    found = attempt(place, "os.listdir('/sys/fs/cgroup')", "os.mkdir('/sys/fs/cgroup/x')")
    assert found == [[], "EROFS"]


def test_typing_is_refused_whatever_else_is_in_the_number(place: Place) -> None:
    """CVE-2019-10063: the kernel looks at 32 bits of what may have 64."""
    calls = [f'outcome("ioctl", 0, {high | low}, 0)' for low in (0x5412, 0x541C) for high in (0, 1 << 32, 1 << 63)]
    assert tried(place, f"[{', '.join(calls)}]".replace("9223372036854775808", "-9223372036854775808")) == ["EPERM"] * 6


def test_sockets_are_of_few_families(place: Place) -> None:
    """All that exist, by number: only Unix, IPv4, IPv6 and netlink may open."""
    found = tried(place, "[family for family in range(64) for kind in (1, 2, 3, 5) if opened(family, kind) == 0]")
    assert set(cast("list[int]", found)) <= {1, 2, 10, 16}


def test_netlink_of_the_host_is_not_heard(place: Place) -> None:
    """uevents, audit and the like: sockets may open, in a network of its own where nothing is said."""
    heard = "[s := socket.socket(16, 3, 15), s.bind((0, 1)), s.setblocking(False), s.recv(10)]"
    (found,) = attempt(place, heard)
    assert found in ("EAGAIN", "EPERM", "EPROTONOSUPPORT")


def test_loopback_and_abstract_sockets_are_not_the_hosts(place: Place) -> None:
    """Both addresses of the host's loopback; and a Unix socket without a file (CVE-2020-15257)."""
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.socket(socket.AF_UNIX) as local,
        socket.socket(socket.AF_INET6) as six,
    ):
        local.bind(f"\0ci-env-test-hardening-{os.getpid()}")
        local.listen()
        six.bind(("::1", 0))
        six.listen()
        found = attempt(
            place,
            f"connect(socket.AF_INET, ('127.0.0.1', {four.getsockname()[1]}))",
            f"connect(socket.AF_INET6, ('::1', {six.getsockname()[1]}))",
            f"connect(socket.AF_UNIX, '\\0ci-env-test-hardening-{os.getpid()}')",
        )
    assert found == ["ECONNREFUSED"] * 3


def test_no_module_can_be_loaded(place: Place) -> None:
    assert tried(place, '[outcome("init_module", 0, 0, 0), outcome("finit_module", 0, 0, 0)]') == ["EPERM"] * 2

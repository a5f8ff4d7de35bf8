"""This machine's operating system as an image: written to in layers, never itself."""

from __future__ import annotations

import os
from pathlib import Path

from tests.sandboxes import Place


def test_the_system_is_there(place: Place) -> None:
    done = place.execute(place.sandbox("command -v sh python3 && readlink /bin && ls -d /usr/lib /etc/passwd"))
    assert (done.exit.code, done.lines()[-2:]) == (0, ["/etc/passwd", "/usr/lib"])


def test_writes_are_seen_by_the_next_step_and_not_by_the_host(place: Place) -> None:
    script = (
        "echo conf >/etc/ci-env-test.conf; mkdir /usr/ci-env-test; echo file >/usr/ci-env-test/file; echo top >/top"
    )
    first = place.execute(place.sandbox(script))
    assert first.exit.code == 0, first.output
    assert (first.layer / "host/etc/ci-env-test.conf").read_text() == "conf\n"
    assert (first.layer / "host/usr/ci-env-test/file").read_text() == "file\n"
    assert (first.layer / "root/top").read_text() == "top\n"
    assert not any(Path(path).exists() for path in ("/etc/ci-env-test.conf", "/usr/ci-env-test", "/top"))
    script = "cat /etc/ci-env-test.conf /usr/ci-env-test/file /top; rm /etc/ci-env-test.conf; echo more >/etc/more"
    second = place.execute(place.sandbox(script, lowers=[first.layer]))
    assert second.lines() == ["conf", "file", "top"]
    third = place.execute(place.sandbox("ls /etc/ci-env-test.conf; cat /etc/more", lowers=[first.layer, second.layer]))
    assert "No such file" in third.lines()[0]
    assert third.lines()[1] == "more"


def test_layers_made_below_other_directories_are_skipped(place: Place) -> None:
    only_root = place.layer()
    (only_root / "root/file").write_text("root\n")
    only_usr = place.layer()
    (only_usr / "host/usr/added").mkdir(parents=True)
    done = place.execute(place.sandbox("cat /file; ls -d /usr/added", lowers=[only_root, only_usr]))
    assert done.lines() == ["root", "/usr/added"]


def test_what_packages_are_installed_can_be_read_only(place: Place) -> None:
    if not Path("/var/lib/dpkg/status").exists():
        return
    script = "head -c 8 /var/lib/dpkg/status; echo; grep -o ' /var/lib/dpkg ro,' /proc/self/mountinfo"
    assert place.execute(place.sandbox(script)).lines() == ["Package:", " /var/lib/dpkg ro,"]


def test_temporary_directories_are_everyones(place: Place) -> None:
    done = place.execute(place.sandbox("stat -c %a /tmp /var/tmp /root /home /run"))
    assert done.lines() == ["1777", "1777", "700", "755", "755"]


def test_mounts_in_the_hosts_directories(place: Place) -> None:
    """A directory with mounts in it, as /etc has in a container, is copied."""
    done = place.execute(place.sandbox("test -r /etc/passwd && touch /etc/new && echo fine"))
    assert done.output == "fine\n"


def test_nothing_is_left_in_the_mount_space(place: Place) -> None:
    place.execute(place.sandbox("true"))
    assert os.listdir(place.store / "mnt") == []
    assert str(place.store) not in Path("/proc/self/mountinfo").read_text()

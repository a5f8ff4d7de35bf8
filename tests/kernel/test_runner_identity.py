"""Who a step is, what it may do, and what it is given: asked inside."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from ci_env.errors import ConfigError, HostError
from ci_env_runners.privileges import KEPT
from tests.sandboxes import Place

PYTHON = "/usr/bin/python3"
NO_CAPABILITIES = "0000000000000000"
PASSWD = "root:x:0:0::/root:/bin/sh\nana:x:1000:1001:Ana:/home/ana:/bin/sh\n1001:x:0:0::/root:/bin/sh\n"
GROUP = "root:x:0:\nana:x:1001:\nbuild:x:1500:bo,ana\nwheel:x:1600:bo\nfar:x:4000000:ana\n"


def rootfs(place: Place, *, passwd: str = PASSWD, group: str = GROUP) -> Sequence[Path]:
    """Return layers whose users are `passwd`, to lie over this machine's operating system."""
    layer = place.layer()
    (layer / "host/etc").mkdir(parents=True)
    (layer / "host/etc/passwd").write_text(passwd)
    (layer / "host/etc/group").write_text(group)
    return (layer,)


def status(place: Place, *, user: str, lowers: Sequence[Path] = ()) -> dict[str, str]:
    """Return /proc/self/status of a step."""
    done = place.execute(place.sandbox(["cat", "/proc/self/status"], user=user, lowers=lowers))
    assert done.exit.code == 0, done.output
    return {name: value.strip() for name, _, value in (line.partition(":") for line in done.lines())}


def test_root_keeps_what_is_listed_and_nothing_else(place: Place) -> None:
    found = status(place, user="root")
    kept = f"{sum(1 << number for number in KEPT.values()):016x}"
    assert [found[name] for name in ("CapPrm", "CapEff", "CapBnd")] == [kept] * 3
    assert [found[name] for name in ("CapInh", "CapAmb")] == [NO_CAPABILITIES] * 2
    assert found["NoNewPrivs"] == "1"
    assert found["Uid"].split() == found["Gid"].split() == ["0"] * 4


def test_another_user_has_no_capability(place: Place) -> None:
    if not place.runner.is_owner_mapped():
        with pytest.raises(HostError) as caught:
            status(place, user="ana", lowers=rootfs(place))
        assert "only root exists inside" in (caught.value.hint or "")
        assert "'ana' has id 1000" in caught.value.message
        return
    found = status(place, user="ana", lowers=rootfs(place))
    names = ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")
    assert [found[name] for name in names] == [NO_CAPABILITIES] * 5
    assert (found["Uid"].split(), found["Gid"].split()) == (["1000"] * 4, ["1001"] * 4)
    assert found["Groups"].split() == ["1500"]


def test_host_root_is_nobody_inside(place: Place) -> None:
    done = place.execute(place.sandbox("cat /proc/self/uid_map /proc/self/gid_map"))
    for line in done.lines():
        inside, outside, count = map(int, line.split())
        if os.geteuid() == 0:
            assert (inside, count) == (0, 65536)
            assert outside > 65536
        assert not outside <= 0 < outside + count


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("root", "0 0 /root"),
        ("0", "0 0 /root"),
        ("00", "0 0 /root"),
        ("root:root", "0 0 /root"),
        ("1000", "1000 1001 /home/ana"),
        ("ana", "1000 1001 /home/ana"),
        ("ana:build", "1000 1500 /home/ana"),
        ("ana:7", "1000 7 /home/ana"),
        ("7:build", "7 1500 /"),
        ("1001", "1001 0 /"),
    ],
)
def test_users_by_name_and_number(place: Place, user: str, expected: str) -> None:
    sandbox = place.sandbox('echo "$(id -u) $(id -g) $HOME"', user=user, lowers=rootfs(place))
    if not place.runner.is_owner_mapped() and not expected.startswith("0 0"):
        with pytest.raises(HostError, match="there are only 1"):
            place.execute(sandbox)
        return
    done = place.execute(sandbox)
    assert done.output == f"{expected}\n"


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("nobody-here", "the image has no user 'nobody-here'"),
        ("", "the image has no user ''"),
        ("root:nogroup-here", "the image has no group 'nogroup-here'"),
        ("4294967295", "4294967295 is no user or group id"),
        ("4294967296", "4294967296 is no user or group id"),
        ("0:4294967296", "4294967296 is no user or group id"),
        ("99999999999999999999", "99999999999999999999 is no user or group id"),
        ("-1", "the image has no user '-1'"),
        ("+0", "the image has no user '+0'"),
        ("\u0661", "the image has no user"),
    ],
)
def test_wrong_users_are_errors_of_the_file(place: Place, user: str, message: str) -> None:
    extra = f"{PASSWD}4294967296:x:0:0::/:\n99999999999999999999:x:0:0::/:\n"
    with pytest.raises(ConfigError) as caught:
        place.execute(place.sandbox("id", user=user, lowers=rootfs(place, passwd=extra)))
    assert message in caught.value.message


def test_an_id_beyond_those_that_exist_is_the_hosts_lack(place: Place) -> None:
    with pytest.raises(HostError, match=r"has id 2000000000, and inside a sandbox of this host there are only \d+"):
        place.execute(place.sandbox("id", user="2000000000"))


@pytest.mark.parametrize("kind", ["fifo", "directory", "link to a fifo", "link to proc", "loop", "giant", "binary"])
def test_strange_passwd_hangs_nobody(place: Place, kind: str) -> None:
    layer = place.layer()
    directory = layer / "host/etc"
    directory.mkdir(parents=True)
    passwd = directory / "passwd"
    match kind:
        case "fifo":
            os.mkfifo(passwd)
        case "directory":
            passwd.mkdir()
        case "link to a fifo":
            os.mkfifo(directory / "pipe")
            passwd.symlink_to("pipe")
        case "link to proc":
            passwd.symlink_to("/proc/self/mem")
        case "loop":
            passwd.symlink_to("passwd")
        case "giant":
            with open(passwd, "wb") as file:
                file.write(b"root:x:0:0::/root:/bin/sh\n")
                file.truncate(1 << 40)
        case _:
            passwd.write_bytes(b"\0\xff:" * 1000)
    done = place.execute(place.sandbox('echo "$HOME"', user="0", lowers=[layer]))
    assert (done.exit.code, done.output) == (0, "/root\n" if kind == "giant" else "/\n")


def test_a_link_of_passwd_to_the_host_stays_inside(place: Place, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("outside:x:0:0::/outside:/bin/sh\n")
    layer = place.layer()
    (layer / "host/etc").mkdir(parents=True)
    (layer / "host/etc/passwd").symlink_to(f"../../../../../../..{tmp_path}/passwd")
    with pytest.raises(ConfigError, match="no user 'outside'"):
        place.execute(place.sandbox("id", user="outside", lowers=[layer]))


def test_surroundings_are_the_processs_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_THE_CALLER", "1")
    done = place.execute(
        place.sandbox("umask; hostname; pwd; env", env={"PATH": "/usr/bin:/bin", "A": "x=\u00e9"}, umask=0o027)
    )
    assert done.lines()[:3] == ["0027", "ci-env", "/workspace"]
    assert sorted(done.lines()[3:]) == ["A=x=\u00e9", "HOME=/root", "PATH=/usr/bin:/bin", "PWD=/workspace"]


def test_limits(place: Place) -> None:
    code = "import json, resource as r; print(json.dumps([r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_CORE)]))"
    done = place.execute(place.sandbox([PYTHON, "-c", code]))
    (soft, hard), core = json.loads(done.output)
    assert soft <= 1024
    assert hard <= 524288
    assert max(core) <= 1  # byte, which no file has


def test_the_working_directory_is_made_for_the_user(place: Place) -> None:
    user = "ana" if place.runner.is_owner_mapped() else "root"
    script = "pwd; touch file; stat -c '%u:%g %a' . file"
    done = place.execute(place.sandbox(script, user=user, workdir="/new/place", lowers=rootfs(place)))
    owner = "1000:1001" if user == "ana" else "0:0"
    assert done.lines() == ["/new/place", f"{owner} 755", f"{owner} 644"]


@pytest.mark.parametrize("path", ["/dev/null", "/dev/null/below", "/proc/self/fd/3", "/proc/1/cwd", "/proc/self/root"])
def test_a_working_directory_that_is_none_is_refused(place: Place, path: str) -> None:
    with pytest.raises(ConfigError, match="cannot use the working directory /"):
        place.execute(place.sandbox("pwd", workdir=path))


@pytest.mark.parametrize("number", range(3, 12))
def test_no_descriptor_leads_out(place: Place, number: int) -> None:
    layer = place.layer()
    (layer / "root/way").symlink_to(f"/proc/self/fd/{number}")
    with pytest.raises(ConfigError, match="cannot use the working directory /way"):
        place.execute(place.sandbox("pwd; ls", workdir="/way", lowers=[layer]))


@pytest.mark.parametrize("argv", [("echo", "a\0b"), ("a\0b",)])
def test_null_characters_are_the_files_fault(place: Place, argv: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="null character in the command"):
        place.execute(place.sandbox(argv))
    with pytest.raises(ConfigError, match="null character in the environment"):
        place.execute(place.sandbox("env", env={"A": "a\0b"}))

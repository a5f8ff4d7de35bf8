"""Images that try to lead elsewhere, or to have their code run before the step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ci_env.errors import ConfigError
from tests.sandboxes import Place


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "link to root", "file", "fifo"])
def test_kernel_directories_that_are_none_are_refused(place: Place, image: Path, name: str, kind: str) -> None:
    victim = image / "root/etc"
    victim.mkdir()
    target = image / "root" / name
    match kind:
        case "link":
            target.symlink_to("/etc")
        case "dangling link":
            target.symlink_to("/nowhere")
        case "link to root":
            target.symlink_to("../../../..")
        case "file":
            target.touch()
        case _:
            os.mkfifo(target)
    with pytest.raises(ConfigError) as caught:
        place.execute(place.sandbox("true", lowers=[image], host=False))
    assert f"/{name}: " in caught.value.message
    assert "/dev, /proc and /sys must be directories" in (caught.value.hint or "")


@pytest.mark.parametrize("to", ["/elsewhere/file", "../elsewhere/file", "../../../../elsewhere/file"])
def test_names_are_provided_where_links_lead(place: Place, image: Path, to: str) -> None:
    (image / "root/etc").mkdir()
    (image / "root/etc/hosts").symlink_to(to)
    done = place.execute(place.sandbox("cat /elsewhere/file", lowers=[image], host=False))
    assert done.lines()[0] == "127.0.0.1\tlocalhost"


def test_names_cannot_lead_to_the_kernels_files(place: Place, image: Path) -> None:
    (image / "root/etc").mkdir()
    (image / "root/etc/hosts").symlink_to("/proc/self/status")
    (image / "root/etc/hostname").symlink_to("/dev/null")
    done = place.execute(place.sandbox("cat /dev/null; cat /etc/hosts", lowers=[image], host=False))
    assert done.lines()[0].startswith("Name:")


@pytest.mark.parametrize("name", ["hosts", "hostname"])
@pytest.mark.parametrize("kind", ["directory", "loop", "fifo"])
def test_strange_names_are_refused_or_covered(place: Place, image: Path, name: str, kind: str) -> None:
    (image / "root/etc").mkdir()
    target = image / "root/etc" / name
    match kind:
        case "directory":
            target.mkdir()
        case "loop":
            target.symlink_to(name)
        case _:
            os.mkfifo(target)
    sandbox = place.sandbox(f"cat /etc/{name}", lowers=[image], host=False)
    if kind == "fifo":
        assert place.execute(sandbox).exit.code == 0
        return
    with pytest.raises(ConfigError, match=f"cannot provide /etc/{name}: "):
        place.execute(sandbox)


@pytest.mark.parametrize("kind", ["nothing", "file", "loop", "link out", "directory"])
def test_apt_is_told_of_a_single_user_where_there_is_one(place: Place, image: Path, kind: str, tmp_path: Path) -> None:
    """Whatever an image has there; a link leads nowhere outside."""
    (image / "root/etc/apt").mkdir(parents=True)
    target = image / "root/etc/apt/apt.conf.d"
    match kind:
        case "file":
            target.touch()
        case "loop":
            target.symlink_to("apt.conf.d")
        case "link out":
            target.symlink_to(f"../../../../../../..{tmp_path}")
        case "directory":
            target.mkdir()
        case _:
            pass
    done = place.execute(place.sandbox("cat /etc/apt/apt.conf.d/zz-ci-env", lowers=[image], host=False))
    is_told = kind == "directory" and not place.runner.is_owner_mapped()
    assert ('APT::Sandbox::User "root";' in done.output) == is_told
    assert not (tmp_path / "zz-ci-env").exists()


def test_code_of_an_image_is_not_ours_to_run(place: Place, image: Path) -> None:
    """What is imported or looked up after the pivot comes from the image, so nothing is."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    trap = "open('/sprung', 'w').write('python')\n"
    for prefix in {"usr", "usr/local", sys.prefix.strip("/"), sys.base_prefix.strip("/")}:
        library = image / "root" / prefix / "lib" / version
        for path in ("sitecustomize.py", "encodings/__init__.py", "pwd.py", "grp.py", "traceback.py", "linecache.py"):
            (library / path).parent.mkdir(parents=True, exist_ok=True)
            (library / path).write_text(trap)
    libraries = image / "root/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    for name in ("files", "dns", "compat", "systemd"):
        build_trap(libraries / f"libnss_{name}.so.2")
    (image / "root/etc").mkdir()
    (image / "root/etc/nsswitch.conf").write_text("passwd: files systemd\ngroup: files systemd\nhosts: files dns\n")
    (image / "root/etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    layers = [image]
    done = place.execute(place.sandbox("ls /sprung", lowers=layers, host=False))
    assert "No such file" in done.output
    with pytest.raises(ConfigError, match="no user 'unknown'"):
        place.execute(place.sandbox("true", lowers=layers, host=False, user="unknown"))
    assert not list(place.store.glob("layers/step-*/root/sprung"))


def build_trap(path: Path) -> None:
    """Compile a library that leaves a file behind when it is loaded."""
    code = '#include <fcntl.h>\n__attribute__((constructor)) static void f(void) { open("/sprung", O_CREAT, 0644); }\n'
    argv = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(path)]
    subprocess.run(argv, input=code, text=True, check=True, timeout=60)

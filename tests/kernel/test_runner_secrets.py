"""Secrets of a step: who can read them, where they are not, and that nothing of them stays. Asked inside and beside."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ci_env.errors import ConfigError
from ci_env.mask import forms
from ci_env.ports import Bind, GivenSecret, Sandbox
from tests.sandboxes import PATH, Place

VALUE = b"value of the token \xff\0 with odd bytes\n"
TEXT = b"s3cr3t-for-variables"
TOKEN = GivenSecret("TOKEN", VALUE, ())
SHOWN = GivenSecret("SHOWN", TEXT, ("API_TOKEN", "OTHER"))


def with_secrets(sandbox: Sandbox, *secrets: GivenSecret) -> Sandbox:
    return replace(sandbox, process=replace(sandbox.process, secrets=secrets))


def said(place: Place, what: str | Sequence[str], *secrets: GivenSecret, user: str = "0") -> str:
    """Return what a step with secrets writes; it must succeed."""
    done = place.execute(with_secrets(place.sandbox(what, user=user), *secrets))
    assert done.exit.code == 0, done.output
    return done.output


def test_a_step_reads_its_secrets(place: Place) -> None:
    read = said(place, "od -An -v -tx1 /run/secrets/TOKEN | tr -d ' \\n'; ls /run/secrets", TOKEN, SHOWN)
    assert read == f"{VALUE.hex()}SHOWN\nTOKEN\n"


def test_variables_hold_them_where_asked(place: Place) -> None:
    lines = said(place, "env", TOKEN, SHOWN).splitlines()
    assert {line for line in lines if TEXT.decode() in line} == {f"{name}={TEXT.decode()}" for name in SHOWN.variables}


def test_a_value_that_is_no_utf_8_can_be_a_variable(place: Place) -> None:
    odd = GivenSecret("ODD", b"\xff\xfe odd", ("ODD",))
    assert os.fsencode(said(place, 'printf %s "$ODD"', odd)) == b"\xff\xfe odd"


def test_the_file_is_the_users_alone(place: Place) -> None:
    users = ["0", "nobody", "1234:1235"] if place.runner.is_owner_mapped() else ["0"]
    for user in users:
        script = (
            'stat -c %a:%u:%g /run/secrets /run/secrets/TOKEN; echo "$(id -u):$(id -g)"; wc -c < /run/secrets/TOKEN'
        )
        directory, file, ids, size = said(place, script, TOKEN, user=user).split()
        assert (directory, file, int(size)) == (f"700:{ids}", f"400:{ids}", len(VALUE))


def test_another_user_cannot_read_it(place: Place) -> None:
    if not place.runner.is_owner_mapped():
        return  # there is no other inside
    script = """
import os
os.setgid(1235), os.setuid(1234)
for path in ("/run/secrets", "/run/secrets/TOKEN"):
    try:
        os.open(path, os.O_RDONLY)
    except PermissionError:
        print("refused")
"""
    assert said(place, ["/usr/bin/python3", "-c", script], TOKEN) == "refused\nrefused\n"


def test_the_filesystem_is_inert_and_read_only(place: Place) -> None:
    (line,) = [line for line in said(place, "cat /proc/self/mountinfo", TOKEN).splitlines() if " /run/secrets " in line]
    before, _, after = line.partition(" - ")
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(before.split()[5].split(","))
    assert after.split()[0] == "tmpfs"
    writing = "for name in TOKEN new; do echo x >/run/secrets/$name || echo refused; done"
    assert said(place, f"{writing}; rm -f /run/secrets/* || echo refused", TOKEN).count("refused") == 3


def test_a_step_without_secrets_has_no_place_for_them(place: Place) -> None:
    done = place.execute(place.sandbox("ls -d /run/secrets || grep -c /run/secrets /proc/self/mountinfo"))
    assert done.lines()[-1:] == ["0"]


def test_nothing_of_them_is_in_the_layer(place: Place) -> None:
    sandbox = with_secrets(place.sandbox("cat /run/secrets/*; env; echo done > /run/mark"), TOKEN, SHOWN)
    done = place.execute(sandbox)
    assert done.exit.code == 0
    assert (done.layer / "root/run/mark").exists()
    assert list((done.layer / "root/run/secrets").iterdir()) == []
    assert holding(place.store, VALUE, TEXT) == []


def test_none_is_left_for_the_next_step(place: Place) -> None:
    first = place.execute(with_secrets(place.sandbox("true"), TOKEN))
    after = place.execute(place.sandbox("ls -A /run/secrets", lowers=(first.layer,)))
    assert (after.exit.code, after.output) == (0, "")


def test_no_other_process_shows_one(place: Place, nap: str) -> None:
    """PID 1's environment and command line, asked inside; those of every process of the host, asked beside."""
    inside = "cat /proc/1/cmdline /proc/1/environ 2>&1 | tr '\\0' '\\n'; grep -c . /proc/1/maps; echo ready; " + nap
    seen: list[bytes] = []
    ready, kill = threading.Event(), threading.Event()

    def output(piece: bytes) -> None:
        seen.append(piece)
        if b"ready" in b"".join(seen):
            ready.set()

    sandbox = with_secrets(place.sandbox(inside), TOKEN, replace(SHOWN, variables=()))
    running = threading.Thread(target=lambda: place.runner.run(sandbox, output))
    running.start()
    try:
        assert ready.wait(30)
        shown = [path for path in told_by_processes() if holds(path, VALUE, TEXT)]
    finally:
        place.runner.cancel(now=True)
        running.join()
        kill.set()
    assert shown == []
    assert not any(form in b"".join(seen) for value in (VALUE, TEXT) for form in forms(value))


def test_the_memory_of_who_laid_them_is_closed(place: Place) -> None:
    """PID 1 has had the values: neither its memory nor its descriptors can be looked at."""
    script = """
import os
for name in ("mem", "environ", "fd", "root", "cwd", "map_files"):
    try:
        (os.listdir if name in ("fd", "map_files") else os.stat if name in ("root", "cwd") else open)(f"/proc/1/{name}")
        print("open:", name)
    except OSError:
        pass
"""
    for user in ("0", "nobody") if place.runner.is_owner_mapped() else ("0",):
        assert said(place, ["/usr/bin/python3", "-c", script], TOKEN, user=user) == ""


def test_a_link_of_the_image_leads_them_nowhere(place: Place, image: Path) -> None:
    (image / "root/run").symlink_to("/elsewhere")
    sandbox = with_secrets(place.sandbox("true", lowers=(image,), host=False, env={"PATH": PATH}), TOKEN)
    with pytest.raises(ConfigError, match="/run/secrets"):
        place.execute(sandbox)


def test_an_image_that_has_nothing(place: Place, image: Path) -> None:
    sandbox = with_secrets(
        place.sandbox("cat /run/secrets/SHOWN", lowers=(image,), host=False, env={"PATH": "/bin"}), SHOWN
    )
    assert place.execute(sandbox).output == TEXT.decode()


def test_what_an_image_has_there_is_hidden(place: Place, image: Path) -> None:
    (image / "root/run/secrets").mkdir(parents=True)
    (image / "root/run/secrets/TOKEN").write_text("of the image")
    sandbox = with_secrets(
        place.sandbox("cat /run/secrets/*", lowers=(image,), host=False, env={"PATH": "/bin"}), SHOWN
    )
    assert place.execute(sandbox).output == TEXT.decode()


def test_a_cache_around_them_gets_none(place: Place) -> None:
    cache = place.store / "caches/run"
    cache.mkdir(parents=True)
    bind = Bind(cache, "/run", writable=True)
    place.execute(with_secrets(place.sandbox("cat /run/secrets/TOKEN", binds=[bind]), TOKEN))
    assert holding(cache, VALUE) == []


def test_a_null_character_cannot_be_in_a_variable(place: Place) -> None:
    with pytest.raises(ConfigError) as caught:
        place.execute(with_secrets(place.sandbox("true"), replace(TOKEN, variables=("TOKEN",))))
    assert "TOKEN" in caught.value.message
    assert "odd bytes" not in caught.value.message


def test_large_values(place: Place) -> None:
    secrets = [GivenSecret(f"N{number}", os.urandom(2**16), ()) for number in range(40)]
    assert said(place, "cat /run/secrets/* | wc -c", *secrets).strip() == str(40 * 2**16)


def holding(directory: Path, *values: bytes) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and holds(path, *values)]


def holds(path: Path, *values: bytes) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return any(form in content for value in values for form in forms(value))


def told_by_processes() -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        yield from (process / name for name in ("cmdline", "environ", "comm"))

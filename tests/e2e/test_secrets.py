"""Secrets through the whole of ci-env: into the steps that ask for them, and into nothing that is kept or shown."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

from ci_env.mask import forms
from tests.account import Who
from tests.installed import CiEnv
from tests.project import leftovers, project

TOKEN = 'p@ss w0rd/"with" <odd>&chars+more'
KEY = (
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\n}\nQyNTUxOQAAACBSc2Vj\n-----END\n"
)
TELLS = """
publish:
  secrets: [TOKEN, KEY]
  secret_env: {API_TOKEN: TOKEN}
  steps:
    - name: prints
      shell: python3 -B
      run: |
        import base64, json, os, sys, time, urllib.parse
        key, token = open("/run/secrets/KEY").read(), os.environ["API_TOKEN"]
        assert token == open("/run/secrets/TOKEN").read()
        for value in (key, token):
            print(value)
            print(base64.b64encode(value.encode()).decode(), base64.b64encode(b"user:" + value.encode()).decode())
            print(base64.encodebytes(b"x" + value.encode()).decode(), base64.urlsafe_b64encode(b"xy" + value.encode()))
            print(json.dumps({"value": value}), urllib.parse.quote(value), urllib.parse.quote_plus(value))
            print(value.encode().hex())
            print("\\n".join(f"> {line} <" for line in value.splitlines()))
        for letter in token:
            sys.stdout.write(letter)
            sys.stdout.flush()
            time.sleep(0.005)
        print(file=sys.stderr)
    - name: fails
      run: |
        set -x
        : "$API_TOKEN"
        echo $(cat /run/secrets/KEY)
        cat /run/secrets/TOKEN >&2
        exit 3
"""


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # of a process that has ended


def holding(place: Path, *values: str) -> list[str]:
    """Return the files below `place` that hold a value, in any form, in contents or name."""
    known = [form for value in values for form in forms(value.encode())]
    files = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    return [
        str(path) for path in files if any(form in path.read_bytes() or form in os.fsencode(path) for form in known)
    ]


def test_nothing_that_is_kept_or_shown_holds_a_value(actor: CiEnv) -> None:
    made = project(actor, TELLS)
    values = {"TOKEN": TOKEN, "KEY": KEY}
    shown = [made.call("run", "--no-cache", "--format", form, env=values) for form in ("json", "plain", "rich")]
    shown.append(made.call("run", "--no-cache", env=values | {"GITLAB_CI": "true"}))
    assert [called.code for called in shown] == [1] * 4, shown
    shown += [made.call("runs", "show", "last"), made.call("runs", "show", "--json", "last"), made.call("explain")]
    shown += [made.call("runs", "logs", "last"), made.call("run", "--plan")]
    text = "".join(called.out + called.err for called in shown).encode()
    assert "+ : '***'" in text.decode() or "+ : ***" in text.decode()
    assert [form for value in values.values() for form in forms(value.encode()) if form in text] == []
    assert holding(actor.store, *values.values()) == []
    assert leftovers(actor) == []


def test_what_a_step_gets(actor: CiEnv) -> None:
    jobs = """
with:
  secrets: [FILE, OTHER]
  secret_env: {A: OTHER, B: OTHER}
  steps:
    - name: sees
      run: |
        [ "$A" = "$B" ] && [ "$A" = "$(cat /run/secrets/OTHER)" ] && wc -c < /run/secrets/FILE
        stat -c '%a %U' /run/secrets /run/secrets/FILE
without:
  needs: [with]
  steps:
    - name: sees nothing
      run: test ! -e /run/secrets && test -z "$A$B$FILE$OTHER" && echo nothing
"""
    made = project(actor, jobs)
    (actor.home / "value").write_bytes(bytes(range(256)))
    run = made.run("--secret-file", f"FILE={actor.home / 'value'}", "--secret", "OTHER=on the line", env={"A": "mine"})
    assert run.lines("sees") == ["256", "700 root", "400 root"]
    assert run.lines("sees nothing") == ["nothing"]


def test_another_user_reads_its_secrets(ci_env: Callable[[Who], CiEnv]) -> None:
    actor = ci_env("user")
    step = "{name: s, user: nobody, run: 'id -un; wc -c </run/secrets/TOKEN'}"
    made = project(actor, f"a: {{secrets: [TOKEN], steps: [{step}]}}")
    assert made.run(env={"TOKEN": TOKEN}).lines("s") == ["nobody", str(len(TOKEN))]


def test_a_value_is_asked_for_before_anything_runs(ci_env: Callable[[Who], CiEnv]) -> None:
    actor = ci_env("user")
    made = project(actor, TELLS)
    called = made.call("run", env={"KEY": KEY})
    assert (called.code, called.out) == (2, "")
    assert called.err == (
        "error: ci-env.yml:5:3: the job 'publish': no value for the secret TOKEN\n"
        "hint: set the environment variable TOKEN, or give `--secret-file TOKEN=FILE`\n"
    )
    assert not (actor.store / "runs").exists() or not list((actor.store / "runs").iterdir())
    assert made.call("run", "--plan").code == 0


def test_values_from_a_pipe(ci_env: Callable[[Who], CiEnv]) -> None:
    actor = ci_env("user")
    made = project(actor, "a: {secrets: [TOKEN], steps: [{name: s, run: cat /run/secrets/TOKEN}]}")
    called = made.call("run", "--format", "json", "--secret-file", "TOKEN=-", stdin=TOKEN)
    lines = [event["line"] for event in map(json.loads, called.out.splitlines()) if event["event"] == "StepOutput"]
    assert (called.code, lines) == (0, ["***"])


def test_keys_know_names_only(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), "a: {secrets: [TOKEN], steps: [{name: s, run: echo hello}]}")
    assert made.run(env={"TOKEN": "first value"}).steps == {"s": "passed"}
    assert made.run(env={"TOKEN": "second value"}).steps == {"s": "cached"}
    made.pipeline("a: {secrets: [TOKEN, MORE], steps: [{name: s, run: echo hello}]}")
    assert made.run(env={"TOKEN": "first value", "MORE": "and more"}).steps == {"s": "passed"}
    assert "the secrets changed from 'TOKEN' to 'TOKEN, MORE'" in made.call("explain").out


def test_no_process_of_the_host_shows_a_value(ci_env: Callable[[Who], CiEnv]) -> None:
    actor = ci_env("user")
    made = project(actor, "a: {secrets: [TOKEN], steps: [{name: s, run: 'echo ready; sleep 60'}]}")
    (actor.home / "value").write_text(TOKEN)
    actor.own(actor.home / "value")
    started = actor.start("run", "--format", "json", "--secret-file", f"TOKEN={actor.home / 'value'}", cwd=made.root)
    try:
        assert started.stdout
        assert any("ready" in line for line in started.stdout)
        told = [content(path) for name in ("cmdline", "environ") for path in Path("/proc").glob(f"[0-9]*/{name}")]
    finally:
        started.terminate()
        started.communicate(timeout=60)
    assert not any(form in content for content in told for form in forms(TOKEN.encode()))
    assert leftovers(actor) == []


def test_a_value_in_the_file_is_warned_of(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), "a: {secrets: [TOKEN], steps: [{name: s, run: echo hunter2}]}")
    run = made.run(env={"TOKEN": "hunter2"})
    assert run.lines("s") == ["***"]
    (note,) = run.of("Note")
    assert "a: s: its command or environment holds the value of a secret as text" in str(note["message"])


def test_github_is_asked_to_mask_first(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), "a: {secrets: [TOKEN], steps: [{name: s, run: 'cat /run/secrets/TOKEN; exit 1'}]}")
    called = made.call("run", env={"TOKEN": "hunter2", "GITHUB_ACTIONS": "true"})
    first, *others = called.out.splitlines()
    assert first == "::add-mask::hunter2"
    assert "hunter2" not in "".join(others) + called.err
    assert base64.b64encode(b"hunter2").decode() not in called.out


REPLAYED = """
a:
  secrets: [TOKEN]
  secret_env: {API: TOKEN}
  steps:
    - name: asks
      run: |
        echo "with ${API:-none}"
        [ -n "$API" ] || exit 5
        [ "$API" = right-value ] || exit 6
        exit 3
"""


def test_a_replay_needs_the_values_again(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), REPLAYED)
    run = made.run(env={"TOKEN": "right-value"}, code=1)
    called = made.call("replay")
    assert (called.code, called.out) == (2, "")
    assert called.err == (
        f"error: the step 'a/asks' of run {run.id}: no value for the secret TOKEN\n"
        "hint: set the environment variable TOKEN, or give `--secret-file TOKEN=FILE`; "
        "or go on with `--without-secrets`\n"
    )
    same = made.call("replay", env={"TOKEN": "right-value"})
    assert (same.code, same.out) == (0, "same failure: exit status 3 and the same output both times\n")
    assert "right-value" not in same.err
    assert made.replay("--secret", "TOKEN=other-value", code=6)["reason"] == "other-ending"
    without = made.replay("--without-secrets", code=6)
    assert "the step ran without its secrets: TOKEN" in str(without["reasons"])
    assert made.call("replay", "--without-secrets", "--secret", "TOKEN=other-value").code == 2


def test_a_replay_without_secrets_claims_nothing(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), "a: {secrets: [TOKEN], steps: [{name: s, run: echo no; exit 1}]}")
    made.run(env={"TOKEN": "right-value"}, code=1)
    assert made.replay("--without-secrets", code=8)["reason"] == "incomplete-state"


def test_a_shell_has_them(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), "a: {secrets: [TOKEN], steps: [{name: s, run: exit 1}]}")
    made.run(env={"TOKEN": "right-value"}, code=1)
    script = "wc -c </run/secrets/TOKEN >/workspace/size && grep -qx 11 /workspace/size && exit 42\n"
    called = made.call("replay", "--shell", "--secret", "TOKEN=right-value", stdin=script)
    assert called.code == 42, called

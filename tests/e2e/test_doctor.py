"""`ci-env doctor`, by every account."""

from __future__ import annotations

import dataclasses
import json

from tests.installed import CiEnv

FORBID = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'


def test_doctor_says_what_there_is(actor: CiEnv) -> None:
    done = actor.run("doctor", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    abilities = json.loads(done.stdout)
    states = {found["name"]: found["state"] for found in abilities}
    assert states["user namespaces"] == states["overlay"] == "found"
    assert states["subordinate ids"] == ("missing" if actor.account.who == "user-nosub" else "found")
    (overlay,) = [found["detail"] for found in abilities if found["name"] == "overlay"]
    assert f" on {actor.home} (" in overlay
    assert not actor.store.exists()

    shown = actor.run("doctor", env={"COLUMNS": "80"})
    assert shown.returncode == 0
    assert shown.stdout.endswith("\nThis host can run steps.\n")
    assert all(len(line) <= 80 or line.lstrip().startswith("$ ") for line in shown.stdout.splitlines())


def test_doctor_names_the_fix_where_no_step_can_run(actor: CiEnv) -> None:
    namespace = ("unshare", "--user", "--map-root-user", "sh", "-c", FORBID, "sh")
    account = dataclasses.replace(actor.account, become=(*actor.account.become, *namespace))
    done = dataclasses.replace(actor, account=account).run("doctor")
    assert (done.returncode, done.stderr) == (3, "")
    assert "\n        $ sudo sysctl -w user.max_user_namespaces=15000\n" in done.stdout
    assert "This host cannot run steps; it lacks: user namespaces" in done.stdout

"""`ci-env run` on a host that allows no user namespaces."""

from __future__ import annotations

import dataclasses

from tests.installed import CiEnv
from tests.project import Project, leftovers, project

FORBID = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'


def test_the_fix_is_named(actor: CiEnv) -> None:
    made = project(actor, "only: {steps: [{name: step, run: 'true'}]}")
    namespace = ("unshare", "--user", "--map-root-user", "sh", "-c", FORBID, "sh")
    account = dataclasses.replace(actor.account, become=(*actor.account.become, *namespace))
    restricted = Project(dataclasses.replace(actor, account=account), made.root)
    called = restricted.call("run", "--format", "plain")
    assert called.code == 3, called
    error, *hints = [line for line in called.err.splitlines() if line.startswith(("error: ", "hint: ", " "))]
    assert error.startswith("error: cannot isolate steps: ")
    assert "max_user_namespaces" in error + "".join(hints)
    assert "sudo sysctl -w user.max_user_namespaces=" in "".join(hints)
    assert "`ci-env doctor` tells more" in hints[-1]
    assert leftovers(actor) == []
    assert made.run().steps == {"step": "passed"}

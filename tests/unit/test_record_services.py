"""Services in a record: what of the store it needs, what a capsule takes of it, and what none can hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ci_env import codec
from ci_env.capsule.needs import needs
from ci_env.capsule.record import Record, ServiceRecord
from ci_env.capsule.renaming import layers_of, renamed
from ci_env.capsule.sound import check_sound
from ci_env.capsule.stacks import kept_contents, stacked_layers
from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.pipeline.model import Ready
from ci_env.plan.plan import Service
from tests.capsule_material import failed_run
from tests.plan_material import DEBIAN

LAYER, LOG = Digest.of(b"layer of a service"), Digest.of(b"log of a service")
SERVICE = Service(
    name="db",
    aliases=(),
    image=replace(DEBIAN.image, layers=(LAYER,)),
    argv=("serve",),
    env={},
    user="0",
    workdir="/",
    ready=Ready(5432, None, 9),
)
DONE = ServiceRecord("db", "stopped", "cancelled", 0, None, 9, LOG)


def served(service: Service = SERVICE, done: ServiceRecord = DONE) -> Record:
    run = failed_run()
    plan, job = run.plan, run.jobs[0]
    planned = (replace(plan.jobs[0], services=(service,)), *plan.jobs[1:])
    return replace(run, plan=replace(plan, jobs=planned), jobs=(replace(job, services=(done,)), *run.jobs[1:]))


def test_is_read_as_written_and_was_not_there_before() -> None:
    assert codec.loads(Record, codec.dumps(served())) == served()
    older = codec.dumps(failed_run()).replace(b',"services":[]', b"")
    assert b"services" not in older
    assert codec.loads(Record, older) == failed_run()


def test_is_replayable_with_layers_and_logs_of_services() -> None:
    found = needs(served())
    assert LAYER in found.layers
    assert LOG in found.blobs
    assert LAYER in {stacked.layer for stacked in stacked_layers(served())}
    assert ("log", LOG) in kept_contents(served())


def test_layers_of_services_get_names_of_their_own() -> None:
    assert LAYER in layers_of(served())
    new = Digest.of(b"new")
    assert renamed(served(), {LAYER: new}).plan.jobs[0].services[0].image.layers == (new,)


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (served(replace(SERVICE, argv=("",))), "runs nothing"),
        (served(replace(SERVICE, workdir="../x")), "nowhere"),
        (served(replace(SERVICE, ready=Ready(65536, None, 9))), "is ready at a port"),
        (served(replace(SERVICE, ready=Ready(None, "x", 0))), "or a time"),
        (served(replace(SERVICE, aliases=("a b",))), "no name of a service"),
        (served(done=replace(DONE, name="\x1b[2J")), "other services"),
    ],
)
def test_none_that_a_run_could_not_write(record: Record, problem: str) -> None:
    check_sound(served())
    with pytest.raises(ConfigError, match=problem):
        check_sound(record)

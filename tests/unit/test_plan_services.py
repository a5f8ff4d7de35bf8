"""Services of a job in its plan: what each runs, and which keys they are part of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.pipeline import model
from ci_env.pipeline.model import Limits, Pipeline, Ready
from ci_env.plan import keys
from ci_env.plan.compile import compile_plan, named_images
from ci_env.plan.explain import differences
from ci_env.plan.plan import PATH, Job, Service
from tests.plan_material import DEBIAN, compiled, inputs, job, service, step

POSTGRES = replace(
    DEBIAN,
    image=replace(DEBIAN.image, reference="postgres:16", layers=(Digest.of(b"postgres"),)),
    env={"PGDATA": "/data"},
    user="postgres",
    workdir="/var/lib",
    entrypoint=("entry.sh",),
    command=("postgres",),
)


def served(*services: model.Service) -> Job:
    one = replace(job("test", step(), step("next")), services=services, limits=Limits(pids=9))
    return compile_plan(Pipeline((one,)), inputs([one], **{"postgres:16": POSTGRES}), ()).jobs[0]


def only(**changes: object) -> Service:
    (found,) = served(service(**{"image": "postgres:16", "command": None, **changes})).services
    return found


def test_is_what_its_image_says() -> None:
    found = only()
    assert found.image == POSTGRES.image
    assert (found.argv, found.user, found.workdir) == (("entry.sh", "postgres"), "postgres", "/var/lib")
    assert found.env == {"PATH": PATH, "PGDATA": "/data"}
    assert found.limits == Limits(pids=9)


@pytest.mark.parametrize(
    ("said", "argv"),
    [
        ({"command": ("-c", "a=b")}, ("entry.sh", "-c", "a=b")),
        ({"command": ()}, ("entry.sh",)),
        ({"entrypoint": ("mine",)}, ("mine",)),
        ({"entrypoint": ("mine",), "command": ("x",)}, ("mine", "x")),
        ({"entrypoint": (), "command": ("x",)}, ("x",)),
    ],
)
def test_who_replaces_the_entrypoint_drops_the_command(said: dict[str, object], argv: tuple[str, ...]) -> None:
    assert only(**said).argv == argv


def test_the_file_overrules_the_image() -> None:
    found = only(env={"PGDATA": "/else", "A": "1"}, user="1:2", aliases=("database",), ready=Ready(5432, None, 9))
    assert found.env == {"A": "1", "PATH": PATH, "PGDATA": "/else"}
    assert (found.user, found.aliases, found.ready) == ("1:2", ("database",), Ready(5432, None, 9))


@pytest.mark.parametrize("said", [{"image": "debian:12"}, {"entrypoint": ()}, {"entrypoint": ("",)}])
def test_something_must_run(said: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"^ci-env\.yml:5:7: the service 'db' has nothing to run"):
        only(**said)


def test_without_services_keys_are_as_before_there_were_any() -> None:
    assert served() == replace(compiled(replace(job("test", step(), step("next")), limits=Limits(pids=9))).jobs[0])
    assert "services" not in keys.start_preimage(DEBIAN.image, (), ())


@pytest.mark.parametrize(
    "changes",
    [{"command": ("x",)}, {"env": {"A": "2"}}, {"user": "1"}, {"aliases": ("a",)}, {"image": "host"}],
)
def test_what_a_service_is_counts_for_all_steps(changes: dict[str, object]) -> None:
    was, now = served(service()), served(service(**changes))
    assert [one.key for one in was.steps] != [one.key for one in now.steps]
    assert was.start != now.start
    assert len({one.key for one in (*was.steps, *now.steps)}) == 4


def test_when_it_is_ready_and_the_order_count_for_nothing() -> None:
    one, other = service("a"), service("b", aliases=("c", "d"))
    same = served(service("b", aliases=("d", "c"), ready=Ready(1, None, 2)), one)
    assert served(one, other).start == same.start


def test_says_what_changed() -> None:
    def words(old: tuple[model.Service, ...], new: tuple[model.Service, ...]) -> list[str]:
        was, now = (_preimage(services) for services in (old, new))
        return [difference.words for difference in differences(was, now)]

    assert words((), (service(),)) == ["the service db is new"]
    assert words((service(),), (service("db.b"),)) == ["the service db is gone", "the service db.b is new"]
    changed = service(image="postgres:16", env={"A": "1"}, command=("x",))
    assert words((service(),), (changed,)) == [
        "the service db has another image and command and environment and user and working directory"
    ]


def _preimage(services: tuple[model.Service, ...]) -> str:
    one = replace(job("test", step()), services=services)
    plan = compile_plan(Pipeline((one,)), inputs([one], **{"postgres:16": POSTGRES}), ())
    return keys.written(keys.preimage_in(plan, plan.jobs[0], plan.jobs[0].steps[0]))


def test_images_of_services_are_named_too() -> None:
    jobs = (replace(job("a"), services=(service(image="b:1"), service("c", at="there"))), job("b", image="b:1"))
    assert named_images(jobs) == {"debian:12": "ci-env.yml:4:3", "b:1": "ci-env.yml:5:7"}

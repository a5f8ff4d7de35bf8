"""`services` of a job: what they mean, and which cannot be."""

from __future__ import annotations

import pytest

from ci_env.pipeline.model import Ready, Service
from tests.pipeline_text import complaint, pipeline

TEXT = """version: 1
image: host
env: {OUTER: "1"}
jobs:
  test:
    matrix: {version: ["16"]}
    services: %s
    steps:
      - {run: a%s}
      - {run: b%s}
"""


def text(services: str, first: str = "", second: str = "") -> str:
    return TEXT % (services, first, second)


def test_is_carried_with_its_expressions_replaced() -> None:
    service = (
        "{image: 'postgres:${{ matrix.version }}', env: {V: '${{ matrix.version }}'}, command: [a, '${{ job.name }}'], "
        "user: '5', aliases: [database], ready: {tcp: 5432, command: pg_isready, timeout: 30s}}"
    )
    (job,) = pipeline(text(f"{{db: {service}, cache: {{image: 'redis:7'}}}}")).jobs
    assert job.services == (
        Service(
            name="db",
            image="postgres:16",
            entrypoint=None,
            command=("a", "test"),
            env={"V": "16"},
            user="5",
            aliases=("database",),
            ready=Ready(5432, "pg_isready", 30),
            at="ci-env.yml:7:16",
        ),
        Service("cache", "redis:7", None, None, {}, None, (), None, at=job.services[1].at),
    )


def test_an_empty_command_is_another_thing_than_none() -> None:
    (job,) = pipeline(text("{db: {image: x, entrypoint: [], command: []}}")).jobs
    assert (job.services[0].entrypoint, job.services[0].command) == ((), ())


@pytest.mark.parametrize(
    ("services", "message"),
    [
        (
            "{a: {image: x, aliases: [b]}, b: {image: x}}",
            "7:15: jobs.test.services: two services have the host name 'b'",
        ),
        ("{a: {image: x, aliases: [a]}}", "7:15: jobs.test.services: two services have the host name 'a'"),
        ("{a: {image: x, aliases: [b, b]}}", "7:39: jobs.test.services.a.aliases: 'b' is there twice"),
        (
            "{a: {image: x, ready: {timeout: 3s}}}",
            "7:37: jobs.test.services.a.ready: says nothing; give it `tcp` or `command`",
        ),
        (
            "{localhost: {image: x}}",
            "7:27: jobs.test.services.localhost: expected a host name of 1 to 63 letters, digits",
        ),
        (
            "{a: {image: x, env: {A: '${{ env.OUTER }}'}}}",
            "7:40: jobs.test.services.a.env.A: unknown expression `${{ env.OUTER }}`",
        ),
    ],
)
def test_impossible_services(services: str, message: str) -> None:
    assert complaint(text(services)).startswith(f"ci-env.yml:{message}")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (", network: host", ""),
        (", network: nat, allow: ['a:1']", ", network: nat"),
    ],
)
def test_all_steps_share_one_network_with_them(first: str, second: str) -> None:
    rule = "the steps of a job with `services` share one network with them, so each must say the same"
    assert complaint(text("{a: {image: x}}", first, second)) == (
        f"ci-env.yml:7:5: jobs.test.services: {rule} `network` and `allow`"
    )
    assert pipeline(text("{}", first, second))
    assert pipeline(text("{a: {image: x}}", first, first))

"""Services beside the steps of a job: found by name, ready first, logged, and gone with the job. By every account."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from ci_env.store.home import open_store
from ci_env.store.images import Images
from tests.account import Who
from tests.base_image import services_image
from tests.installed import CiEnv
from tests.processes import wait_until
from tests.project import Project, Run, leftovers, project

pytestmark = pytest.mark.timeout(600)

FETCH = "python3 -c 'import urllib.request as r; print(r.urlopen(\"http://{}:8000/{}\").read().decode())'"
WEB = """
test:
  services:
    web:
      image: host
      command: [sh, -ec, "echo serving; mkdir www; cd www; echo $GREETING >greeting; exec python3 -u -m http.server"]
      env: {GREETING: hello}
      aliases: [www]
      ready: {tcp: 8000, command: test -e /www/greeting, timeout: 60s}
  steps:
    - {name: fetch, run: FETCH-WWW}
    - {name: look, run: "test ! -e /www; FETCH-WEB", env: {A: "0"}}
""".replace("FETCH-WWW", json.dumps(FETCH.format("www", "greeting"))).replace(
    "FETCH-WEB", FETCH.format("web", "greeting").replace('"', '\\"')
)
BROKEN = """
test:
  services:
    good: {image: host, command: [sleep, "300"]}
    bad: {image: host, command: [sh, -c, COMMAND], ready: {tcp: 8000, timeout: 2s}}
  steps:
    - {name: never, run: echo ran}
    - {name: after, when: always, run: "echo cleaned up; cat /etc/hosts"}
"""


def started(run: Run) -> bool:
    return any("starting" in str(note["message"]) for note in run.of("Note"))


def test_steps_find_them_by_name(actor: CiEnv) -> None:
    made = project(actor, WEB)
    run = made.run()
    assert run.steps == {"fetch": "passed", "look": "passed"}
    assert [line for line in (*run.lines("fetch"), *run.lines("look")) if line] == ["hello", "hello"]
    notes = [str(note["message"]) for note in run.of("Note")]
    assert notes[0] == "test: starting web"
    assert notes[1].startswith("test: web is ready (")
    log = made.call("runs", "logs", "--step", "test/service:web").out.splitlines()
    assert log[0] == "serving"
    assert log[-1].endswith('"GET /greeting HTTP/1.1" 200 -')
    assert "  service web: stopped, " in made.call("runs", "show").out
    assert leftovers(actor) == []

    again = made.run()
    assert set(again.steps.values()) == {"cached"}
    assert not started(again)

    text = (made.root / "ci-env.yml").read_text()
    made.put("ci-env.yml", text.replace('A: "0"', 'A: "1"'))
    assert set(made.run().steps.values()) == {"passed"}  # what the first has done to a service is in no layer
    made.put("ci-env.yml", text.replace("GREETING: hello", "GREETING: hallo"))
    assert "the service web has another environment" in made.call("explain", "fetch").out
    changed = made.run()
    assert changed.lines("fetch")[0] == "hallo"
    assert Project(actor, actor.home).replay(changed.id, "--step", "look")["verdict"] == "same"
    assert leftovers(actor) == []


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (
            "echo trying; exec sleep 300",
            "the service bad was not ready after 2 s: nothing accepts connections at port 8000",
        ),
        ("echo trying; exit 3", "the service bad has ended: exit status 3"),
        ("echo trying; kill -9 $$", "the service bad has ended: signal 9 (SIGKILL)"),
    ],
)
def test_one_that_does_not_come_up(ci_env: Callable[[Who], CiEnv], command: str, problem: str) -> None:
    made = project(ci_env("user"), BROKEN.replace("COMMAND", json.dumps(command)))
    run = made.run(code=1)
    assert run.steps == {"never": "failed", "after": "passed"}
    assert run.lines("never") == [f"ci-env: {problem}", "ci-env: its last lines:", "  trying"]
    assert run.lines("after")[:2] == ["cleaned up", "127.0.0.1\tgood bad"]
    assert made.call("runs", "logs", "--step", "service:bad").out == "trying\n"
    assert "  service bad: unready, " in made.call("runs", "show").out
    assert made.replay(run.id)["verdict"] == "same"
    (failure,) = run.of("StepFailure")
    assert made.call("replay", str(failure["capsule"])).code == 0
    assert leftovers(made.ci_env) == []


def test_one_that_dies_is_told_of_to_who_suffers(ci_env: Callable[[Who], CiEnv]) -> None:
    jobs = """
    test:
      services: {db: {image: host, command: [sh, -c, "echo out of ideas; sleep 0.3; exit 4"]}}
      steps: [{name: uses, run: "sleep 2; exit 5"}]
    """
    made = project(ci_env("user"), jobs)
    run = made.run(code=1)
    notes = [str(note["message"]) for note in run.of("Note")]
    assert "test: the service db has ended (exit status 4) before the job has" in notes
    (failure,) = run.of("StepFailure")
    assert failure["tail"] == [
        "ci-env: the service db has ended: exit status 4",
        "ci-env: its last lines:",
        "  out of ideas",
    ]


@pytest.mark.parametrize(
    ("service", "code", "said"),
    [
        ("{image: host, command: [x], user: nobody-here}", 2, "the service db: the image has no user 'nobody-here'"),
        ("{image: host}", 2, "the service 'db' has nothing to run"),
        ("{image: 'oci:nowhere', command: [x]}", 2, "nowhere"),
    ],
)
def test_one_that_cannot_run(ci_env: Callable[[Who], CiEnv], service: str, code: int, said: str) -> None:
    made = project(ci_env("user"), f"test: {{services: {{db: {service}}}, steps: [{{name: a, run: sleep 1}}]}}\n")
    called = made.call("run", "--format", "plain")
    assert (called.code, said in called.err) == (code, True), called.err
    assert leftovers(made.ci_env) == []


@pytest.mark.parametrize("how", ["INT", "KILL"])
def test_nothing_outlives_a_run_that_is_ended(actor: CiEnv, how: str) -> None:
    jobs = """
    test:
      services:
        deaf: {image: host, command: [sh, -c, "trap '' TERM; echo >/seen; while :; do sleep 1; done"]}
        late: {image: host, command: [sleep, "300"], ready: {command: test -e /never, timeout: 5m}}
      steps: [{name: waits, run: sleep 300}]
    """
    made = project(actor, jobs)
    process = actor.start("run", "--format", "json", cwd=made.root)
    assert process.stdout is not None
    wait_until(lambda: any((actor.store / "tmp").glob("*/*/root/seen")), 60)
    os.kill(process.pid, signal.Signals[f"SIG{how}"])
    process.communicate(timeout=60)
    assert process.returncode == (130 if how == "INT" else -signal.SIGKILL)
    wait_until(lambda: [left for left in leftovers(actor) if left.startswith("process")] == [], 20)
    made.call("runs", "ls")
    made.pipeline("test: {steps: [{name: a, run: 'true'}]}\n")
    made.run()
    assert leftovers(actor) == []


DOCKERFILES = {
    "db": r"""
        FROM debian-services
        ENV PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin
        USER postgres
        WORKDIR /var/lib/postgresql
        ENTRYPOINT ["sh", "-ec", "printf %s \"$POSTGRES_PASSWORD\" >/tmp/password; initdb --username=postgres \
            --pwfile=/tmp/password --auth-host=scram-sha-256 --pgdata=data; exec \"$@\" -D data -k /tmp", "entrypoint"]
        CMD ["postgres"]
    """,
    "cache": """
        FROM debian-services
        CMD ["redis-server", "--save", ""]
    """,
}


def databases(actor: CiEnv) -> Project:
    """Give the example, and the images that it names: not those of docker.io, but with the same programs."""
    made = Project(actor, actor.project("services"))
    for name, text in DOCKERFILES.items():
        made.put(f"{name}.dockerfile", text)
    assert made.call("image", "import", f"oci:{services_image()}", "debian-services").code == 0
    for name, image in (("db", "postgres:16"), ("cache", "redis:7")):
        built = made.call("image", "build", "-t", image, "-f", f"{name}.dockerfile", ".")
        assert built.code == 0, built.err
    return made


FILE = ("-f", "examples/services/ci-env.yml")


@pytest.mark.parametrize("who", ["root", "user"])
def test_postgresql_and_redis(ci_env: Callable[[Who], CiEnv], who: Who) -> None:
    made = databases(ci_env(who))
    run = made.run(*FILE, "--offline")
    assert run.steps == {"schema": "passed", "stock": "passed"}, run.events
    assert run.lines("stock") == ["in the database: 42, in the cache: 42"]
    assert "database system is ready to accept connections" in made.call("runs", "logs", "--step", "service:db").out
    assert "database system is shut down" in made.call("runs", "logs", "--step", "service:db").out
    assert "Ready to accept connections" in made.call("runs", "logs", "--step", "service:cache").out
    if who == "root":  # whose files an ordinary user could not read
        _age_images(made)
    assert set(made.run(*FILE, "--offline").steps.values()) == {"cached"}
    assert leftovers(made.ci_env) == []

    schema = made.root / "examples/services/schema.sql"
    schema.write_text(schema.read_text().replace("12", "13"))
    failed = made.run(*FILE, "--offline", code=1)
    assert failed.steps == {"schema": "passed", "stock": "failed"}
    said = made.replay(failed.id, code=6)  # its database is a new one, without the schema
    assert said["reasons"][-1].startswith("services began as their images have them")  # type: ignore[index]  # JSON
    schema.write_text(schema.read_text().replace("CREATE TABLE stock", "CREATE TABLE postgres.stock"))
    failed = made.run(*FILE, "--offline", code=1)
    assert made.replay(failed.id)["verdict"] == "same"
    assert leftovers(made.ci_env) == []


def _age_images(made: Project) -> None:
    """Have what the store notes of images be as an older ci-env wrote it, without the programs of theirs."""
    images = Images(open_store(made.ci_env.store))
    for key, noted in tuple(images.all()):
        images.save(key, replace(noted, entrypoint=None, command=None))


def test_without_subordinate_ids(ci_env: Callable[[Who], CiEnv]) -> None:
    """Redis works as root; PostgreSQL does not, and another user there is not."""
    made = databases(ci_env("user-nosub"))
    called = made.call("run", *FILE, "--offline", "--format", "plain")
    assert called.code == 3, called.err
    assert "the service db: " in called.err
    assert "no subordinate ids" in called.err
    made.pipeline(
        """
        test:
          services: {cache: {image: "redis:7", ready: {command: redis-cli ping}}}
          steps: [{name: ask, run: redis-cli -h cache ping}]
        """,
        image="redis:7",
    )
    assert made.run("--offline").lines("ask") == ["PONG"]
    assert leftovers(made.ci_env) == []

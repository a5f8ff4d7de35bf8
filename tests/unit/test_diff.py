"""What differs between two runs: each kind of difference is found alone and comes first, equal runs have none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from ci_env.capsule.record import Ended, Host, JobRecord, Record, StepRecord
from ci_env.digest import Digest
from ci_env.pipeline.model import Limits
from ci_env.plan.plan import Plan, Service
from ci_env.replay.diff import compare
from ci_env.replay.difference import Changes, Difference, Item
from ci_env.replay.weights import WEIGHTS, Kind, weigh
from tests.plan_material import compiled, job, step

HOST = Host("6.1", "x86_64", 2, 2**31, "ext4", "root", ("seccomp",))
ONE, OTHER, BASE = Digest.of(b"one"), Digest.of(b"other"), Digest.of(b"base")


class Store:
    """What lies in layers and logs: packages by the stack's top, changes by the pair, output by its digest."""

    def __init__(
        self,
        packages: Mapping[Digest, Mapping[str, str]] | None = None,
        changes: Mapping[tuple[Digest, Digest], Changes] | None = None,
        outputs: Mapping[Digest, Sequence[str]] | None = None,
    ) -> None:
        self._packages = packages or {}
        self._changes = changes or {}
        self._outputs = outputs or {}

    def packages(self, layers: Sequence[Digest]) -> Mapping[str, str] | None:
        return self._packages.get(layers[-1], {})

    def changes(self, old: Digest, new: Digest) -> Changes | None:
        return self._changes.get((old, new), ((), 0))

    def output(self, digest: Digest) -> Sequence[str] | None:
        return self._outputs.get(digest)


def ran(name: str, run: str, ended: Ended = "exit", code: int = 1) -> StepRecord:
    """Return a step that failed, as run `run` has recorded it."""
    after = (BASE, Digest.of(f"{run}{name}".encode()))
    return StepRecord(name, BASE, "failed", ended, code, None, 1, (BASE,), after, None, None, None)


def record(plan: Plan, run: str, *steps: StepRecord, host: Host = HOST, ci: Mapping[str, str] | None = None) -> Record:
    jobs = tuple(
        JobRecord(job.name, "failed", 1, steps or tuple(ran(step.name, run) for step in job.steps)) for job in plan.jobs
    )
    return Record(1, run, "failed", "2026-11-25T00:00:00Z", 1, "ci-env.yml", host, ci or {}, plan, jobs)


PLAN = compiled(job("test", step("build"), step("unit", artifacts=("dist/",))))
SERVICE = Service("db", (), PLAN.jobs[0].image, ("postgres",), {}, "0", "/", None)


def of_job(**changes: object) -> Plan:
    return replace(PLAN, jobs=(replace(PLAN.jobs[0], **changes),))  # type: ignore[arg-type]


def of_image(**changes: object) -> Plan:
    return of_job(image=replace(PLAN.jobs[0].image, **changes))  # type: ignore[arg-type]


def of_step(**changes: object) -> Plan:
    first, *others = PLAN.jobs[0].steps
    return of_job(steps=(replace(first, **changes), *others))  # type: ignore[arg-type]


def with_variable(name: str, value: str) -> Plan:
    return of_step(env={**PLAN.jobs[0].steps[0].env, name: value})


def with_limits(**limits: int) -> Plan:
    return of_step(limits=Limits(**{name: limits.get(name) for name in Limits.__match_args__}))


PLANTED_IN_PLAN: list[tuple[Kind, str, Plan]] = [
    ("command", "command", of_step(argv=("sh", "-e", "-c", "make other"))),
    ("image", "image layers", of_image(layers=(Digest.of(b"1"), Digest.of(b"3")))),
    ("image-name", "image name", of_image(reference="debian:13")),
    ("image-name", "image manifest", of_image(manifest=ONE)),
    ("host-image", "operating system", of_image(host=ONE)),
    ("platform", "platform", of_image(platform="linux/arm64")),
    ("service", "service db command", of_job(services=(replace(SERVICE, argv=("postgres", "-d")),))),
    ("service", "service db variable A", of_job(services=(replace(SERVICE, env={"A": "1"}),))),
    ("time-zone", "variable TZ", with_variable("TZ", "Europe/Berlin")),
    ("locale", "variable LC_ALL", with_variable("LC_ALL", "de_DE.UTF-8")),
    ("locale", "variable LANG", with_variable("LANG", "C")),
    ("variable", "variable PYTHONHASHSEED", with_variable("PYTHONHASHSEED", "1")),
    ("path", "variable PATH", with_variable("PATH", "/bin")),
    ("source-times", "variable SOURCE_DATE_EPOCH", with_variable("SOURCE_DATE_EPOCH", "1")),
    ("user", "user", of_step(user="1000:1000")),
    ("umask", "umask", of_step(umask=0o077)),
    ("workdir", "working directory", of_step(workdir="/")),
    ("network", "network", of_step(network="host")),
    ("network", "allowed hosts", of_step(allow=("example.org:443",))),
    ("timeout", "timeout (s)", of_step(timeout_s=5)),
    ("timeout", "job timeout (s)", of_job(timeout_s=5)),
    ("limit-memory", "limit of memory (bytes)", with_limits(memory_bytes=2**29)),
    ("limit-cpus", "limit of cpus (1/1000)", with_limits(cpus_milli=1000)),
    ("limit-pids", "limit of processes", with_limits(pids=10)),
    ("limit-disk", "limit of disk (bytes)", with_limits(disk_bytes=10)),
    ("limit-files", "limit of open files", with_limits(open_files=10)),
    ("collected", "reports", of_step(junit=("report.xml",))),
    ("hostname", "host name", replace(PLAN, hostname="other")),
    ("commit", "commit", replace(PLAN, source=replace(PLAN.source, commit="d" * 40))),
    ("commit", "uncommitted changes", replace(PLAN, source=replace(PLAN.source, dirty=True))),
    ("job", "job", replace(PLAN, jobs=(*PLAN.jobs, replace(PLAN.jobs[0], name="more")))),
    ("step", "step", of_job(steps=(*PLAN.jobs[0].steps, replace(PLAN.jobs[0].steps[0], name="more")))),
]


@pytest.mark.parametrize(
    ("kind", "what", "plan"), PLANTED_IN_PLAN, ids=lambda value: value if type(value) is str else ""
)
def test_what_is_planted_in_a_plan_is_all_that_is_found(kind: Kind, what: str, plan: Plan) -> None:
    with_service = replace(PLAN, jobs=(replace(PLAN.jobs[0], services=(SERVICE,)),)) if kind == "service" else PLAN
    steps = tuple(ran(step.name, "1") for step in PLAN.jobs[0].steps)
    there = compare(record(with_service, "1", *steps), record(plan, "2", *steps), Store()).differences
    assert [(found.kind, found.what) for found in there] == [(kind, what)]
    back = compare(record(plan, "2", *steps), record(with_service, "1", *steps), Store()).differences
    assert [(found.old, found.new) for found in back] == [(there[0].new, there[0].old)]
    assert there[0].old != there[0].new


@pytest.mark.parametrize(
    ("kind", "what", "host"),
    [
        ("kernel", "kernel", replace(HOST, kernel="6.2")),
        ("architecture", "architecture", replace(HOST, architecture="aarch64")),
        ("cpus", "cpus", replace(HOST, cpus=3)),
        ("memory", "memory (MiB)", replace(HOST, memory_bytes=2**30)),
        ("filesystem", "filesystem", replace(HOST, filesystem="xfs")),
        ("ids", "run as", replace(HOST, user="rootless")),
        ("measures", "isolation", replace(HOST, measures=())),
    ],
)
def test_the_machine(kind: Kind, what: str, host: Host) -> None:
    host = replace(host, measures=host.measures or ("other",))
    found = compare(record(PLAN, "1"), record(PLAN, "2", host=host), Store()).differences
    assert [(one.kind, one.what) for one in found] == [(kind, what)]


def test_equal_runs() -> None:
    one = record(PLAN, "1", ci={"service": "github", "run": "1", "ref": "x"})
    other = record(PLAN, "2", ci={"service": "github", "run": "2", "ref": "x"})
    assert compare(one, replace(other, started_at="2026-11-26T00:00:00Z", duration_ms=99), Store()).differences == ()
    # all found in the store: nobody asked for the isolation then
    cached = replace(other, host=replace(HOST, measures=()))
    assert compare(one, cached, Store()).differences == ()


def one_difference(old: Record, new: Record, store: Store) -> Difference:
    found = compare(old, new, store)
    assert found.unknown == ()
    (difference,) = found.differences
    return difference


ITEM = Item("/workspace/main.c", "content")


def of_source(layer: Digest) -> Plan:
    source = PLAN.jobs[0].steps[0].source
    assert source is not None
    return of_step(source=replace(source, layer=layer))


def test_source_files() -> None:
    old, new = record(of_source(ONE), "1"), record(of_source(OTHER), "2")
    found = one_difference(
        old, new, Store(changes={(ONE, OTHER): ((ITEM, Item("/workspace/ci-env.yml", "content")), 2)})
    )
    assert (found.kind, found.items, found.count, found.where) == ("source", (ITEM,), 1, ("test/build",))
    file = Item("/workspace/ci-env.yml", "content")
    found = one_difference(old, new, Store(changes={(ONE, OTHER): ((file,), 1)}))
    assert (found.kind, found.items) == ("pipeline-file", (file,))
    assert one_difference(old, new, Store()).kind == "source-times"


def test_source_files_that_are_gone() -> None:
    class Gone(Store):
        def changes(self, old: Digest, new: Digest) -> Changes | None:
            return None if old == ONE else ((), 0)

    found = compare(record(of_source(ONE), "1"), record(of_source(OTHER), "2"), Gone())
    assert [(one.kind, one.old) for one in found.differences] == [("source", ONE.hex[:12])]
    assert found.unknown == ("the source files of test/build: a layer is gone",)


def test_packages() -> None:
    steps = [
        tuple(replace(ran(name, run), before=(BASE, layer)) for name in ("build", "unit"))
        for run, layer in (("1", ONE), ("2", OTHER))
    ]
    store = Store(packages={ONE: {"pip a": "1", "pip b": "1"}, OTHER: {"pip a": "2", "pip c": "1"}})
    found = one_difference(record(PLAN, "1", *steps[0]), record(PLAN, "2", *steps[1]), store)
    assert (found.kind, found.where, found.count) == ("packages", ("test/build",), 3)
    assert found.items == (
        Item("pip a", "changed", "1", "2"),
        Item("pip b", "removed", "1", None),
        Item("pip c", "added", None, "1"),
    )


def passed(name: str, run: str, output: Digest | None = None) -> StepRecord:
    return replace(ran(name, run), status="passed", exit_code=0, output=output)


def test_what_came_of_it_comes_last() -> None:
    old = record(PLAN, "1", passed("build", "1", ONE), passed("unit", "1"))
    failed = replace(ran("build", "2"), output=OTHER)
    new = record(
        with_variable("LANG", "C"), "2", failed, replace(ran("unit", "2"), status="skipped", ended=None, after=None)
    )
    left = Digest.of(b"1build"), Digest.of(b"2build")
    store = Store(changes={left: ((ITEM,), 1)}, outputs={ONE: ["a", "in 1.0s", "b"], OTHER: ["a", "in 2.0s", "c"]})
    found = compare(old, new, store).differences
    assert [one.kind for one in found] == ["locale", "ending", "output", "result", "ending"]
    assert (found[1].old, found[1].new) == ("passed", "failed: exit status 1")
    assert (found[2].what, found[2].old, found[2].new) == ("output, line 3", "b", "c")


def test_a_step_that_was_cached() -> None:
    """A hit is a difference only where the result is not the one that the other run made."""
    hit = replace(passed("build", "1", ONE), status="cached", ended=None, exit_code=None)
    old, new = record(PLAN, "1", hit), record(PLAN, "1", passed("build", "1", ONE))
    assert compare(old, new, Store()).differences == ()
    new = record(PLAN, "2", passed("build", "2", ONE))
    assert compare(old, new, Store()).differences == ()
    store = Store(changes={(Digest.of(b"1build"), Digest.of(b"2build")): ((ITEM,), 1)})
    found = compare(old, new, store).differences
    assert (found[0].kind, found[0].old, found[0].new) == ("cached", "from the store", "it ran")


def test_one_difference_in_many_places_is_told_once() -> None:
    steps = tuple(replace(one, umask=0o077) for one in PLAN.jobs[0].steps)
    found = one_difference(record(PLAN, "1"), record(of_job(steps=steps), "2"), Store())
    assert (found.old, found.new, found.where) == ("022", "077", ("test/build", "test/unit"))


def test_what_comes_after_the_failure_weighs_less() -> None:
    first, second = PLAN.jobs[0].steps
    steps = replace(first, umask=0o077), replace(second, argv=("sh", "-e", "-c", "other"))
    found = compare(record(PLAN, "1"), record(of_job(steps=steps), "2"), Store()).differences
    assert [one.kind for one in found] == ["umask", "command"]
    assert "not before the step that went differently" in found[1].why


@pytest.mark.parametrize(
    ("ended", "likeliest"),
    [("oom", "limit-memory"), ("pids", "limit-pids"), ("disk", "limit-disk"), ("timeout", "timeout")],
)
def test_what_the_ending_points_at_comes_first(ended: Ended, likeliest: Kind) -> None:
    limits = Limits(cpus_milli=None, memory_bytes=1, pids=1, disk_bytes=1, open_files=None)
    plan = of_step(limits=limits, timeout_s=7, argv=("sh", "-e", "-c", "other"))
    steps = tuple(passed(step.name, "1") for step in PLAN.jobs[0].steps)
    found = compare(record(PLAN, "1", *steps), record(plan, "2", ran("build", "1", ended, 137), steps[1]), Store())
    assert found.differences[0].kind == likeliest
    assert "command" in [one.kind for one in found.differences]


def test_every_kind_has_a_weight_of_its_own_rank_and_a_reason() -> None:
    assert all(why and weight > 0 for weight, why in WEIGHTS.values())
    outcomes = [WEIGHTS[kind][0] for kind in ("ending", "output", "result")]
    assert max(outcomes) < min(
        weight for kind, (weight, _) in WEIGHTS.items() if kind not in ("ending", "output", "result")
    )
    assert weigh("memory", ("oom",), is_elsewhere=False)[0] > weigh("command", ("oom",), is_elsewhere=False)[0]

"""Keys and types of the pipeline file: what is said of wrong ones, word for word."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from ci_env.pipeline import schema
from ci_env.pipeline.positions import KeyPath
from ci_env.pipeline.quantities import parse_duration, parse_size
from tests.pipeline_text import complaint, one_step, pipeline

JOB = "version: 1\nimage: host\njobs:\n  test:\n    steps: [{run: x}]\n    "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "ci-env.yml:1:1: expected a mapping, found a list"),
        ("hello", "ci-env.yml:1:1: expected a mapping, found the text 'hello'"),
        ("{version: 1}", "ci-env.yml:1:1: the key `jobs` is missing"),
        ("version: 1\njobs: {}", "ci-env.yml:2:7: jobs: empty; at least one is needed"),
        ("version: 1\njobs:\n", "ci-env.yml:2:6: jobs: expected a mapping, found nothing"),
        ("version: 1\njobs: {a: }", "ci-env.yml:2:11: jobs.a: expected a mapping, found nothing"),
        ("version: 1\njobs: {a: {image: host}}", "ci-env.yml:2:8: jobs.a: the key `steps` is missing"),
        (
            "version: 1\njobs: {a: {image: host, steps: []}}",
            "ci-env.yml:2:32: jobs.a.steps: empty; at least one is needed",
        ),
        (
            "version: 1\njobs: {a: {image: host, steps: {run: x}}}",
            "ci-env.yml:2:32: jobs.a.steps: expected a list, found a mapping",
        ),
        (
            "version: 1\njobs: {a b: {image: host, steps: [{run: x}]}}",
            "ci-env.yml:2:8: jobs.'a b': a job's name has 1 to 100 letters, digits, `_`, `.` and `-`",
        ),
        (
            "version: 1\njbos: {a: {image: host, steps: [{run: x}]}}",
            "ci-env.yml:1:1: the key `jobs` is missing\nci-env.yml:2:1: jbos: unknown key; did you mean `jobs`?",
        ),
    ],
)
def test_wrong_file(text: str, message: str) -> None:
    assert complaint(text) == message


@pytest.mark.parametrize("found", ["2", "0", "1.0", '"1"', "true", "[]"])
def test_other_version(found: str) -> None:
    words = {"1.0": "the number 1.0", "2": "the number 2", "0": "the number 0", '"1"': "the text '1'", "[]": "a list"}
    message = complaint(f"version: {found}\nimage: host\njobs: {{a: {{steps: [{{run: x}}]}}}}")
    expected = "expected `1`, the only version that this ci-env reads"
    assert message == f"ci-env.yml:1:10: version: {expected}, found {words.get(found, '`true`')}"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "timeout: 5m",
            "6:5: jobs.test.timeout: unknown key; it is a key of a step and of `limits`",
        ),
        (
            "runs-on: x",
            (
                "6:5: jobs.test.runs-on: unknown key; "
                "known are image, matrix, needs, env, limits, secrets, secret_env, services, steps"
            ),
        ),
        ("needs: build", "6:12: jobs.test.needs: expected a list, found the text 'build'; write [build]"),
        ("matrix: {a: 1}", "6:17: jobs.test.matrix.a: expected a list, found the number 1; write [1]"),
        ("matrix: {a: []}", "6:17: jobs.test.matrix.a: empty; at least one is needed"),
        (
            "matrix: {python: [3.10]}",
            '6:23: jobs.test.matrix.python[0]: expected text, found the number 3.10; put it in quotes: "3.10"',
        ),
        ("matrix: {include: [{a: 1}]}", "6:24: jobs.test.matrix.include[0]: expected text, found a mapping"),
        ("env: {A: 1.5}", '6:14: jobs.test.env.A: expected text, found the number 1.5; put it in quotes: "1.5"'),
        ("env: {A: no, B: FALSE}", '6:21: jobs.test.env.B: expected text, found `false`; put it in quotes: "false"'),
        ("env: {A: }", "6:14: jobs.test.env.A: expected text, found nothing"),
        (
            "env: {A-B: x}",
            (
                "6:11: jobs.test.env.A-B: the name of a variable has letters, digits and `_`, "
                "and does not begin with a digit"
            ),
        ),
        ("image:", "6:11: jobs.test.image: expected text, found nothing"),
        (
            "limits: {timeout: soon}",
            (
                "6:23: jobs.test.limits.timeout: expected a duration such as `90s`, `15m` or `1h30m`, "
                "found the text 'soon'"
            ),
        ),
        (
            "limits: {timeout: 0s}",
            (
                "6:23: jobs.test.limits.timeout: expected a duration of at least 1 and at most 1000000000 seconds, "
                "found the text '0s'"
            ),
        ),
        (
            "limits: {memory: 2G}",
            "6:22: jobs.test.limits.memory: expected a size such as `512MB` or `2GiB`, found the text '2G'",
        ),
        (
            "limits: {memory: 0}",
            (
                "6:22: jobs.test.limits.memory: expected a size of at least 1 and at most 1152921504606846976 bytes, "
                "found the number 0"
            ),
        ),
        (
            "limits: {cpus: .inf}",
            (
                "6:20: jobs.test.limits.cpus: expected a number of processors of at least 0.01, such as `2` or `0.5`, "
                "found the number .inf"
            ),
        ),
        (
            "limits: {pids: 1.5}",
            "6:20: jobs.test.limits.pids: expected a whole number greater than 0, found the number 1.5",
        ),
        (
            "secrets: [1x]",
            (
                "6:15: jobs.test.secrets[0]: the name of a variable has letters, digits and `_`, "
                "and does not begin with a digit"
            ),
        ),
        ("services: {db: {}}", "6:16: jobs.test.services.db: the key `image` is missing"),
        (
            "services: {db: {image: x, ready: {tcp: 0}}}",
            "6:44: jobs.test.services.db.ready.tcp: expected a port from 1 to 65535, found the number 0",
        ),
        (
            "services: {db: {image: x, ready: {tcp: 1, timeot: 3s}}}",
            "6:47: jobs.test.services.db.ready.timeot: unknown key; did you mean `timeout`?",
        ),
    ],
)
def test_wrong_key_of_a_job(key: str, message: str) -> None:
    assert complaint(JOB + key) == f"ci-env.yml:{message}"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("run: 5", '6:14: jobs.test.steps[0].run: expected text, found the number 5; put it in quotes: "5"'),
        ("run: [a, b]", "6:14: jobs.test.steps[0].run: expected text, found a list"),
        ("run: |\n  x\nwhen: alwys", ("8:15: jobs.test.steps[0].when: expected `on_success`, `always` or `on_failure`, "
         "found the text 'alwys'; did you mean `always`?")),
        ("run: x\nnetwork: true", "7:18: jobs.test.steps[0].network: expected `none`, `nat` or `host`, found `true`"),
        ("run: x\ntimeout: 1.5m", ("7:18: jobs.test.steps[0].timeout: expected a duration such as `90s`, `15m` or "
         "`1h30m`, found the text '1.5m'")),
        ("run: x\ntimeout: -1", ("7:18: jobs.test.steps[0].timeout: expected a duration of at least 1 and at most "
         "1000000000 seconds, found the number -1")),
        ("run: x\nreports: {junt: [a]}", "7:19: jobs.test.steps[0].reports.junt: unknown key; did you mean `junit`?"),
        ("run: x\nuser: 1.5", ('7:15: jobs.test.steps[0].user: expected text, found the number 1.5; put it in quotes: '
         '"1.5"')),
        ("run: x\ninputs:", "7:16: jobs.test.steps[0].inputs: expected a list, found nothing"),
        ("run: x\nneeds: [a]", "7:9: jobs.test.steps[0].needs: unknown key; it is a key of a job"),
        ("run: x\nlog: " + "\\" * 80, ("7:9: jobs.test.steps[0].log: unknown key; known are run, "
        "name, shell, workdir, user, "
         "env, inputs, network, allow, caches, timeout, when, artifacts, reports")),
        ("run: x\nwhen: \"\\e[31m" + "x" * 80 + '"', "7:15: jobs.test.steps[0].when: expected `on_success`, `always` "
         "or `on_failure`, found the text '\\x1b[31m" + "x" * 52 + "...'"),
    ],
)  # fmt: skip
def test_wrong_key_of_a_step(step: str, message: str) -> None:
    assert complaint(one_step(step)) == f"ci-env.yml:{message}"


def test_all_problems_are_told_in_file_order() -> None:
    steps = "".join(f"      - {{run: x, k{number}: y}}\n" for number in range(12))
    text = f"version: 1\nimage: host\nevn: {{}}\njobs:\n  test:\n    steps:\n{steps}"
    lines = complaint(text).splitlines()
    assert lines[0] == "ci-env.yml:3:1: evn: unknown key; did you mean `env`?"
    assert [line.split(" ")[0] for line in lines[1:10]] == [f"ci-env.yml:{7 + n}:18:" for n in range(9)]
    assert lines[10:] == ["and more"]


def test_many_mistakes_end_soon() -> None:
    text = "version: 1\nimage: host\njobs:\n" + "".join(f"  j{n}: {{stepz: 1, needz: 2}}\n" for n in range(8000))
    assert len(complaint(text).splitlines()) == 11


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1h30m", 5400), ("2h5s", 7205), ("0s", 0)])
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "1.5m", "30m1h", "1h ", " 1h", "1H", "-1s", "1s1s", "٣s", "1d", "1s\n"])
def test_not_durations(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1B", 1), ("512MB", 512_000_000), ("2GiB", 2**31), ("2 KiB", 2048), ("1kB", 1000), ("1TB", 10**12)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "5", "2G", "2gib", "1.5GB", "-1B", "1kiB", "2  GiB", "٣B", "1B\n"])
def test_not_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


def test_numbers_that_stand_for_text_keep_their_form() -> None:
    text = (
        "version: 1\nimage: host\nenv: {PORT: 0080, MASK: 0x1F}\n"
        "jobs: {a: {steps: [{run: x, user: 1000, timeout: 90}]}}"
    )
    (step,) = pipeline(text).jobs[0].steps
    assert (step.env, step.user, step.timeout_s) == ({"PORT": "0080", "MASK": "0x1F"}, "1000", 90)


def test_every_section_is_found_by_its_path() -> None:
    job = ("jobs", "a")
    paths: list[KeyPath] = [(), job, (*job, "limits"), (*job, "services", "s"), (*job, "services", "s", "ready")]
    paths += [(*job, "steps", 0), (*job, "steps", 0, "reports")]
    sections = {
        value
        for value in vars(schema).values()
        if isinstance(value, type) and issubclass(value, schema.Section) and value is not schema.Section
    }
    assert {schema.section_at(path) for path in paths} == sections
    assert schema.section_at(("jobs",)) is None


@pytest.mark.parametrize("section", [schema.File, schema.Job, schema.Step, schema.Limits, schema.Service, schema.Ready])
def test_every_key_is_documented_and_its_examples_are_right(section: type[BaseModel]) -> None:
    for name, field in section.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        for example in field.examples or ():
            section.__pydantic_validator__.validate_assignment(section.model_construct(), name, example)

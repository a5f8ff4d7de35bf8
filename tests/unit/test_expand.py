"""From file to pipeline: legs, order, scopes, checked values; and what is said where that is impossible."""

from __future__ import annotations

import itertools

import pytest

from ci_env.pipeline.model import Job, Pipeline, Step
from ci_env.pipeline.needs import CycleError, in_order
from tests.pipeline_text import complaint, one_step, pipeline

EVERYTHING = """\
version: 1
image: debian:12
env: {A: file, B: file, PORT: 5432}
jobs:
  test:
    image: python:${{ matrix.python }}-slim
    matrix:
      python: ["3.11", "3.12"]
      os: [x]
    needs: [build]
    env: {B: "job, was ${{ env.B }}", C: "${{ env.B }}/${{ matrix.os }}"}
    limits: {timeout: 1h}
    steps:
      - name: deps ${{ matrix.python }}
        run: pip install -r requirements-${{ matrix.python }}.txt
        inputs: ["requirements-${{ matrix.python }}.txt", src/]
        network: host
        caches: [/root//.cache/./pip/, "/var/${{ job.name }}"]
      - run: |
          pytest --junitxml=${{ env.REPORT }}
        shell: bash -euo pipefail
        workdir: ./packages//a/
        user: 1000:1000
        env: {A: step, REPORT: "${{ job.name }}.xml"}
        timeout: 90
        when: always
        reports: {junit: ["${{ env.REPORT }}"]}
        artifacts: [dist/]
  build:
    steps: [{run: make, workdir: //opt/x}]
"""


def test_everything_that_a_file_can_say() -> None:
    def leg(python: str) -> Job:
        env = {"A": "file", "B": "job, was file", "PORT": "5432", "C": "job, was file/x"}
        deps = Step(
            name=f"deps {python}",
            run=f"pip install -r requirements-{python}.txt",
            shell=("sh", "-e"),
            workdir=".",
            user=None,
            env=env,
            network="host",
            inputs=(f"requirements-{python}.txt", "src/"),
            caches=("/root/.cache/pip", "/var/test"),
            timeout_s=None,
            when="on_success",
            artifacts=(),
            junit=(),
            at="ci-env.yml:14:9",
        )
        test = Step(
            name="step 2",
            run="pytest --junitxml=test.xml\n",
            shell=("bash", "-euo", "pipefail"),
            workdir="packages/a",
            user="1000:1000",
            env=env | {"A": "step", "REPORT": "test.xml"},
            network="none",
            inputs=None,
            caches=(),
            timeout_s=90,
            when="always",
            artifacts=("dist/",),
            junit=("test.xml",),
            at="ci-env.yml:19:9",
        )
        image = f"python:{python}-slim"
        return Job(f"test (python={python}, os=x)", "test", image, ("build",), 3600, (deps, test), "ci-env.yml:5:3")

    env = {"A": "file", "B": "file", "PORT": "5432"}
    make = Step(
        "step 1",
        "make",
        ("sh", "-e"),
        "/opt/x",
        None,
        env,
        "none",
        None,
        (),
        None,
        "on_success",
        (),
        (),
        "ci-env.yml:30:13",
    )
    build = Job("build", "build", "debian:12", (), None, (make,), "ci-env.yml:29:3")
    assert pipeline(EVERYTHING) == Pipeline((build, leg("3.11"), leg("3.12")))


def jobs(**needs: str) -> str:
    """Return a pipeline of jobs that need what they are given, in this order."""
    lines = [f"  {name}: {{needs: [{needed}], steps: [{{run: x}}]}}\n" for name, needed in needs.items()]
    return "version: 1\nimage: host\njobs:\n" + "".join(lines)


def test_jobs_come_after_what_they_need_and_else_as_in_the_file() -> None:
    order = [job.name for job in pipeline(jobs(deploy="test", lint="", test="build", build="", docs="lint")).jobs]
    assert order == ["lint", "build", "test", "deploy", "docs"]


def test_need_of_a_matrix_is_all_of_its_legs() -> None:
    text = jobs(a="", b="a, a").replace("a: {needs: []", "a: {matrix: {x: [1, 2]}, needs: []")
    assert pipeline(text).jobs[-1].needs == ("a (x=1)", "a (x=2)")


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ({"a": "b", "b": "a"}, "4:7: jobs.a.needs: jobs wait for each other: a -> b -> a"),
        ({"x": "a", "a": "b", "b": "c", "c": "a"}, "5:7: jobs.a.needs: jobs wait for each other: a -> b -> c -> a"),
        ({"a": "a"}, "4:7: jobs.a.needs: jobs wait for each other: a -> a"),
        ({"build": "", "b": "biuld"}, "5:15: jobs.b.needs[0]: there is no job 'biuld'; did you mean `build`?"),
        ({"a": "zzz"}, "4:15: jobs.a.needs[0]: there is no job 'zzz'"),
    ],
)
def test_impossible_needs(needs: dict[str, str], message: str) -> None:
    assert complaint(jobs(**needs)) == f"ci-env.yml:{message}"


def test_a_long_chain_of_needs() -> None:
    chain = {str(number): [str(number + 1)] for number in range(20_000)} | {"20000": []}
    assert in_order(chain) == tuple(reversed(chain))
    with pytest.raises(CycleError):
        in_order(chain | {"20000": ["0"]})


def test_job_without_an_image() -> None:
    text = "version: 1\njobs:\n  a: {steps: [{run: x}]}\n  b: {image: host, steps: [{run: x}]}\n"
    message = "no image; name one here, or for all jobs at the top of the file"
    assert complaint(text) == f"ci-env.yml:3:3: jobs.a: {message}"


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("Debian", "invalid image 'Debian': 'Debian' must be lower case"),
        ("https://x.example/y", "invalid image 'https://x.example/y': write it without https://"),
        ("'debian:'", "invalid image 'debian:': '' is not a tag (letters, digits, '_', '.', '-'; at most 128)"),
        ("'docker-archive:'", "`docker-archive:` needs a path, as in `docker-archive:build/image`"),
        ("'oci:'", "`oci:` needs a path, as in `oci:build/image`"),
        ("oci-archive::tag", "`oci-archive:` needs a path, as in `oci-archive:build/image`"),
        ("oci:dir:a b", "'a b' is not a tag (letters, digits, `_`, `.`, `-`; at most 128)"),
        ("''", "invalid image '': it has no name"),
    ],
)
def test_impossible_image(image: str, message: str) -> None:
    assert complaint(jobs(a="").replace("image: host", f"image: {image}")) == f"ci-env.yml:2:8: image: {message}"
    own = jobs(a="").replace("needs: []", f"image: {image}")
    assert complaint(own) == f"ci-env.yml:4:14: jobs.a.image: {message}"


@pytest.mark.parametrize(
    "image",
    [
        "host",
        "oci:dir",
        "oci:a/b:1.2",
        "oci:/a:b/c",
        "oci-archive:x.tar:t",
        "docker-archive:x.tar",
        "docker-archive:x.tar:app:1",
        "r.example:5/x",
    ],
)
def test_possible_image(image: str) -> None:
    assert pipeline(jobs(a="").replace("host", image)).jobs[0].image == image


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ("{a: [x, y, x]}", "4:26: jobs.a.matrix.a[2]: 'x' is there twice"),
        ("{a: [1, '1']}", "4:23: jobs.a.matrix.a[1]: '1' is there twice"),
        (
            '{a: ["x\\n"]}',
            "4:20: jobs.a.matrix.a[0]: a value is one line of at most 100 printable characters, not 'x\\n'",
        ),
        (
            '{a: ["${{ job.name }}"]}',
            "4:20: jobs.a.matrix.a[0]: values of a matrix are taken as they are: no expressions",
        ),
        (
            f"{{a: {list(range(17))}, b: {list(range(16))}}}",
            "4:7: jobs.a.matrix: 272 combinations; at most 256 are possible",
        ),
        (
            '{a: ["1, b=2", "1"], b: ["3", "2, b=3"]}',
            "4:7: jobs.a.matrix: two combinations would have the same name, such as 'a (a=1, b=2, b=3)'",
        ),
    ],
)
def test_impossible_matrix(matrix: str, message: str) -> None:
    assert complaint(jobs(a="").replace("needs: []", f"matrix: {matrix}")) == f"ci-env.yml:{message}"


def test_too_many_steps_in_all() -> None:
    text = (
        "version: 1\nimage: host\njobs:\n  a:\n    matrix: {x: ["
        + "".join(f"{n}," for n in range(200))
        + "]}\n    steps:\n"
    )
    step = "      - run: x\n"
    assert len(pipeline(text + step * 50).jobs) == 200
    assert complaint(text + step * 51) == "ci-env.yml:3:1: jobs: more than 10000 steps in all, matrices expanded"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("run: ''", "6:14: jobs.test.steps[0].run: there is nothing to run"),
        ("run: |\n", "6:14: jobs.test.steps[0].run: there is nothing to run"),
        (
            f"run: {'x' * 131072}",
            (
                "6:14: jobs.test.steps[0].run: 131072 bytes long; Linux hands at most 131071 to a "
                "process in one piece. "
                "Put it in a file of the repository"
            ),
        ),
        (
            f"run: x\nenv: {{A: {'é' * 65536}}}",
            (
                "7:18: jobs.test.steps[0].env.A: with its name 131074 bytes long; Linux hands at "
                "most 131071 to a process "
                "in one piece. Put it in a file of the repository"
            ),
        ),
        (
            "run: |\n  echo one\n  echo ${{ matrx.x }}",
            (
                "8:16: jobs.test.steps[0].run: unknown expression `${{ matrx.x }}`; there are "
                "`matrix.NAME`, `env.NAME` "
                "and `job.name`"
            ),
        ),
        (
            'run: "a\\u0020${{ env.X }}"',
            (
                "6:22: jobs.test.steps[0].run: unknown expression `${{ env.X }}`; no `env` of the file sets it "
                "above this place"
            ),
        ),
        (
            'run: "${{ env\\u002EX }}"',
            (
                "6:14: jobs.test.steps[0].run: unknown expression `${{ env.X }}`; no `env` of the file sets it "
                "above this place"
            ),
        ),
        (
            "run: x\nenv: {A: '${{ env.B }}', B: x}",
            (
                "7:19: jobs.test.steps[0].env.A: unknown expression `${{ env.B }}`; no `env` of the file sets it above "
                "this place"
            ),
        ),
        ("run: x\nshell: ''", "7:16: jobs.test.steps[0].shell: names no program"),
        ("run: x\nshell: sh 'x", "7:16: jobs.test.steps[0].shell: cannot be split into words: no closing quotation"),
        (
            "run: x\nname: ''",
            "7:15: jobs.test.steps[0].name: a name is one line of 1 to 100 printable characters, not ''",
        ),
        (
            'run: x\nname: "a\\tb"',
            "7:15: jobs.test.steps[0].name: a name is one line of 1 to 100 printable characters, not 'a\\tb'",
        ),
        (
            "run: x\nworkdir: a/../b",
            (
                "7:18: jobs.test.steps[0].workdir: expected a path below /workspace, or an absolute one, without `..`; "
                "found 'a/../b'"
            ),
        ),
        (
            "run: x\nuser: a:b:c",
            "7:15: jobs.test.steps[0].user: expected `user` or `user:group`, names or numbers; found 'a:b:c'",
        ),
        (
            "run: x\ninputs: [a, /b]",
            (
                "7:21: jobs.test.steps[0].inputs[1]: '/b' is not a path below the source's root without empty, `.` or "
                "`..` parts"
            ),
        ),
        (
            "run: x\nartifacts: [../b]",
            (
                "7:21: jobs.test.steps[0].artifacts[0]: '../b' is not a path below the source's "
                "root without empty, `.` or "
                "`..` parts"
            ),
        ),
        (
            "run: x\nreports: {junit: ['a[']}",
            "7:27: jobs.test.steps[0].reports.junit[0]: 'a[' has a `[` without its `]`; write `\\[` for the letter",
        ),
        ("run: x\ninputs: [a, b, a]", "7:17: jobs.test.steps[0].inputs: 'a' is there twice"),
        ("run: x\ncaches: [/a, /a/]", "7:17: jobs.test.steps[0].caches: '/a' is there twice"),
        (
            "run: x\ncaches: [a]",
            "7:18: jobs.test.steps[0].caches[0]: expected an absolute path without `..`; found 'a'",
        ),
        (
            "run: x\ncaches: [/a/../b]",
            "7:18: jobs.test.steps[0].caches[0]: expected an absolute path without `..`; found '/a/../b'",
        ),
        (
            "run: x\ncaches: [//dev/shm]",
            (
                "7:18: jobs.test.steps[0].caches[0]: /dev/shm cannot be a cache; name a directory of your own, such as "
                "/root/.cache"
            ),
        ),
        (
            "run: x\nnetwork: host\nallow: [a:1]",
            ("8:16: jobs.test.steps[0].allow: says what `network: nat` lets through, which this step does not have"),
        ),
        (
            "run: x\nname: a\n- {run: x}\n- {run: y, name: a}",
            "5:5: jobs.test.steps: two steps are called 'a'; the names in a job must differ",
        ),
    ],
)
def test_impossible_step(step: str, message: str) -> None:
    text = one_step(step).replace("        - ", "      - ")
    assert complaint(text) == f"ci-env.yml:{message}"


@pytest.mark.parametrize(
    "cache", ["/", "/.", "//", "/proc", "/proc/self", "/sys/fs", "/dev", "/workspace", "/workspace/"]
)
def test_directories_that_cannot_be_caches(cache: str) -> None:
    assert "cannot be a cache" in complaint(one_step(f"run: x\ncaches: [{cache}]"))


@pytest.mark.parametrize("cache", ["/workspace/node_modules", "/process", "/devel", "/root/.cache"])
def test_directories_that_can_be_caches(cache: str) -> None:
    assert pipeline(one_step(f"run: x\ncaches: [{cache}]")).jobs[0].steps[0].caches == (cache,)


def test_longest_script_and_variable() -> None:
    (step,) = pipeline(one_step(f"run: {'x' * 131071}\nenv: {{A: {'y' * 131069}}}")).jobs[0].steps
    assert (len(step.run), len(step.env["A"])) == (131071, 131069)


def test_variables_cannot_grow_without_bound() -> None:
    names = [f"A{number}" for number in range(30)]
    doubled = [f'{new}: "${{{{ env.{old} }}}}${{{{ env.{old} }}}}"' for old, new in itertools.pairwise(names)]
    text = jobs(a="").replace("image", f"env: {{A0: xxxxxxxx, {', '.join(doubled)}}}\nimage")
    assert "env.A14: with this the text becomes longer than 131071 bytes" in complaint(text)


def test_variable_of_the_file_that_fits_one_job_only() -> None:
    text = (
        jobs(a="", b="")
        .replace("image", 'env: {P: "${{ matrix.p }}"}\nimage')
        .replace("needs: []", "matrix: {p: [1]}", 1)
    )
    message = "unknown expression `${{ matrix.p }}`; the job `b` has no such key in its `matrix`"
    assert complaint(text) == f"ci-env.yml:2:11: env.P: {message}"

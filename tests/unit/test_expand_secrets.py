"""`secrets` and `secret_env` of a job: what its steps get, and what is said where that is impossible."""

from __future__ import annotations

import pytest

from ci_env.pipeline.model import Secret
from tests.pipeline_text import complaint, pipeline


def job(secrets: str, steps: str = "[{run: x}]", more: str = "") -> str:
    return f"version: 1\nimage: debian:12\njobs:\n  test:\n    secrets: {secrets}\n    {more}\n    steps: {steps}\n"


def test_files_and_variables() -> None:
    (found,) = pipeline(job("[KEY, TOKEN]", more="secret_env: {API_TOKEN: TOKEN, TOKEN: TOKEN}")).jobs
    assert found.secrets == (Secret("KEY"), Secret("TOKEN", ("API_TOKEN", "TOKEN")))


def test_every_leg_has_them() -> None:
    legs = pipeline(job("[KEY]", more="matrix: {a: [1, 2]}")).jobs
    assert [leg.secrets for leg in legs] == [(Secret("KEY"),)] * 2


@pytest.mark.parametrize("more", ["", "matrix: {a: [1, 2]}"])
def test_a_name_is_there_once(more: str) -> None:
    assert complaint(job("[A, B, A]", more=more)) == "ci-env.yml:5:5: jobs.test.secrets: 'A' is there twice"


def test_a_variable_holds_a_secret_of_the_job() -> None:
    text = job("[PYPI_TOKEN]", more="secret_env: {TWINE_PASSWORD: PYPI_TOKN}")
    message = "`secrets` has no 'PYPI_TOKN'; did you mean `PYPI_TOKEN`?"
    assert complaint(text) == f"ci-env.yml:6:34: jobs.test.secret_env.TWINE_PASSWORD: {message}"


def test_secret_env_alone() -> None:
    text = job("[]", more="secret_env: {A: B}")
    assert complaint(text) == "ci-env.yml:6:21: jobs.test.secret_env.A: `secrets` has no 'B'"


@pytest.mark.parametrize(
    ("steps", "more"),
    [("[{run: x, env: {A: '1'}}]", ""), ("[{run: x}]", "env: {A: '1'}\n    ")],
)
def test_a_variable_has_one_value(steps: str, more: str) -> None:
    message = complaint(job("[S]", steps, f"{more}secret_env: {{A: S}}"))
    assert message.endswith("jobs.test.secret_env.A: `env` sets A, too; a variable has one value")


@pytest.mark.parametrize("cache", ["/run/secrets", "/run/secrets/more"])
def test_a_cache_does_not_lie_where_they_do(cache: str) -> None:
    text = job("[S]", f"[{{run: x, caches: [{cache}]}}]")
    message = "they lie in /run/secrets, where a cache of a step is to be, too"
    assert complaint(text) == f"ci-env.yml:5:5: jobs.test.secrets: {message}"


def test_a_cache_there_without_secrets() -> None:
    assert pipeline(job("[]", "[{run: x, caches: [/run/secrets]}]")).jobs[0].secrets == ()


@pytest.mark.parametrize("name", ["a/b", "..", "1x", "a-b", "''", "a b"])
def test_a_name_is_that_of_a_variable(name: str) -> None:
    assert "jobs.test.secrets[0]" in complaint(job(f"[{name}]"))

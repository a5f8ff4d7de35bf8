"""A job for a Python project."""

from __future__ import annotations

import re

from ci_env.cli.starter.project import Project, table
from ci_env.cli.starter.recipe import Job, Step

_REQUIREMENTS = ("requirements.txt", "requirements-dev.txt", "requirements-test.txt", "dev-requirements.txt")
_CONFIGURATION = ("pyproject.toml", "setup.cfg", "setup.py", "tox.ini")
_EXTRAS = ("test", "tests", "dev")
_REFERS_TO_FILES = re.compile(r"^\s*(-r|-c|-e|--requirement|--constraint|--editable|\.|file:)", re.MULTILINE)
_CACHE = ("/root/.cache/pip",)


def python_job(project: Project) -> Job | None:
    """Return the job; None where there is no Python project."""
    if not project.has("pyproject.toml", "setup.py", "setup.cfg", *_REQUIREMENTS):
        return None
    version = re.match(r"3\.[0-9]+", project.text(".python-version").strip())
    image = f"python:{version[0] if version else '3.13'}-slim"
    steps = (_requirements(project), _install(project), _test(project))
    return Job("python", image, tuple(step for step in steps if step))


def _requirements(project: Project) -> Step | None:
    files = project.present(*_REQUIREMENTS)
    missing = ["pytest"] if _uses_pytest(project) and not _mentions_pytest(project, files) else []
    if not files and (_is_installable(project) or not missing):
        return None
    command = " ".join(["pip install", *(f"-r {file}" for file in files), *missing])
    if any(_REFERS_TO_FILES.search(project.text(file)) for file in files):
        return Step("deps", command, downloads=True, caches=_CACHE)
    comment = "Sees only these files, so it stays cached until one of them changes."
    return Step("deps", command, comment, downloads=True, inputs=files, caches=_CACHE)


def _install(project: Project) -> Step | None:
    if not _is_installable(project):
        return None
    settings = project.toml("pyproject.toml")
    extras = table(table(settings.get("project")).get("optional-dependencies"))
    extra = next((f"[{name}]" for name in _EXTRAS if name in extras), "")
    groups = table(settings.get("dependency-groups"))
    group = next((f"--group {name}" for name in _EXTRAS if name in groups), "")
    pytest = "pytest" if _uses_pytest(project) and not project.present(*_REQUIREMENTS) else ""
    command = " ".join(filter(None, ("pip install --editable", f"'.{extra}'" if extra else ".", group, pytest)))
    comment = "Sees the whole project, so it runs after every change; the cache spares the downloads."
    return Step("install", command, comment, downloads=True, caches=_CACHE)


def _test(project: Project) -> Step:
    if _uses_pytest(project):
        return Step("test", "python -m pytest --junitxml=report.xml", junit=("report.xml",))
    for directory in project.present("tests", "test"):
        return Step("test", f"python -m unittest discover --verbose {directory}")
    return Step("compile", "python -m compileall -q .", "There are no tests yet; at least the syntax is checked.")


def _is_installable(project: Project) -> bool:
    settings = project.toml("pyproject.toml")
    return project.has("setup.py", "setup.cfg") or "project" in settings or "build-system" in settings


def _uses_pytest(project: Project) -> bool:
    if project.has("pytest.ini", "conftest.py", "tests/conftest.py", "test/conftest.py"):
        return True
    return _mentions_pytest(project, (*_CONFIGURATION, *_REQUIREMENTS))


def _mentions_pytest(project: Project, files: tuple[str, ...]) -> bool:
    return any(re.search(r"\bpytest\b", project.text(file)) for file in files)

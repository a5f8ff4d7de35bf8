"""The shape of the code: the import contracts hold and catch what breaks them, pure modules are pure, help is light."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installed import REPOSITORY, build_wheel

SETTINGS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]
CONTRACTS = {contract["id"]: contract for contract in SETTINGS["importlinter"]["contracts"]}
FOLDERS = {
    "ci_env": ".",
    "ci_env_runners": "runners",
    "ci_env_github": "plugins/github",
    "ci_env_gitlab": "plugins/gitlab",
}
HEAVY = {"git", "pydantic", "pyroute2", "rich", "subprocess", "urllib3", "yaml"}
IMPURE_CALLS = {"__import__", "eval", "exec", "input", "open", "print"}

# contract, module, the import that breaks it
VIOLATIONS = (
    ("layers", "ci_env.digest", "ci_env.plan.plan"),
    ("nameless", "ci_env.workspace", "ci_env_runners"),
    ("strangers", "ci_env_github", "ci_env_gitlab"),
    ("data-only", "ci_env_gitlab", "ci_env.source"),
    ("pure", "ci_env.plan.plan", "time"),
    ("after-the-plan", "ci_env.replay", "ci_env.oci.registry"),
    ("inside", "ci_env_runners.child", "ci_env.errors"),
    ("one-door", "ci_env_runners", "ctypes"),
    ("one-door", "ci_env.worktree", "git"),
    ("one-door", "ci_env_runners", "pyroute2"),
    ("one-door", "ci_env.cli", "rich"),
    ("one-door", "ci_env.oci.pull", "urllib3"),
)


def module_file(root: Path, module: str) -> Path:
    path = root / FOLDERS[module.partition(".")[0]] / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def lint(root: Path) -> str:
    """Return what import-linter says of the project at `root`."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(str(root / folder) for folder in FOLDERS.values())},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def test_contracts_hold() -> None:
    report = lint(REPOSITORY)
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in report, report


@pytest.fixture(scope="module")
def broken_report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give what import-linter says of a copy of the project with all violations in it."""
    copy = tmp_path_factory.mktemp("architecture")
    shutil.copy(REPOSITORY / "pyproject.toml", copy)
    for package, folder in FOLDERS.items():
        shutil.copytree(REPOSITORY / folder / package, copy / folder / package)
    for _, module, imported in VIOLATIONS:
        with module_file(copy, module).open("a") as file:
            file.write(f"\nimport {imported}\n")
    return lint(copy)


@pytest.mark.parametrize(("contract", "module", "imported"), VIOLATIONS)
def test_violation_is_caught(broken_report: str, contract: str, module: str, imported: str) -> None:
    name = CONTRACTS[contract]["name"]
    assert f"{name} BROKEN" in broken_report
    details = broken_report.partition("Broken contracts")[2].partition(f"\n{name}\n")[2].partition("\n---")[0]
    assert f"{module} -> {imported}" in details


def test_every_contract_has_a_violation() -> None:
    assert {contract for contract, _, _ in VIOLATIONS} == CONTRACTS.keys()


def pure_files() -> Iterator[Path]:
    for module in CONTRACTS["pure"]["source_modules"]:
        file = module_file(REPOSITORY, module)
        yield from file.parent.rglob("*.py") if file.name == "__init__.py" else [file]


@pytest.mark.parametrize("file", sorted(pure_files()), ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_pure_module_calls_nothing_impure(file: Path) -> None:
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & IMPURE_CALLS


def test_runners_package_imports_nothing() -> None:
    """The child imports its modules one by one; whatever the package did first would run inside every sandbox."""
    assert module_file(REPOSITORY, "ci_env_runners").read_text() == ""


def test_wheel_holds_the_four_packages_and_nothing_else(tmp_path: Path) -> None:
    names = zipfile.ZipFile(build_wheel(tmp_path / "wheel")).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == FOLDERS.keys()
    assert {f"{package}/py.typed" for package in FOLDERS} <= set(names)
    modules = {
        f"{package}/{file.relative_to(REPOSITORY / folder / package)}"
        for package, folder in FOLDERS.items()
        for file in (REPOSITORY / folder / package).rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == modules


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_imports_nothing_heavy(argument: str) -> None:
    program = "import sys; from ci_env.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program, argument],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
    assert done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "ci_env.cli.main" in imported
    assert not imported & HEAVY

"""What every test run shares: what this host can do, the order, skips that may not hide, and the unit tests' limits."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.base_image import base_image
from tests.installed import Installed, install
from tests.real_registry import RealRegistry, real_registry
from tests.shared_directory import SHARED, new_shared_directory

MUST_RUN = os.environ.get("CI_ENV_MUST_RUN") == "1"
ORDER = ("unit", "property", "golden", "kernel", "corpus", "e2e")
LIMITED = ("unit", "property", "golden")
HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    if SHARED in os.environ:
        return  # a worker, or a run inside a run: the outer one made it and removes it
    shared = new_shared_directory()
    os.environ[SHARED] = str(shared)
    config.add_cleanup(lambda: shutil.rmtree(shared))
    config.add_cleanup(lambda: os.environ.__delitem__(SHARED))


def pytest_report_header() -> list[str]:
    """Say what this host can do, so that a log shows what a green run has tried."""
    try:
        from ci_env_runners.probe import abilities
    except ImportError:
        return []

    lines = [f"host: {ability.name}: {ability.state} ({ability.detail})" for ability in abilities()]
    return [f"host: root={os.geteuid() == 0}, must run={MUST_RUN}", *lines]


def kind(item: pytest.Item) -> str:
    """Return the folder of tests/ that the test is in."""
    return item.path.relative_to(HERE).parts[0]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put fast tests first, and leave out what needs root where there is none.

    Of one kind those come first that may take minutes, so that no worker is left alone with one at the end.
    """
    items.sort(key=lambda item: (ORDER.index(kind(item)), -_limit(item)))
    if os.geteuid() == 0 or MUST_RUN:
        return
    left_out = [item for item in items if item.get_closest_marker("root")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _limit(item: pytest.Item) -> float:
    """Return the seconds that the test may take, if it says so."""
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if MUST_RUN:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI_ENV_MUST_RUN=1 forbids: {report.longrepr}"


@pytest.fixture(autouse=True)
def _limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's settings out of every test; give unit tests no network and no home to write to."""
    for name in [name for name in os.environ if name.startswith(("XDG_", "CI_ENV_HOME"))]:
        monkeypatch.delenv(name)
    if kind(request.node) not in LIMITED:
        return
    monkeypatch.setenv("HOME", "/proc/no-home")  # not even root can make it
    monkeypatch.setattr(socket, "socket", _LocalSocket)


class _LocalSocket(socket.socket):
    """A socket that only AF_UNIX gives."""

    def __init__(self, family: int = -1, *arguments: int, **options: int) -> None:
        assert family == socket.AF_UNIX, "a unit test asked for the network"
        super().__init__(family, *arguments, **options)


@pytest.fixture(scope="session")
def shared() -> Path:
    """A world-readable directory that all workers of this test run share; removed at its end."""
    return Path(os.environ[SHARED])


@pytest.fixture(scope="session")
def installed(shared: Path) -> Installed:
    """Give this project, built as a wheel and installed where every user can run it."""
    return install(shared)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Generator[RealRegistry]:
    """Give Debian's docker-registry, on a free port of 127.0.0.1, ended with the session."""
    with real_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def debian_image(registry: RealRegistry) -> str:
    """Give the reference of a Debian image with a C compiler, make, Python and git, in the registry."""
    return registry.push(base_image(), "debian-ci:latest")

"""The context of a build: what of it a COPY takes, and what tells one layer of it from another."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from ci_env.errors import ConfigError
from ci_env.events import Event, Note
from ci_env.plan.plan import FIXED_EPOCH, SourceLayer
from ci_env.resolve.context import Context
from ci_env.store.layers import Layers
from tests.deep_directory import deep
from tests.stored_images import new_images

AT = "Dockerfile:3"


class Without:
    """Leaves out some paths, and all below them."""

    def __init__(self, *paths: str, but: str = "") -> None:
        self._paths = paths
        self._but = but

    def is_ignored(self, path: str, /) -> bool:
        return path != self._but and any(path == out or path.startswith(f"{out}/") for out in self._paths)

    @property
    def has_exceptions(self) -> bool:
        return bool(self._but)


@pytest.fixture
def layers(tmp_path: Path) -> Generator[Layers]:
    with new_images(tmp_path / "store") as images:
        yield images.layers


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    for name in ("app/main.py", "app/sub/deep.txt", "other/x", "README", "build/out"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "empty").mkdir()
    (root / "current").symlink_to("app/sub")
    (root / "dangling").symlink_to("nowhere")
    return root


@pytest.fixture
def context(root: Path, layers: Layers) -> Callable[..., Context]:
    def give(ignoring: Without | None = None, emit: Callable[[Event], None] = lambda _: None) -> Context:
        return Context(root, ignoring, layers, emit, left_out=root / "store")

    return give


def laid(context: Context, layers: Layers, *sources: str) -> dict[str, Path]:
    """Return what the layer of `sources` holds, by path."""
    layer = context.choose(sources, at=AT)
    context.have(layer)
    top = layers.directory(layer.layer) / "root"
    return {str(path.relative_to(top)): path for path in top.rglob("*")}


def test_a_file_with_its_directories(context: Callable[..., Context], layers: Layers) -> None:
    found = laid(context(), layers, "app/main.py")
    assert sorted(found) == ["app", "app/main.py"]
    assert found["app/main.py"].read_text() == "app/main.py"


def test_a_directory_with_all_below(context: Callable[..., Context], layers: Layers) -> None:
    assert sorted(laid(context(), layers, "app/")) == ["app", "app/main.py", "app/sub", "app/sub/deep.txt"]


def test_everything(context: Callable[..., Context], layers: Layers) -> None:
    found = laid(context(), layers, ".")
    assert {"empty", "current", "dangling", "README", "other/x"} <= found.keys()


def test_links_on_the_way_and_what_they_lead_to(context: Callable[..., Context], layers: Layers) -> None:
    found = laid(context(), layers, "current/deep.txt")
    assert sorted(found) == ["app", "app/sub", "app/sub/deep.txt", "current"]


def test_wildcards(context: Callable[..., Context], layers: Layers) -> None:
    assert sorted(laid(context(), layers, "*/*.py", "none*")) == ["app", "app/main.py"]


def test_modes_are_kept_and_times_are_fixed(root: Path, context: Callable[..., Context], layers: Layers) -> None:
    (root / "app/main.py").chmod(0o4751)
    (root / "app/sub").chmod(0o500)
    found = laid(context(), layers, "app")
    assert found["app/main.py"].stat().st_mode & 0o7777 == 0o4751
    assert found["app/sub"].stat().st_mode & 0o7777 == 0o500
    assert {int(path.lstat().st_mtime) for path in found.values()} == {FIXED_EPOCH}


@pytest.mark.parametrize("source", ["absent", "README/below", "dangling", "build", "build/out", "absent/*"])
def test_absent(context: Callable[..., Context], source: str) -> None:
    with pytest.raises(ConfigError, match=rf"{AT}: there is no .*{source.strip('*')}"):
        context(Without("build")).choose([source], at=AT)


def test_parents_do_not_lead_out(context: Callable[..., Context], layers: Layers) -> None:
    assert sorted(laid(context(), layers, "../README", "/../../README")) == ["README"]


def test_what_is_ignored_is_not_there(context: Callable[..., Context], layers: Layers) -> None:
    assert not {"build", "build/out"} & laid(context(Without("build")), layers, ".").keys()


def test_what_is_not_ignored_after_all_has_its_directory(context: Callable[..., Context], layers: Layers) -> None:
    found = laid(context(Without("app", but="app/sub/deep.txt")), layers, "app")
    assert sorted(found) == ["app", "app/sub", "app/sub/deep.txt"]


def test_no_other_file_counts(root: Path, context: Callable[..., Context]) -> None:
    def layer(source: str) -> SourceLayer:
        return context().choose([source], at=AT)

    app, readme = layer("app"), layer("README")
    (root / "README").write_text("changed")
    (root / "app/main.py").touch()
    assert layer("app") == app
    assert layer("README") != readme


@pytest.mark.parametrize("change", ["content", "mode", "name", "kind", "directory"])
def test_what_counts(root: Path, context: Callable[..., Context], change: str) -> None:
    before = context().choose(["app"], at=AT)
    path = root / "app/main.py"
    if change == "content":
        path.write_text("other")
    elif change == "mode":
        path.chmod(0o600)
    elif change == "name":
        path.rename(root / "app/other.py")
    elif change == "kind":
        content = path.read_text()
        path.unlink()
        path.symlink_to(content)
    else:
        (root / "app/new").mkdir()
    assert context().choose(["app"], at=AT) != before


def test_a_change_after_choosing(root: Path, context: Callable[..., Context]) -> None:
    chosen = context()
    layer = chosen.choose(["README"], at=AT)
    (root / "README").write_text("changed since")
    with pytest.raises(ConfigError, match="README changed while"):
        chosen.have(layer)


@pytest.mark.parametrize("moment", ["chosen", "laid"])
def test_a_directory_that_became_a_link_leads_nowhere(
    root: Path, context: Callable[..., Context], moment: str, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/main.py").write_text("app/main.py")
    found = context()
    layer = found.choose(["app/main.py"], at=AT) if moment == "laid" else None
    (root / "app").rename(root / "moved")
    (root / "app").symlink_to("../outside")
    with pytest.raises(ConfigError, match=r"app/main\.py changed while"):
        found.choose(["app/main.py"], at=AT) if layer is None else found.have(layer)


def test_directories_too_deep_count_only_where_they_are_named(root: Path, context: Callable[..., Context]) -> None:
    with deep(root / "other", 1000):
        found = context()
        assert found.choose(["app"], at=AT)
        with pytest.raises(ConfigError, match="File name too long"):
            found.choose(["other"], at=AT)


def test_sockets_and_pipes_are_told_of(root: Path, context: Callable[..., Context], layers: Layers) -> None:
    os.mkfifo(root / "app/pipe")
    events: list[Event] = []
    assert "app/pipe" not in laid(context(emit=events.append), layers, "app")
    assert [event for event in events if isinstance(event, Note) and "app/pipe" in event.message]


def test_the_store_is_not_part_of_it(
    root: Path, context: Callable[..., Context], layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "store").mkdir()
    (root / "store/blob").write_text("x")
    monkeypatch.chdir(root)
    here = Context(Path(), None, layers, lambda _: None, left_out=root / "store")
    assert here.choose(["."], at=AT).layer == context().choose(["."], at=AT).layer
    assert "store" not in laid(here, layers, ".")


def test_loops_end(root: Path, context: Callable[..., Context]) -> None:
    (root / "loop").symlink_to("loop")
    with pytest.raises(ConfigError, match="loop"):
        context().choose(["loop"], at=AT)

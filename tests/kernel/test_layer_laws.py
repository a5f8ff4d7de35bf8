"""Law of layers: an overlay of any layers shows what applying their changes to a plain tree, one by one, gives."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.layer_stack import Stack
from tests.oci_builder import Item, d, f, opaque, wh

_PATHS = ["a", "b", "a/a", "a/b", "b/a", "a/a/a", "a/a/b", "a/b/a", "b/a/b"]


@dataclass(frozen=True)
class Change:
    kind: str
    path: str
    content: str

    def item(self) -> Item:
        if self.kind == "file":
            return f(self.path, self.content)
        if self.kind == "directory":
            return d(self.path, mode=0o700 + len(self.content))
        return wh(self.path) if self.kind == "whiteout" else opaque(self.path)


_changes = st.builds(
    Change,
    st.sampled_from(["file", "file", "directory", "whiteout", "opaque"]),
    st.sampled_from(_PATHS),
    st.text("xyz", max_size=3),
)
_layers = st.lists(st.lists(_changes, max_size=7), min_size=1, max_size=4)

_FILE = Change("file", "a/a/a", "x")

Tree = dict[str, str]
"""path to content; directories have their mode, in front of a slash"""


def flattened(layers: Sequence[Sequence[Change]]) -> Tree:
    """Apply each layer to a plain tree: first what it removes of the layers below, then what it adds."""
    tree: Tree = {}
    for layer in layers:
        for change in layer:
            if change.kind == "whiteout":
                remove(tree, change.path)
            elif change.kind == "opaque":
                for path in [path for path in tree if path.startswith(change.path + "/")]:
                    del tree[path]
        for change in layer:
            if change.kind in ("file", "directory"):
                add(tree, change)
    return tree


def remove(tree: Tree, path: str) -> None:
    for known in [known for known in tree if known == path or known.startswith(path + "/")]:
        del tree[known]


def add(tree: Tree, change: Change) -> None:
    parts = change.path.split("/")
    for end in range(1, len(parts)):
        parent = "/".join(parts[:end])
        if not tree.get(parent, "").endswith("/"):
            remove(tree, parent)
            tree[parent] = "755/"
    if change.kind == "file" or not tree.get(change.path, "").endswith("/"):
        remove(tree, change.path)
    tree[change.path] = change.content if change.kind == "file" else f"{700 + len(change.content)}/"


def shown(stack: Stack) -> Tree:
    view = stack.view()
    del view["."]
    return {path: f"{node.mode:o}/" if node.kind == "d" else node.content for path, node in view.items()}


def is_order_free(layer: Sequence[Change]) -> bool:
    """Tell whether the spec says what `layer` means: no path twice, nothing of its own replaced or used as a parent.

    A whiteout that comes after an implied parent of its own layer is left out as well, and an opaque mark that comes
    after one below it: the parent's mode is then that of a directory which the layer also hides, and the spec is silent
    (cases W2 and W3 say what is done).
    """
    paths = [change.path for change in layer]
    files = {change.path for change in layer if change.kind == "file"}
    hidden = {change.path for change in layer if change.kind == "whiteout"}
    implied = implied_parents(layer)
    is_emptied = any(
        parent.startswith(f"{change.path}/")
        for place, change in enumerate(layer)
        if change.kind == "opaque"
        for parent in implied_parents(layer[:place])
    )
    return len(set(paths)) == len(paths) and not files & implied and not hidden & implied and not is_emptied


def implied_parents(changes: Sequence[Change]) -> set[str]:
    added = [change.path for change in changes if change.kind in ("file", "directory")]
    return {path[:at] for path in added for at in range(len(path)) if path[at] == "/"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(_layers)
@example([[_FILE], [Change("whiteout", "a/a", ""), Change("whiteout", "a", "")]])
@example([[_FILE], [Change("whiteout", "a/a", ""), Change("opaque", "a", "")]])
@example([[_FILE], [Change("whiteout", "a/a/a", ""), Change("opaque", "a/a", ""), Change("whiteout", "a", "")]])
@example([[Change("directory", "a/a", "")], [_FILE, Change("opaque", "a", "")]])
@example([[Change("directory", "a/a", "")], [Change("opaque", "a", ""), _FILE]])
def test_overlay_of_layers_is_the_flattened_tree(layers: list[list[Change]]) -> None:
    layers = [layer if is_order_free(layer) else layer[:1] for layer in layers]
    with tempfile.TemporaryDirectory() as directory:
        stack = Stack(Path(directory), *[[change.item() for change in layer] for layer in layers])
        assert shown(stack) == flattened(layers)
        assert os.listdir(directory)

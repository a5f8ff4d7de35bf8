"""Events for commands without a view: notes go to stderr, all else is nobody's business."""

from __future__ import annotations

import sys

from ci_env.events import Event, Note


def tell(event: Event) -> None:
    """Write a note for people."""
    if isinstance(event, Note):
        from ci_env.ui.clean import clean

        sys.stderr.write(f"{'warning: ' if event.level == 'warning' else ''}{clean(event.message)}\n")

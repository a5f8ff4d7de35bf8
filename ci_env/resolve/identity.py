"""What an image in a registry is now, by digest, without bringing it. For the lockfile."""

from __future__ import annotations

import os

from ci_env.events import Emit
from ci_env.oci.platform import Platform
from ci_env.oci.pull import Identity
from ci_env.oci.pull import identify as identify_source
from ci_env.oci.reference import parse
from ci_env.oci.registries import Registries
from ci_env.resolve.images import told_where


def identify(text: str, platform: Platform, *, at: str, emit: Emit) -> Identity:
    """Return what `text` means now. Raises as a pull; errors say that it was asked for `at` this place."""
    with told_where(text, at), Registries(os.environ, emit).image(parse(text)) as source:
        return identify_source(source, platform)

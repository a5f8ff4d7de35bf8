"""The platform of the machine that this process runs on."""

from __future__ import annotations

import os

from ci_env.oci.platform import Platform, of_machine


def this_machine() -> Platform:
    """Return it; what images are for unless somebody says otherwise."""
    return of_machine(os.uname().machine)

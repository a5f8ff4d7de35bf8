"""Whose the files of a store's layers are: of many ids, or all of one. A store is of one kind for good.

With one id, unpacking gives every file to it and a step's `chown` is only answered. Results of both kinds have the same
keys, so they must not meet in one store: what passed with one id would be found, and be wrong, once there are many.
"""

from __future__ import annotations

from pathlib import Path

from ci_env.errors import HostError
from ci_env.files import explained

_FILE = "owners"
_WORDS = {"single": "without subordinate ids", "mapped": "with subordinate ids, or by root"}


def check_owners(store: Path, mode: str) -> None:
    """Note what kind of store this is; HostError where it is of the other kind."""
    kind = "single" if mode == "single" else "mapped"
    path = store / _FILE
    with explained("read", path):
        try:
            with open(path, "x") as file:
                file.write(kind)
            return
        except FileExistsError:
            found = path.read_text()
    if found and found != kind:
        message = f"the layers in {store} were made {_WORDS.get(found, found)}, and now there are other ids"
        raise HostError(message, hint=f"remove the store (rm -r {store}), or point CI_ENV_HOME at another directory")

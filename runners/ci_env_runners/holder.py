"""Holds a network namespace that several sandboxes are in, and acts in it for the caller.

Runs as root of the run's ids. Tells over its control first that it is there, with a descriptor of the namespace;
then answers one order after another, each a JSON object, with a line of JSON. Ends with its control, and with the
launcher. Standard library only.
"""

from __future__ import annotations

import array
import json
import os
import socket
from typing import NoReturn, cast

from ci_env_runners import syscalls
from ci_env_runners.control import receive, tell
from ci_env_runners.loopback import accepts, bring_up_loopback

NAME = b"ci-env-network"


def hold(control: socket.socket) -> NoReturn:
    """Make the namespace and serve until nobody asks any more. The process that calls has been forked for it."""
    try:
        syscalls.set_name(NAME)
        syscalls.unshare(syscalls.CLONE_NEWNET)
        bring_up_loopback()
        namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        control.sendmsg([b"{}\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [namespace]))])
        while True:
            tell(control, _obey(json.loads(receive(control))))
    except OSError as error:
        tell(control, {"failed": "make a network namespace", "errno": error.errno or 0, "kind": "namespace"})
    finally:
        os._exit(0)


def _obey(order: dict[str, object]) -> dict[str, object]:
    return {"connected": accepts(cast("int", order["connect"]))}

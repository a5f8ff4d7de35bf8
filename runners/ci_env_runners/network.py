"""Networks that several sandboxes are in, as their caller sees them. Implements ports.SharedNetwork.

What is done inside a network namespace is done by the process that holds it (holder.py).
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

from ci_env.errors import HostError
from ci_env.frozen import dataclass
from ci_env_runners.control import message
from ci_env_runners.loopback import accepts

if TYPE_CHECKING:
    from ci_env.ports import SharedNetwork
    from ci_env_runners.launch import Launcher

_LINE = 4096
_ENDED = "the network of a job has ended"
_ENDED_HINT = "see the kernel's log for why (out of memory?), and run again"


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """The machine's own."""

    def can_connect(self, port: int) -> bool:
        return accepts(port)


class HeldNetwork:
    """A network namespace, `namespace` a descriptor of it."""

    def __init__(self, control: socket.socket) -> None:
        """Take it over from its holder, which `control` leads to."""
        self._control = control
        self._answers = control.makefile("rb")
        self._lock = threading.Lock()
        said, descriptors, _, _ = socket.recv_fds(control, _LINE, 1, socket.MSG_CMSG_CLOEXEC)
        if not descriptors:
            raise _failure(said)
        self.namespace = descriptors[0]

    def can_connect(self, port: int) -> bool:
        return bool(self.order({"connect": port})["connected"])

    def order(self, order: Mapping[str, object]) -> Mapping[str, object]:
        """Have the holder do something, and return its answer. HostError where it is gone, or could not."""
        with self._lock:
            try:
                self._control.sendall(message(json.dumps(order).encode()))
                line = self._answers.readline()
            except (OSError, ValueError) as error:  # closed, by either side
                raise HostError(_ENDED, hint=_ENDED_HINT) from error
        answer = cast("dict[str, object]", json.loads(line or b"{}"))
        if not answer or "failed" in answer:
            raise _failure(line)
        return answer

    def close(self) -> None:
        """End the holder, and wait until it has ended."""
        os.close(self.namespace)
        with suppress(OSError), self._lock:
            self._control.shutdown(socket.SHUT_WR)
            while self._answers.readline():
                pass
        self._answers.close()
        self._control.close()


@contextmanager
def held(launcher: Launcher) -> Generator[HeldNetwork]:
    """Give a network namespace with loopback only."""
    with launcher.network() as control:
        network = HeldNetwork(control)
        try:
            yield network
        finally:
            network.close()


def namespace_of(network: SharedNetwork | None) -> int | None:
    """Return the descriptor of a network that this runner has given; None: there is nothing to join."""
    return network.namespace if isinstance(network, HeldNetwork) else None


def _failure(said: bytes) -> Exception:
    from ci_env_runners.ending import failure

    if not said.strip():
        return HostError(_ENDED, hint=_ENDED_HINT)
    return failure(json.loads(said), "")

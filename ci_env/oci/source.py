"""Where images come from: the port that registries and layouts implement, and pull.py uses."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from ci_env.oci.document import Descriptor
from ci_env.oci.verify import Reader


class ImageSource(Protocol):
    """One named image. Nothing it gives needs to be trusted: whoever asks compares it with the descriptor."""

    def root(self) -> bytes:
        """Return the index or manifest that the name stands for. RegistryError or ConfigError if there is none."""
        ...

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return the index or manifest that `descriptor` names; at most 4 MiB and one byte."""
        ...

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Reader]:
        """Open a config or layer, as stored."""
        ...

    def worth_retrying(self) -> bool:
        """Tell whether content that is wrong now may be right at a second attempt."""
        ...

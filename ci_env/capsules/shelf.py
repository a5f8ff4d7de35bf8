"""What of the store capsules are made of, and brought into. Owns nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ci_env.events import Emit
from ci_env.frozen import dataclass
from ci_env.oci.unpacking import AsOwner
from ci_env.store.blobs import Blobs
from ci_env.store.images import Images
from ci_env.store.layers import Layers


@dataclass(frozen=True, slots=True)
class Shelf:
    layers: Layers
    blobs: Blobs
    images: Images
    as_owner: AsOwner
    is_owner_mapped: Callable[[], bool]
    scratch: Path
    """of this command alone"""
    emit: Emit

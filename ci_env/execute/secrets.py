"""The values of a run's secrets, in memory only: for the steps that may have them, and for what nobody may read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ci_env.pipeline.model import Secret
from ci_env.ports import GivenSecret

if TYPE_CHECKING:
    from ci_env.mask import Mask


class Secrets:
    """Values by name. Never written, never shown: not by its repr either."""

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self._values = dict(values)
        self.mask = _mask(self._values)
        """of all values, whatever step may have them: one step may hand them to another; None: there are none"""

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._values)})"

    def give(self, wanted: Iterable[Secret]) -> tuple[GivenSecret, ...]:
        """Return those that a step wants, with their values; one that has none here is left out."""
        known = (secret for secret in wanted if secret.name in self._values)
        return tuple(GivenSecret(secret.name, self._values[secret.name], secret.variables) for secret in known)

    def lacking(self, wanted: Iterable[Secret]) -> tuple[str, ...]:
        """Return the names of those that have no value here."""
        return tuple(secret.name for secret in wanted if secret.name not in self._values)

    def values(self) -> tuple[bytes, ...]:
        """Return the values alone, for who hides them."""
        return tuple(self._values.values())

    def hidden_in(self, text: str) -> str:
        """Return `text` with stars in place of values."""
        return text if self.mask is None else self.mask.apply_to_text(text)


def _mask(values: Mapping[str, bytes]) -> Mask | None:
    if not values:
        return None
    from ci_env.mask import Mask

    return Mask(values.values())


NO_SECRETS = Secrets({})

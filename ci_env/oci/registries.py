"""The registries that a run asks, and what their images have in common: logins, and what was shown already."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from ci_env.events import Emit
from ci_env.oci.authorized import Authorized
from ci_env.oci.certificates import CERTIFICATES
from ci_env.oci.credential_search import CredentialSearch
from ci_env.oci.logins import Logins
from ci_env.oci.push import RegistryTarget
from ci_env.oci.reference import Reference
from ci_env.oci.registry import RegistrySource
from ci_env.oci.repository import Repository
from ci_env.oci.server_warnings import ServerWarnings
from ci_env.oci.transport import Transport


class Registries:
    """Opens images of registries. One for each run; holds no connection itself.

    `environment` is where credentials are looked for, `certificates` a directory like docker's certs.d.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        emit: Emit,
        *,
        certificates: Path = CERTIFICATES,
        pause: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._certificates = certificates
        self._pause = pause
        self._now = now
        self._logins = Logins(CredentialSearch(environment, emit).find, now=now)
        self._warnings = ServerWarnings(emit)
        self._emit = emit

    @contextmanager
    def image(self, reference: Reference) -> Generator[RegistrySource]:
        """Open an image; connections last as long as the block."""
        with Transport(pause=self._pause, now=self._now, certificates=self._certificates) as transport:
            yield RegistrySource(reference, transport, self._logins, self._warnings)

    @contextmanager
    def target(self, reference: Reference, spool: Path, *, source: Reference | None) -> Generator[RegistryTarget]:
        """Open a tag to push to. `source`: where the image was pulled from; `spool`: a directory for its blobs."""
        with Transport(pause=self._pause, now=self._now, certificates=self._certificates) as transport:
            authorized = Authorized(reference, transport, self._logins, self._warnings)
            repository = Repository(reference, authorized)
            target = RegistryTarget(repository, reference.tag or "latest", spool, self._emit, source=source)
            with closing(target):
                yield target

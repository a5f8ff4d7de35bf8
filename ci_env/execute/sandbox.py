"""A step of a plan as a sandbox: its process, the layers that it sees, its caches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ci_env.digest import Digest
from ci_env.execute.secrets import NO_SECRETS, Secrets
from ci_env.frozen import dataclass
from ci_env.plan.plan import UMASK, Cache, Image, Job, Plan, Service, Step
from ci_env.ports import Bind, Machine, Process, Rootfs, Sandbox, SharedNetwork
from ci_env.store.caches import Caches
from ci_env.store.layers import Layers


@dataclass(frozen=True, slots=True)
class Furnisher:
    """Makes sandboxes for the steps of a plan."""

    plan: Plan
    layers: Layers
    caches: Caches
    secrets: Secrets = NO_SECRETS
    machine: Machine | None = None
    """that the processes are to find; None: this one"""

    def furnish(
        self,
        job: Job,
        step: Step,
        seen: Sequence[Digest],
        staging: Path,
        *,
        timeout_s: int | None,
        keeps_caches: bool = True,
        network: SharedNetwork | None = None,
    ) -> Sandbox:
        """Return the sandbox in which `step` sees the layers `seen` and writes to the new layer directory `staging`.

        What it writes to its caches is kept for later runs, or with `keeps_caches` false goes the way of `staging`.
        `network` is the one that it shares with the job's services.
        """
        rootfs = self._rootfs(job.image, seen, staging)
        process = Process(
            argv=step.argv,
            env=step.env,
            user=step.user,
            workdir=step.workdir,
            umask=step.umask,
            hostname=self.plan.hostname,
            network=step.network,
            allow=step.allow,
            timeout_s=timeout_s,
            limits=step.limits,
            secrets=self.secrets.give(step.secrets),
            host_names=_host_names(job),
            machine=self.machine,
        )
        changes = None if keeps_caches else staging.with_name(f"{staging.name}.caches")
        return Sandbox(rootfs, tuple(self._cache(cache, changes) for cache in step.caches), process, network)

    def serve(self, job: Job, service: Service, step: Step, staging: Path, network: SharedNetwork) -> Sandbox:
        """Return the sandbox of a service that is in one network with `step`, and writes to `staging`."""
        process = Process(
            argv=service.argv,
            env=service.env,
            user=service.user,
            workdir=service.workdir,
            umask=UMASK,
            hostname=self.plan.hostname,
            network=step.network,
            timeout_s=None,
            limits=service.limits,
            allow=step.allow,
            host_names=_host_names(job),
            machine=self.machine,
        )
        return Sandbox(self._rootfs(service.image, service.image.layers, staging), (), process, network)

    def _rootfs(self, image: Image, seen: Sequence[Digest], staging: Path) -> Rootfs:
        work = staging.with_name(f"{staging.name}.work")
        work.mkdir()
        lowers = tuple(self.layers.directory(layer) for layer in seen)
        return Rootfs(lowers, host=image.host is not None, upper=staging, work=work)

    def _cache(self, cache: Cache, changes: Path | None) -> Bind:
        directory = self.caches.directory(cache.id)
        return Bind(directory, cache.target, writable=True, changes=changes and changes / cache.id.hex)


def _host_names(job: Job) -> tuple[str, ...]:
    """Return the names by which steps and services find services."""
    return tuple(name for service in job.services for name in (service.name, *service.aliases))

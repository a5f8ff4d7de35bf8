"""`services` of a job, expressions replaced. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ci_env.pipeline import checks, model
from ci_env.pipeline.positions import KeyPath, Positions, Problems, shown
from ci_env.pipeline.reading import CheckReference, Wrong, first_twice, read, read_each, read_image, with_env
from ci_env.pipeline.schema import Ready, Service
from ci_env.pipeline.substitute import Scope


def expand_services(
    services: Mapping[str, Service],
    path: KeyPath,
    scope: Scope,
    check_reference: CheckReference,
    positions: Positions,
) -> tuple[model.Service, ...]:
    """Return the services at `path`; Wrong where one is impossible. `scope` has no variables of `env`."""
    found = tuple(
        _expand(name, service, (*path, name), scope, check_reference, positions) for name, service in services.items()
    )
    names = [name for service in found for name in (service.name, *service.aliases)]
    if len(set(names)) < len(names):
        raise Wrong(path, f"two services have the host name {shown(first_twice(names))}")
    return found


def check_network(steps: Iterable[model.Step], path: KeyPath, problems: Problems) -> None:
    """Note where the steps of a job with services do not all have the network that they share with these."""
    networks = {(step.network, step.allow) for step in steps}
    if len(networks) > 1:
        rule = "the steps of a job with `services` share one network with them, so each must say the same"
        problems.at_key((*path, "services"), f"{rule} `network` and `allow`")


def _expand(
    name: str, service: Service, path: KeyPath, scope: Scope, check_reference: CheckReference, positions: Positions
) -> model.Service:
    def texts(key: str, found: Sequence[str] | None) -> tuple[str, ...] | None:
        if found is None:
            return None
        return tuple(read((*path, key, index), text, scope, checks.argument) for index, text in enumerate(found))

    def one(key: str, text: str, check: Callable[[str], str]) -> str:
        return read((*path, key), text, scope, check)

    try:
        checks.host_name(name)
    except ValueError as error:
        raise Wrong(path, str(error)) from error
    return model.Service(
        name=name,
        image=read_image((*path, "image"), service.image, scope, check_reference),
        entrypoint=texts("entrypoint", service.entrypoint),
        command=texts("command", service.command),
        env=with_env(scope, service.env, (*path, "env")).env,
        user=None if service.user is None else one("user", service.user, checks.user),
        aliases=read_each((*path, "aliases"), service.aliases, scope, checks.host_name),
        ready=_ready(service.ready, (*path, "ready"), scope),
        at=positions.show(positions.of_key(path)),
    )


def _ready(ready: Ready | None, path: KeyPath, scope: Scope) -> model.Ready | None:
    if ready is None:
        return None
    if ready.tcp is None and ready.command is None:
        raise Wrong(path, "says nothing; give it `tcp` or `command`")
    command = None if ready.command is None else read((*path, "command"), ready.command, scope, checks.script)
    return model.Ready(ready.tcp, command, ready.timeout)

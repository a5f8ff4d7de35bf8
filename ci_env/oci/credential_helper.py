"""Runs credential helpers: `docker-credential-NAME get`, the server on stdin, JSON on stdout. Reads no file.

github.com/docker/docker-credential-helpers, README.md, "Development". A helper gets the caller's whole environment:
those of clouds and keychains need what only they know of it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from typing import cast

from ci_env.errors import ConfigError, HostError
from ci_env.oci.credentials import HELPER_NAME, Credentials, checked
from ci_env.oci.tar_header import shown

_TIMEOUT_S = 30.0
_NOT_FOUND = b"credentials not found"
_TOKEN_USER = "<token>"  # noqa: S105  # what helpers say in place of a user: the secret is an identity token


def ask_helper(
    name: str, server: str, environment: Mapping[str, str], *, named_in: str, timeout_s: float = _TIMEOUT_S
) -> Credentials | None:
    """Return what the helper `name` has for `server`; None if it has nothing.

    HostError if there is no such program or it does not end in time, ConfigError if it fails or says something else.
    Whatever happens, it has ended when this returns; what it left running on purpose, such as an agent, goes on.
    """
    program = f"docker-credential-{name}"
    if not HELPER_NAME.match(name):
        raise ConfigError(f"{named_in} names {name!r}, which is no credential helper")
    path = shutil.which(program, path=environment.get("PATH", os.defpath))
    if path is None:
        hint = f"install {program}, or take {name!r} out of {named_in}"
        raise HostError(f"{program}, which {named_in} names for {server}, is not installed", hint=hint)
    status, output = _run(path, server, environment, timeout_s)
    if status is None:
        hint = f"try it: echo {server} | {program} get"
        raise HostError(f"{program} did not answer within {timeout_s:.0f} seconds for {server}", hint=hint)
    if _NOT_FOUND in output:
        return None
    return _parsed(output, status, program, server)


def _run(path: str, server: str, environment: Mapping[str, str], timeout_s: float) -> tuple[int | None, bytes]:
    """Return the exit status and what it printed; status None: it was stopped because of the time it took."""
    try:
        process = subprocess.Popen(
            [path, "get"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            process_group=0,
        )
    except OSError as error:
        raise HostError(f"cannot run {path}: {error.strerror}") from error
    with process:
        try:
            output, _ = process.communicate(server.encode(), timeout_s)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)  # with its children, while its number is still its own
            if isinstance(error, subprocess.TimeoutExpired):
                return None, b""
            raise
        return process.returncode, output


def _parsed(output: bytes, status: int, program: str, server: str) -> Credentials | None:
    origin = f"{program} for {server}"
    try:
        data = cast("object", json.loads(output))
    except (ValueError, RecursionError):
        data = None
    if status or not isinstance(data, dict):
        # JSON may hold a secret, whatever the status
        said = (
            f": {shown(output.strip())}" if status and output.strip() and not output.lstrip().startswith(b"{") else ""
        )
        what = f"failed with status {status}" if status else "gave no credentials in its answer"
        raise ConfigError(f"{origin} {what}{said}", hint=f"try it: echo {server} | {program} get")
    answer = cast("dict[str, object]", data)
    user, secret = answer.get("Username", ""), answer.get("Secret", "")
    if not isinstance(user, str) or not isinstance(secret, str):
        raise ConfigError(f"{origin} gave a user or secret that is not text")
    if not user and not secret:
        return None
    is_token = user == _TOKEN_USER
    return checked("" if is_token else user, secret, is_identity_token=is_token, origin=origin)

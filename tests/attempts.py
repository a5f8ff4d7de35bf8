"""What a program of a sandbox may do: expressions, each tried inside."""

from __future__ import annotations

import json

from ci_env.pipeline.model import Network
from tests.sandboxes import Place

PYTHON = "/usr/bin/python3"

# Prints, as JSON, what each expression of argv gives, or the name of its error.
_TRY = """
import errno, json, os, socket, stat, sys
def attempt(expression):
    try:
        return eval(expression)
    except OSError as error:
        return errno.errorcode[error.errno]
def write(path):
    with open(path, "w") as file:
        file.write("0")
def connect(family, address):
    with socket.socket(family) as client:
        client.settimeout(5)
        client.connect(address)
        return client.recv(9).decode()
def listen_and_connect(address):
    with socket.create_server((address, 0)) as server:
        socket.create_connection(server.getsockname()[:2], timeout=5).close()
        return "connected"
print(json.dumps([attempt(expression) for expression in sys.argv[1:]]))
"""


def attempt(place: Place, *expressions: str, network: Network = "none") -> list[object]:
    """Return what each expression gives as JSON, or the name of its error, as root of a sandbox."""
    done = place.execute(place.sandbox([PYTHON, "-c", _TRY, *expressions], network=network))
    assert done.exit.code == 0, done.output
    found: list[object] = json.loads(done.output)
    return found

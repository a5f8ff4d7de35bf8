"""What the databases of package managers say: names and versions. Pure; trusts nothing, and passes over what is odd.

Sources: deb-control(5) and dpkg-query(1), apk-installed(5), PyPA core metadata 2.4, npm's package.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import cast

Found = tuple[str, str]
"""a name and a version"""

_LONGEST = 300
_FIELD = re.compile(r"([A-Za-z0-9-]+):[ \t]*(.*)")


def dpkg(status: bytes) -> Iterator[Found]:
    """Yield what is installed, `NAME:ARCHITECTURE` where there are several; of half a package its state, too."""
    for fields in _paragraphs(status):
        state = fields.get("Status", "install ok installed").split()
        if state[-1:] != ["installed"] and state[-1:] != ["half-configured"] and state[-1:] != ["unpacked"]:
            continue
        name, version = fields.get("Package", ""), fields.get("Version", "")
        is_same = fields.get("Multi-Arch") == "same"
        yield from _found(
            f"{name}:{fields.get('Architecture', '')}" if is_same else name,
            version if state[-1] == "installed" else f"{version} ({state[-1]})",
        )


def apk(installed: bytes) -> Iterator[Found]:
    for block in _text(installed).split("\n\n"):
        fields = dict(line.split(":", 1) for line in block.splitlines() if line[1:2] == ":")
        yield from _found(fields.get("P", ""), fields.get("V", ""))


def python(metadata: bytes) -> Iterator[Found]:
    """Yield the one package of a METADATA or PKG-INFO."""
    nothing: Mapping[str, str] = {}
    fields = next(_paragraphs(metadata), nothing)
    yield from _found(re.sub(r"[-_.]+", "-", fields.get("Name", "")).lower(), fields.get("Version", ""))


def npm(package: bytes) -> Iterator[Found]:
    """Yield the one package of a package.json."""
    try:
        document = json.loads(package)
    except (ValueError, RecursionError):
        return
    if isinstance(document, dict):
        fields = cast("dict[str, object]", document)
        name, version = fields.get("name"), fields.get("version")
        if isinstance(name, str) and isinstance(version, str):
            yield from _found(name, version)


def _paragraphs(content: bytes) -> Iterator[Mapping[str, str]]:
    """Yield the fields of each paragraph of a control file, first lines only: names and versions have no more."""
    for paragraph in re.split(r"\n[ \t]*\n", _text(content)):
        matches = (_FIELD.match(line) for line in paragraph.splitlines())
        fields = {match[1]: match[2].strip() for match in reversed([match for match in matches if match])}
        if fields:
            yield fields


def _found(name: str, version: str) -> Iterator[Found]:
    if name and version and len(name) + len(version) <= _LONGEST:
        yield name, version


def _text(content: bytes) -> str:
    return content.decode(errors="replace").replace("\r\n", "\n")

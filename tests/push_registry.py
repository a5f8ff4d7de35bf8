"""A registry to push to, for fault_registry: works, but for what a test takes over."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.fault_registry import Request, Response
from tests.oci_builder import sha256

_BLOB = re.compile(r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})\Z")
_UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/([0-9]*)\Z")
_MANIFEST = re.compile(r"/v2/(.+)/manifests/(.+)\Z")

Takeover = Callable[[Request], Response | None]


@dataclass
class PushRegistry:
    """What was pushed. `takeover` may answer a request in its place."""

    takeover: Takeover = lambda _: None
    min_chunk_bytes: int | None = None
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict[tuple[str, str], bytes])
    """by repository and digest"""
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict[str, tuple[str, bytes]])
    """media type and content, by repository:tag"""
    uploads: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """those that are not finished"""
    begun: int = 0

    def __call__(self, request: Request) -> Response:
        return self.takeover(request) or self.answer(request)

    def answer(self, request: Request) -> Response:
        path, query = urlsplit(request.path).path, parse_qs(urlsplit(request.path).query)
        if match := _BLOB.match(path):
            return Response(200 if (match[1], match[2]) in self.blobs else 404)
        if match := _MANIFEST.match(path):
            return self._manifest(match[1], match[2], request)
        match = _UPLOAD.match(path)
        assert match, path
        if request.method == "POST":
            return self._begin(match[1], query)
        if match[2] not in self.uploads:
            return Response(404)
        if request.method == "DELETE":
            del self.uploads[match[2]]
            return Response(204)
        return self._go_on(match[1], match[2], request, query)

    def _begin(self, repository: str, query: dict[str, list[str]]) -> Response:
        if "mount" in query and (blob := self.blobs.get((query["from"][0], query["mount"][0]))) is not None:
            self.blobs[repository, query["mount"][0]] = blob
            return Response(201)
        self.begun += 1
        self.uploads[str(self.begun)] = b""
        return Response(202, headers=self._headers(repository, str(self.begun)))

    def _headers(self, repository: str, number: str) -> dict[str, str]:
        """Return a Location that is relative and has a query, as some registries do."""
        minimum = {} if self.min_chunk_bytes is None else {"OCI-Chunk-Min-Length": str(self.min_chunk_bytes)}
        end = max(0, len(self.uploads[number]) - 1)
        location = f"/v2/{repository}/blobs/uploads/{number}?_state=a%2Fb%3D{len(self.uploads[number])}"
        return {"Location": location, "Range": f"0-{end}", **minimum}

    def _go_on(self, repository: str, number: str, request: Request, query: dict[str, list[str]]) -> Response:
        assert query["_state"] == [f"a/b={len(self.uploads[number])}"], "the Location's query was changed"
        if request.method == "PATCH":
            start, _, end = request.headers["content-range"].partition("-")
            if int(start) != len(self.uploads[number]):
                return Response(416, headers=self._headers(repository, number))
            assert int(end) - int(start) + 1 == len(request.body)
        self.uploads[number] += request.body
        if request.method != "PUT":
            return Response(204 if request.method == "GET" else 202, headers=self._headers(repository, number))
        content = self.uploads.pop(number)
        if sha256(content) != query["digest"][0]:
            return Response(400, error("DIGEST_INVALID", "the digest does not match"))
        self.blobs[repository, sha256(content)] = content
        return Response(201, headers={"Location": f"/v2/{repository}/blobs/{sha256(content)}"})

    def _manifest(self, repository: str, tag: str, request: Request) -> Response:
        document = json.loads(request.body)
        for descriptor in (document["config"], *document["layers"]):
            if (repository, descriptor["digest"]) not in self.blobs:
                return Response(400, error("MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"))
        self.manifests[f"{repository}:{tag}"] = (request.headers["content-type"], request.body)
        return Response(201, headers={"Docker-Content-Digest": sha256(request.body)})


def error(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()

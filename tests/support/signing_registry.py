"""A registry in memory that signs URLs for uploads, as Ollama's does, and the storage that they lead to.

Written from the client's side of ollama ``server/upload.go`` and ``x/transfer/upload.go``, not from our flows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs, urlsplit

from tests.support.blobs import digest_of
from tests.support.scripted_flow import ORIGIN, refuse, response

from ollama_push.core.errors import TransportError
from ollama_push.core.ports import HttpRequest
from ollama_push.core.responses import BufferedResponse

__all__ = ["STORAGE", "Answer", "SigningRegistry"]

STORAGE: Final = "https://storage.test"

Answer = BufferedResponse | TransportError


class SigningRegistry:
    """The registry and its storage.

    Args:
        parts: Whether parts are redirected.
        whole: Whether whole blobs get a URL when that is asked for.
        says_so: Whether the response that opens a session tells of the redirects.
        instead: Called with each request first; what it returns is the answer, ``None`` leaves it to the registry.

    Attributes:
        instead: May be replaced.
        blobs: By digest.
        stored: Parts in the storage, by their path.
        asked: What was asked for, as ``"METHOD path"`` without queries.
        requests: All of them.
    """

    def __init__(
        self,
        *,
        parts: bool = True,
        whole: bool = False,
        says_so: bool = True,
        instead: Callable[[HttpRequest], Answer | None] = lambda _request: None,
    ) -> None:
        self._parts, self._whole, self._says_so, self.instead = parts, whole, says_so, instead
        self.blobs: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.requests: list[HttpRequest] = []
        self.sessions: dict[str, list[str]] = {}
        self.taken: dict[str, bytes] = {}
        self._signed = 0

    def __call__(self, request: HttpRequest, body: bytes) -> Answer:
        """Answer *request*."""
        url = urlsplit(request.url)
        self.requests.append(request)
        self.asked.append(f"{request.method} {url.path.replace('/v2/me/llama/blobs', '')}")
        given = self.instead(request)
        if given is not None:
            return given
        if request.url.startswith(STORAGE):
            assert "Authorization" not in request.headers, "the signature is all that goes there"
            assert url.query.startswith("sig="), "the URL stays as it was signed"
            self.stored[url.path] = body
            return response(200)
        return self._registry(request, body, url.path, parse_qs(url.query))

    def _registry(self, request: HttpRequest, body: bytes, path: str, query: dict[str, list[str]]) -> Answer:
        session = path.rpartition("/")[2]
        if request.method == "HEAD":
            return response(200 if session in self.blobs else 404)
        if request.method == "POST":
            return self._open(request, query)
        if session not in self.sessions:
            return refuse(404, "BLOB_UPLOAD_UNKNOWN")
        if request.method == "GET":
            return response(405)
        if request.method == "PATCH":
            return self._patch(request, body, session)
        return self._commit(session, body, query)

    def _open(self, request: HttpRequest, query: dict[str, list[str]]) -> Answer:
        if query.get("digest", [""])[0] in self.blobs:
            return response(201)
        session = f"s{len(self.sessions) + 1}"
        self.sessions[session], self.taken[session] = [], b""
        headers = self._where(session) if self._says_so else {"location": f"/u/{session}"}
        if self._whole and request.headers.get("X-Redirect-Uploads") == "2":
            assert request.headers["X-Content-Length"].isdecimal()
            self.sessions[session].append(f"/{session}/whole")
            headers |= {
                "x-direct-upload-url": f"{STORAGE}/{session}/whole?sig=a%2fb",
                "x-signed-header-content-md5": "of-it",
                "x-signed-header-host": "elsewhere",
            }
        return response(202, headers)

    def _where(self, session: str) -> dict[str, str]:
        return {"location": f"/u/{session}", "docker-upload-location": f"/u/{session}?n={len(self.sessions[session])}"}

    def _patch(self, request: HttpRequest, body: bytes, session: str) -> Answer:
        if not self._parts or request.headers.get("X-Redirect-Uploads") != "1":
            self.taken[session] += body
            return response(202, {**self._where(session), "range": f"0-{len(self.taken[session]) - 1}"})
        first, last = request.headers["Content-Range"].split("-")
        assert int(last) - int(first) + 1 == len(body)
        path = f"/{session}/{first}"
        if path not in self.sessions[session]:
            self.sessions[session].append(path)
        self._signed += 1
        return response(307, {**self._where(session), "location": f"{STORAGE}{path}?sig={self._signed}"})

    def _commit(self, session: str, body: bytes, query: dict[str, list[str]]) -> Answer:
        digest, etag = query["digest"][0], query.get("etag", [""])[0]
        paths = self.sessions[session]
        missing = [path for path in paths if path not in self.stored]
        if missing:
            return refuse(400, "BLOB_UPLOAD_INVALID", f"missing: {missing}")
        parts = [self.stored[path] for path in paths]
        if parts and not paths[0].endswith("whole"):
            md5 = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
            if etag != f"{md5}-{len(parts)}":
                return refuse(400, "BLOB_UPLOAD_INVALID", "the etag")
        data = b"".join(parts) or self.taken[session] + body
        if digest_of(data) != digest:
            return refuse(400, "DIGEST_INVALID")
        self.blobs[digest] = data
        del self.sessions[session]
        return response(201, {"location": f"{ORIGIN}/v2/me/llama/blobs/{digest}"})

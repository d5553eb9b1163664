"""A registry in memory: responds as the distribution-spec says, from dictionaries; switches turn on known deviations.

Written from the spec and from what real registries were seen to do, not from our flows.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

import attrs
from tests.support.blobs import digest_of
from tests.support.scripted_flow import ORIGIN, refuse, response

from ollama_push.core.errors import ConnectionLost, TransportError
from ollama_push.core.ports import HttpRequest
from ollama_push.core.responses import BufferedResponse

__all__ = ["Deviations", "Fault", "MemoryRegistry"]

LOST: Final = "connection reset"


class Fault(enum.Enum):
    """What goes wrong with one request."""

    RESET = "the connection breaks after some bytes of the body"
    UNREAD = "the same, and the client may believe that a kept connection had died before"
    LOST_ACK = "the request is carried out, its answer is lost"
    BUSY = "503, nothing is done"
    SLOW_DOWN = "429 with Retry-After, nothing is done"
    SESSIONS_GONE = "all upload sessions are forgotten before it"


@attrs.frozen
class Deviations:
    """How a registry differs from the spec's.

    Attributes:
        keeps_broken_parts: Distribution 3; otherwise a broken part ends its session, as on 2.8.
        most_bytes: Longest body taken; above it 413.
        least_bytes: Announced as ``OCI-Chunk-Min-Length`` and insisted on, the last part excepted.
        whole_only: No ``PATCH``: 405.
        has_status: Whether an upload session answers ``GET``; 400 otherwise, as crane's registry.
        relative: Whether a ``Location`` is relative.
        created_early: Digests whose last part is answered with 201, as ECR does; the blob is stored then.
        says_range: Whether answers to parts carry ``Range``.
        mounts: Whether blobs can be taken from other repositories.
    """

    keeps_broken_parts: bool = True
    most_bytes: int | None = None
    least_bytes: int = 0
    whole_only: bool = False
    has_status: bool = True
    relative: bool = False
    created_early: frozenset[str] = frozenset()
    says_range: bool = True
    mounts: bool = True


class MemoryRegistry:
    """The registry.

    Args:
        ways: How it behaves.
        faults: By the number of the request, from 0: what goes wrong, and at which byte of the body.

    Attributes:
        blobs: By repository and digest.
        manifests: By repository and tag.
        received: Bytes of blobs that arrived.
    """

    def __init__(self, ways: Deviations = Deviations(), faults: Mapping[int, tuple[Fault, int]] | None = None) -> None:
        self.ways = ways
        self.faults = dict(faults or {})
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.sessions: dict[str, bytearray] = {}
        self.received = 0
        self._asked = self._opened = 0

    def __call__(self, request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        """Answer *request*."""
        fault, at = self.faults.get(self._asked, (None, 0))
        self._asked += 1
        if fault is Fault.SESSIONS_GONE:
            self.sessions.clear()
        elif fault is Fault.BUSY:
            return response(503)
        elif fault is Fault.SLOW_DOWN:
            return refuse(429, "TOOMANYREQUESTS") if at % 2 else response(429, {"retry-after": "7"})
        elif fault in (Fault.RESET, Fault.UNREAD):
            self._break(request, body[:at])
            return ConnectionLost(ORIGIN, LOST, unread=fault is Fault.UNREAD)
        given = self._answer(request, body)
        return ConnectionLost(ORIGIN, LOST) if fault is Fault.LOST_ACK else given

    def _break(self, request: HttpRequest, arrived: bytes) -> None:
        session = urlsplit(request.url).path.rpartition("/")[2]
        if request.method not in ("PATCH", "PUT") or session not in self.sessions or not arrived:
            return
        self.received += len(arrived)
        if self.ways.keeps_broken_parts:
            self.sessions[session] += arrived
        else:
            del self.sessions[session]

    def _answer(self, request: HttpRequest, body: bytes) -> BufferedResponse:  # noqa: C901 - one case an endpoint
        parts = urlsplit(request.url)
        if parts.path == "/v2/":
            return response(200)
        repository, kind, reference = self._split(parts.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        match request.method, kind:
            case "HEAD", "blobs":
                blob = self.blobs.get((repository, reference))
                return response(404) if blob is None else response(200, {"content-length": str(len(blob))})
            case "GET", "blobs":
                return self._read_first_byte(request, self.blobs.get((repository, reference)))
            case "HEAD" | "GET", "manifests":
                return self._read_manifest(request.method, repository, reference)
            case "PUT", "manifests":
                media_type = request.headers["Content-Type"]
                self.manifests[repository, reference] = self.manifests[repository, digest_of(body)] = (media_type, body)
                return response(201, {"docker-content-digest": digest_of(body)})
            case "POST", "uploads":
                return self._open(repository, query)
            case _, "uploads" if reference not in self.sessions:
                return refuse(404, "BLOB_UPLOAD_UNKNOWN")
            case "DELETE", "uploads":
                del self.sessions[reference]
                return response(204)
            case "GET", "uploads":
                return response(204, self._where(repository, reference)) if self.ways.has_status else response(400)
            case "PATCH", "uploads":
                return self._take_part(request, body, repository, reference)
            case "PUT", "uploads":
                return self._commit(body, repository, reference, query["digest"])
        raise AssertionError(f"no registry is asked {request.method} {request.url}")

    def _split(self, path: str) -> tuple[str, str, str]:
        for kind, mark in (("uploads", "/blobs/uploads/"), ("blobs", "/blobs/"), ("manifests", "/manifests/")):
            repository, found, reference = path.removeprefix("/v2/").partition(mark)
            if found:
                return repository, kind, reference
        raise AssertionError(f"no registry has {path}")

    def _read_first_byte(self, request: HttpRequest, blob: bytes | None) -> BufferedResponse:
        assert request.headers["Range"] == "bytes=0-0", "a whole blob is asked for"
        if blob is None:
            return refuse(404, "BLOB_UNKNOWN")
        size = {"content-range": f"bytes {'0-0' if blob else '*'}/{len(blob)}"}
        return response(206, size, blob[:1]) if blob else response(416, size)

    def _read_manifest(self, method: str, repository: str, reference: str) -> BufferedResponse:
        found = self.manifests.get((repository, reference))
        if found is None:
            return response(404) if method == "HEAD" else refuse(404, "MANIFEST_UNKNOWN")
        headers = {"content-type": found[0], "docker-content-digest": digest_of(found[1])}
        return response(200, headers, b"" if method == "HEAD" else found[1])

    def _open(self, repository: str, query: Mapping[str, str]) -> BufferedResponse:
        if "mount" in query and self.ways.mounts and (query["from"], query["mount"]) in self.blobs:
            self.blobs[repository, query["mount"]] = self.blobs[query["from"], query["mount"]]
            return response(201, {"location": f"/v2/{repository}/blobs/{query['mount']}"})
        self._opened += 1
        session = f"s{self._opened}"
        self.sessions[session] = bytearray()
        least = {"oci-chunk-min-length": str(self.ways.least_bytes)} if self.ways.least_bytes else {}
        return response(202, {**self._where(repository, session), **least})

    def _where(self, repository: str, session: str) -> dict[str, str]:
        path = f"/v2/{repository}/blobs/uploads/{session}?_state={len(self.sessions[session])}"
        # Distribution says "0-0" of an empty session too.
        last = max(0, len(self.sessions[session]) - 1)
        return {"location": path if self.ways.relative else f"{ORIGIN}{path}", "range": f"0-{last}"}

    def _take_part(self, request: HttpRequest, body: bytes, repository: str, session: str) -> BufferedResponse:
        ways, kept = self.ways, self.sessions[session]
        if ways.whole_only:
            return refuse(405, "UNSUPPORTED")
        if ways.most_bytes is not None and len(body) > ways.most_bytes:
            return response(413, {}, b"<html><title>413 Request Entity Too Large</title></html>")
        first, last = map(int, request.headers["Content-Range"].split("-"))
        assert last - first + 1 == len(body)
        if first != len(kept):
            return response(416)
        self.received += len(body)
        kept += body
        whole = digest_of(bytes(kept)) if ways.created_early else ""
        if whole in ways.created_early and self._store(repository, session, whole):
            return response(201)
        where = self._where(repository, session)
        return response(202, where if ways.says_range else {"location": where["location"]})

    def _commit(self, body: bytes, repository: str, session: str, wanted: str) -> BufferedResponse:
        if self.ways.most_bytes is not None and len(body) > self.ways.most_bytes:
            return response(413)
        self.received += len(body)
        self.sessions[session] += body
        if not self._store(repository, session, wanted):
            return refuse(400, "DIGEST_INVALID")
        return response(201, {"location": f"/v2/{repository}/blobs/{wanted}"})

    def _store(self, repository: str, session: str, wanted: str) -> bool:
        data = bytes(self.sessions[session])
        if digest_of(data) != wanted:
            return False
        del self.sessions[session]
        self.blobs[repository, wanted] = data
        return True

"""The push side of blobs: sessions, parts, commits, mounts.

Source: distribution-spec v1.1.1, "Pushing blobs"; answers as distribution 3.0.0 gives them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from ollama_push.testing.registry.auth import Access
from ollama_push.testing.registry.grammar import checked_digest, is_digest, is_repository
from ollama_push.testing.registry.quirks import BrokenPartPolicy
from ollama_push.testing.registry.refused import Refused
from ollama_push.testing.registry.request_context import RequestContext
from ollama_push.testing.registry.sessions import Session

__all__ = ["cancel", "commit", "open_upload", "patch", "status"]

_CONTENT_RANGE: Final = re.compile(r"(\d+)-(\d+)")
_EMPTY: Final = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


async def open_upload(visit: RequestContext, path: Mapping[str, str]) -> web.StreamResponse:
    """``POST …/blobs/uploads/``: mount, whole blob, or a new session."""
    repository = path["name"]
    mount = visit.query("mount")
    if mount and _mounted(visit, repository, mount, visit.query("from")):
        return _created(visit, repository, mount)
    digest = visit.query("digest")
    if digest:
        checked_digest(digest)
    session = visit.depot.sessions.start(repository)
    if digest and await _taken_whole(visit, session, digest):
        return _created(visit, repository, digest)
    answer = _accepted(visit, session)
    if visit.depot.quirks.min_part_bytes:
        answer.headers["OCI-Chunk-Min-Length"] = str(visit.depot.quirks.min_part_bytes)
    return answer


async def status(visit: RequestContext, path: Mapping[str, str]) -> web.StreamResponse:
    """``GET`` of a session: how much of it there is."""
    session = _find(visit, path)
    if visit.depot.quirks.no_status:
        raise Refused(400, "UNSUPPORTED", "no upload status here")
    return web.Response(status=204, headers=_headers(visit, session))


async def patch(visit: RequestContext, path: Mapping[str, str]) -> web.StreamResponse:
    """``PATCH`` of a session: one part."""
    session = _find(visit, path)
    quirks = visit.depot.quirks
    if quirks.monolithic_only:
        raise Refused(405, "UNSUPPORTED", "the operation is unsupported")
    await _receive(visit, session)
    if session.digest in quirks.early_201:
        digest = session.digest
        _store(visit, session, digest)
        return _created(visit, session.repository, digest)
    return _accepted(visit, session)


async def commit(visit: RequestContext, path: Mapping[str, str]) -> web.StreamResponse:
    """``PUT`` of a session: the last part, which may be empty, and the digest of the whole."""
    session = _find(visit, path)
    digest = checked_digest(visit.query("digest"))
    await _receive(visit, session)
    _store(visit, session, digest)
    return _created(visit, session.repository, digest)


async def cancel(visit: RequestContext, path: Mapping[str, str]) -> web.StreamResponse:
    """``DELETE`` of a session."""
    visit.depot.sessions.drop(_find(visit, path))
    return web.Response(status=204)


def _find(visit: RequestContext, path: Mapping[str, str]) -> Session:
    session = visit.depot.sessions.find(path["name"], path["session"])
    if session is None:
        raise Refused(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
    return session


def _mounted(visit: RequestContext, repository: str, digest: str, source: str) -> bool:
    """Mount when the source has the blob and may be read; without a source, when any repository has it."""
    depot = visit.depot
    if not is_digest(digest):
        return False
    if source:
        may = is_repository(source) and depot.may(visit.request, Access(source, frozenset({"pull"})))
        found = may and depot.store.holds(source, digest)
    else:
        found = depot.auth is None and depot.store.blob_path(digest).exists()
    if found:
        depot.store.link(repository, digest)
    return found


async def _taken_whole(visit: RequestContext, session: Session, digest: str) -> bool:
    """Take the body as a whole blob; ``False`` when there is none, as where Ollama asks for a session like this."""
    settled = False
    try:
        await _receive(visit, session)
        whole = session.size > 0 or digest == _EMPTY
        if whole:
            _store(visit, session, digest)
        settled = True
    finally:
        # Nobody was told of the session, so nobody can go on with it.
        if not settled:
            visit.depot.sessions.drop(session)
    return whole


async def _receive(visit: RequestContext, session: Session) -> None:
    """Append the body to *session*; what a break leaves of both is the temper's business."""
    await session.catch_up()
    _check_place(visit, session)
    quirks = visit.depot.quirks
    before = session.size
    writer = session.begin()
    whole = False
    try:
        async for data in visit.body(quirks.max_part_bytes):
            if not writer.write(data):
                raise Refused(404, "BLOB_UPLOAD_INVALID", "another request took the session over")
            visit.depot.log.took(len(data))
        whole = True
    finally:
        writer.close()
        broke = not whole and session.size > before and session.is_written_by(writer)
        if broke and visit.depot.temper is BrokenPartPolicy.KILLS_SESSION:
            visit.depot.sessions.drop(session)
    size = session.size - before
    session.had_short_part = session.had_short_part or 0 < size < quirks.min_part_bytes


def _check_place(visit: RequestContext, session: Session) -> None:
    """Refuse a part that does not start where the session ends."""
    request = visit.request
    if session.had_short_part and request.body_exists:
        raise _misplaced(visit, session, "an earlier part was below the minimum")
    text = request.headers.get("Content-Range")
    if text is None:
        return
    found = _CONTENT_RANGE.fullmatch(text)
    if found is None or int(found[1]) != session.size:
        raise _misplaced(visit, session, f"expected a part that starts at {session.size}")
    length = int(found[2]) - int(found[1]) + 1
    if request.content_length not in (None, length):
        raise Refused(400, "SIZE_INVALID", "Content-Range and Content-Length disagree")


def _misplaced(visit: RequestContext, session: Session, why: str) -> Refused:
    headers = {} if visit.depot.quirks.range_416_without_headers else _headers(visit, session)
    return Refused(416, "BLOB_UPLOAD_INVALID", why, headers)


def _store(visit: RequestContext, session: Session, digest: str) -> None:
    """Make a blob of *session*; after a wrong digest it stays open, as distribution leaves it."""
    if session.digest != digest:
        raise Refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
    depot = visit.depot
    session.retire()
    if digest not in depot.quirks.loses_blobs:
        depot.store.adopt(session.path, session.repository, digest)
    depot.sessions.drop(session)


def _headers(visit: RequestContext, session: Session) -> dict[str, str]:
    base = visit.depot.quirks.foreign_location or visit.base
    path = f"/v2/{session.repository}/blobs/uploads/{session.id}?_state={secrets.token_urlsafe(16)}"
    return {
        "Location": f"{base}{path}",
        "Docker-Upload-UUID": session.id,
        # An empty session answers 0-0 too, the same as one byte: distribution does, and so do we.
        "Range": f"0-{max(session.size - 1, 0)}",
    }


def _accepted(visit: RequestContext, session: Session) -> web.Response:
    headers = _headers(visit, session)
    if visit.depot.quirks.no_range_in_202:
        del headers["Range"]
    return web.Response(status=202, headers=headers)


def _created(visit: RequestContext, repository: str, digest: str) -> web.Response:
    location = f"{visit.base}/v2/{repository}/blobs/{digest}"
    return web.Response(status=201, headers={"Location": location, "Docker-Content-Digest": digest})

"""Blobs: reading and deleting them, and writing them by upload sessions, their parts, commits, mounts.

Source: distribution-spec v1.1.1, "Pulling blobs", "Deleting Blobs", "Pushing blobs"; responses as distribution 3.0.0
sends them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from ollama_push.core.registry.manifests import digest_of
from ollama_push.testing.registry import signed_uploads
from ollama_push.testing.registry.auth import Access
from ollama_push.testing.registry.quirks import BrokenPartPolicy
from ollama_push.testing.registry.refused import Refused, is_digest, is_repository, require_digest
from ollama_push.testing.registry.request_context import RequestContext
from ollama_push.testing.registry.store import Session

__all__ = [
    "delete_blob",
    "delete_upload",
    "get_blob",
    "get_content",
    "get_upload",
    "head_blob",
    "open_upload",
    "patch_upload",
    "put_upload",
]

_CONTENT_RANGE: Final = re.compile(r"(\d+)-(\d+)")
_EMPTY: Final = digest_of(b"")
_OTHER_NAMES: Final = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}


async def head_blob(context: RequestContext, repository: str, digest: str) -> web.StreamResponse:
    """``HEAD`` of a blob: whether it is there, and its size."""
    require_digest(digest)
    claimed = context.state.quirks.lies_about_blobs.get(digest)
    if claimed is not None and not context.state.store.holds(repository, digest):
        return web.Response(headers={**_blob_headers(digest), "Content-Length": str(claimed)})
    return _file_response(context, repository, digest)


async def get_blob(context: RequestContext, repository: str, digest: str) -> web.StreamResponse:
    """``GET`` of a blob, or of a range of it."""
    require_digest(digest)
    response = _file_response(context, repository, digest)
    quirks = context.state.quirks
    base = context.base if quirks.redirect_blobs else ""
    if quirks.redirect_to_other_name:
        base = _under_other_name(context.base)
    if not base:
        return response
    location = f"{base}/content/{digest}?sig={_signature(context, digest)}"
    return web.Response(status=307, headers={"Location": location})


def _under_other_name(base: str) -> str:
    """Return *base* with the other name of the loopback; empty when it has neither."""
    parts = urlsplit(base)
    other = _OTHER_NAMES.get(parts.hostname or "")
    return "" if other is None else f"{parts.scheme}://{other}{'' if parts.port is None else f':{parts.port}'}"


async def get_content(context: RequestContext, digest: str) -> web.StreamResponse:
    """``GET`` of the URL that a redirect names; its signature is the only authorization it needs."""
    if not is_digest(digest) or not hmac.compare_digest(context.query("sig"), _signature(context, digest)):
        raise Refused(403, "DENIED", "the signature does not fit")
    return web.FileResponse(context.state.store.blob_path(digest), headers=_blob_headers(digest))


async def delete_blob(context: RequestContext, repository: str, digest: str) -> web.StreamResponse:
    """``DELETE`` of a blob."""
    require_digest(digest)
    _require_blob(context, repository, digest)
    context.state.store.unlink(repository, digest)
    return web.Response(status=202)


def _file_response(context: RequestContext, repository: str, digest: str) -> web.FileResponse:
    _require_blob(context, repository, digest)
    return web.FileResponse(context.state.store.blob_path(digest), headers=_blob_headers(digest))


def _require_blob(context: RequestContext, repository: str, digest: str) -> None:
    if not context.state.store.holds(repository, digest):
        raise Refused(404, "BLOB_UNKNOWN", "blob unknown to registry")


def _blob_headers(digest: str) -> dict[str, str]:
    return {"Docker-Content-Digest": digest, "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}


def _signature(context: RequestContext, digest: str) -> str:
    return hmac.new(context.state.secret, digest.encode(), hashlib.sha256).hexdigest()


async def open_upload(context: RequestContext, repository: str) -> web.StreamResponse:
    """``POST …/blobs/uploads/``: mount, whole blob, or a new session."""
    mount = context.query("mount")
    if mount and _mounted(context, repository, mount, context.query("from")):
        return _created(context, repository, mount)
    digest, quirks = context.query("digest"), context.state.quirks
    if digest:
        require_digest(digest)
        if (quirks.redirect_uploads or quirks.direct_uploads) and context.state.store.holds(repository, digest):
            return _created(context, repository, digest)
    session = context.state.sessions.start(repository)
    if digest and await _take_whole(context, session, digest):
        return _created(context, repository, digest)
    response = _accepted(context, session)
    if quirks.min_part_bytes:
        response.headers["OCI-Chunk-Min-Length"] = str(quirks.min_part_bytes)
    response.headers.update(signed_uploads.offer_of_whole(context, session, digest))
    return response


async def get_upload(context: RequestContext, repository: str, session_id: str) -> web.StreamResponse:
    """``GET`` of a session: how many bytes it holds."""
    session = _find(context, repository, session_id)
    if context.state.quirks.no_status:
        raise Refused(400, "UNSUPPORTED", "no upload status here")
    return web.Response(status=204, headers=_headers(context, session))


async def patch_upload(context: RequestContext, repository: str, session_id: str) -> web.StreamResponse:
    """``PATCH`` of a session: one part."""
    session = _find(context, repository, session_id)
    quirks = context.state.quirks
    if quirks.monolithic_only:
        raise Refused(405, "UNSUPPORTED", "the operation is unsupported")
    signed = signed_uploads.redirect_part(context, session)
    if signed:
        response = web.Response(status=307, headers={**_headers(context, session), "Location": signed})
        response.force_close()  # nobody reads the bytes that follow
        return response
    await _receive(context, session)
    if session.digest in quirks.early_201:
        digest = session.digest
        _store(context, session, digest)
        return _created(context, session.repository, digest)
    return _accepted(context, session)


async def put_upload(context: RequestContext, repository: str, session_id: str) -> web.StreamResponse:
    """``PUT`` of a session: the last part, which may be empty, and the digest of the whole."""
    session = _find(context, repository, session_id)
    digest = context.query("digest")
    require_digest(digest)
    if not await signed_uploads.assemble(context, session, context.query("etag")):
        await _receive(context, session)
    _store(context, session, digest)
    return _created(context, session.repository, digest)


async def delete_upload(context: RequestContext, repository: str, session_id: str) -> web.StreamResponse:
    """``DELETE`` of a session."""
    session = _find(context, repository, session_id)
    context.state.sessions.drop(session)
    signed_uploads.forget(context, session)
    return web.Response(status=204)


def _find(context: RequestContext, repository: str, session_id: str) -> Session:
    session = context.state.sessions.find(repository, session_id)
    if session is None:
        raise Refused(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
    return session


def _mounted(context: RequestContext, repository: str, digest: str, source: str) -> bool:
    """Mount when the client may read the source and it has the blob; without a source, when any repository has it."""
    state = context.state
    if not is_digest(digest):
        return False
    if source:
        may = is_repository(source) and (
            state.auth is None or state.auth.may(context.request, Access(source, frozenset({"pull"})))
        )
        found = may and state.store.holds(source, digest)
    else:
        found = state.auth is None and state.store.blob_path(digest).exists()
    if found:
        state.store.link(repository, digest)
    return found


async def _take_whole(context: RequestContext, session: Session, digest: str) -> bool:
    """Take the body as a whole blob; ``False`` without a body, as where Ollama opens a session with a digest."""
    try:
        await _receive(context, session)
        is_whole = session.size > 0 or digest == _EMPTY
        if is_whole:
            _store(context, session, digest)
    except BaseException:
        # The client does not know the session yet, so it cannot continue it.
        context.state.sessions.drop(session)
        raise
    return is_whole


async def _receive(context: RequestContext, session: Session) -> None:
    """Append the body to *session*; if the body breaks, ``broken_parts`` says what stays."""
    await session.catch_up()
    _check_place(context, session)
    state = context.state
    before = session.size
    writer = session.begin()
    try:
        with writer:
            async for data in context.body(state.quirks.max_part_bytes):
                if not session.append(writer, data):
                    raise Refused(404, "BLOB_UPLOAD_INVALID", "another request took the session over")
                state.log.took(len(data))
    except BaseException:
        kills = state.broken_parts is BrokenPartPolicy.KILLS_SESSION
        if kills and session.size > before and session.writer is writer:
            state.sessions.drop(session)
        raise
    size = session.size - before
    session.had_short_part = session.had_short_part or 0 < size < state.quirks.min_part_bytes


def _check_place(context: RequestContext, session: Session) -> None:
    """Refuse a part that does not start where the session ends."""
    request = context.request
    if session.had_short_part and request.body_exists:
        raise _misplaced(context, session, "an earlier part was below the minimum")
    text = request.headers.get("Content-Range")
    if text is None:
        return
    found = _CONTENT_RANGE.fullmatch(text)
    if found is None or int(found[1]) != session.size:
        raise _misplaced(context, session, f"expected a part that starts at {session.size}")
    length = int(found[2]) - int(found[1]) + 1
    if request.content_length not in (None, length):
        raise Refused(400, "SIZE_INVALID", "Content-Range and Content-Length disagree")


def _misplaced(context: RequestContext, session: Session, why: str) -> Refused:
    headers = {} if context.state.quirks.range_416_without_headers else _headers(context, session)
    return Refused(416, "BLOB_UPLOAD_INVALID", why, headers)


def _store(context: RequestContext, session: Session, digest: str) -> None:
    """Make a blob of *session*; after a wrong digest the session stays open, as with distribution."""
    if session.digest != digest:
        raise Refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
    state = context.state
    session.writer = None
    if digest not in state.quirks.loses_blobs:
        state.store.adopt(session.path, session.repository, digest)
    state.sessions.drop(session)
    signed_uploads.forget(context, session)


def _headers(context: RequestContext, session: Session) -> dict[str, str]:
    base = context.state.quirks.foreign_location or context.base
    path = f"/v2/{session.repository}/blobs/uploads/{session.id}?_state={secrets.token_urlsafe(16)}"
    signs = context.state.quirks.redirect_uploads
    return {
        "Location": f"{base}{path}",
        **({"Docker-Upload-Location": f"{base}{path}"} if signs else {}),
        "Docker-Upload-UUID": session.id,
        # 0-0 for an empty session too, although that is the range of one byte: distribution does the same.
        "Range": f"0-{max(session.size - 1, 0)}",
    }


def _accepted(context: RequestContext, session: Session) -> web.Response:
    headers = _headers(context, session)
    if context.state.quirks.no_range_in_202:
        del headers["Range"]
    return web.Response(status=202, headers=headers)


def _created(context: RequestContext, repository: str, digest: str) -> web.Response:
    location = f"{context.base}/v2/{repository}/blobs/{digest}"
    return web.Response(status=201, headers={"Location": location, "Docker-Content-Digest": digest})

"""Uploads past the registry, as Ollama's own does: it signs URLs, for the parts of a blob or for all of it.

A signed URL takes bytes without a login, and refuses them with one, as object stores do. Nothing of it outlives the
process. Source: the client's side, ollama ``server/upload.go`` and ``x/transfer/upload.go`` at v0.32.15.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Final

from aiohttp import web

from ollama_push.testing.registry.refused import Refused
from ollama_push.testing.registry.request_context import RequestContext
from ollama_push.testing.registry.store import Session, SignedPart

__all__ = ["assemble", "forget", "offer_of_whole", "put_signed", "redirect_part"]

_CONTENT_RANGE: Final = re.compile(r"(\d{1,18})-(\d{1,18})")
_COPY_BYTES: Final = 1024 * 1024
_WHOLE: Final = "whole"
_ECHOED: Final = "X-Amz-Meta-Digest"


def offer_of_whole(context: RequestContext, session: Session, digest: str) -> dict[str, str]:
    """Return the headers that offer a URL for the whole blob; empty unless the request asks for one."""
    headers = context.request.headers
    size = headers.get("X-Content-Length", "")
    if not context.state.quirks.direct_uploads or headers.get("X-Redirect-Uploads") != "2" or not size.isdecimal():
        return {}
    part = SignedPart(_path(context, session, _WHOLE), int(size), digest)
    context.state.signed_parts.setdefault(session.id, {})[_WHOLE] = part
    signed = {f"X-Signed-Header-{_ECHOED}": digest} if digest else {}
    return {"X-Direct-Upload-URL": _signed_url(context, session, _WHOLE), **signed}


def redirect_part(context: RequestContext, session: Session) -> str:
    """Return the signed URL for the part that a ``PATCH`` announces; empty unless it asks for one."""
    headers = context.request.headers
    if not context.state.quirks.redirect_uploads or headers.get("X-Redirect-Uploads") != "1":
        return ""
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if found is None or int(found[1]) > int(found[2]):
        raise Refused(416, "BLOB_UPLOAD_INVALID", "expected the range of a part", closes=True)
    parts = context.state.signed_parts.setdefault(session.id, {})
    parts[found[1]] = SignedPart(_path(context, session, found[1]), int(found[2]) - int(found[1]) + 1)
    return _signed_url(context, session, found[1])


async def put_signed(context: RequestContext, session_id: str, part: str) -> web.StreamResponse:
    """``PUT`` of a signed URL; the signature is all the authorization it takes."""
    if not hmac.compare_digest(context.query("sig"), _signature(context, session_id, part)):
        raise Refused(403, "DENIED", "the signature does not fit", closes=True)
    if "Authorization" in context.request.headers:
        raise Refused(400, "UNSUPPORTED", "a login beside a signature", closes=True)
    signed = context.state.signed_parts.get(session_id, {}).get(part)
    if signed is None:
        raise Refused(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to the storage", closes=True)
    if context.request.content_length != signed.size:
        raise Refused(400, "SIZE_INVALID", f"expected {signed.size} bytes", closes=True)
    if context.request.headers.get(_ECHOED, "") != signed.digest:
        raise Refused(403, "DENIED", f"{_ECHOED} was signed, too", closes=True)
    hasher = hashlib.md5(usedforsecurity=False)
    with signed.path.open("wb", buffering=0) as file:
        async for data in context.body():
            _write_all(file, data)
            hasher.update(data)
            context.state.log.took(len(data))
    signed.md5 = hasher.hexdigest()
    return web.Response(status=200, headers={"ETag": f'"{signed.md5}"'})


async def assemble(context: RequestContext, session: Session, etag: str) -> bool:
    """Put together what was sent to signed URLs, as the bytes of *session*; ``False`` when nothing was.

    Raises:
        Refused: Something is missing, or *etag* is not what the parts come to.
    """
    parts = context.state.signed_parts.get(session.id)
    if not parts:
        return False
    whole = parts.get(_WHOLE)
    chosen = [whole] if whole is not None and whole.md5 else _in_order(parts)
    joined = hashlib.md5(b"".join(bytes.fromhex(part.md5) for part in chosen), usedforsecurity=False).hexdigest()
    if chosen != [whole] and etag != f"{joined}-{len(chosen)}":
        raise Refused(400, "BLOB_UPLOAD_INVALID", "the etag is not that of the parts")
    session.replaced(await asyncio.to_thread(_join, chosen, session.path))
    return True


def forget(context: RequestContext, session: Session) -> None:
    """Delete what was sent to the signed URLs of *session*."""
    for part in context.state.signed_parts.pop(session.id, {}).values():
        part.path.unlink(missing_ok=True)


def _in_order(parts: Mapping[str, SignedPart]) -> list[SignedPart]:
    end, chosen = 0, list[SignedPart]()
    for offset, part in sorted((int(name), part) for name, part in parts.items() if name != _WHOLE):
        if offset != end or not part.md5:
            raise Refused(400, "BLOB_UPLOAD_INVALID", f"the part at {end} is missing")
        end += part.size
        chosen.append(part)
    return chosen


def _join(parts: Sequence[SignedPart], path: Path) -> hashlib._Hash:
    """Write *parts* to *path*, and return the hash of them all."""
    hasher, buffer = hashlib.sha256(), memoryview(bytearray(_COPY_BYTES))
    with path.open("wb", buffering=0) as whole:
        for part in parts:
            with part.path.open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    hasher.update(buffer[:count])
                    _write_all(whole, buffer[:count])
    return hasher


def _write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write *data*; a disk that is full takes a part of it, and says so the next time alone."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _path(context: RequestContext, session: Session, name: str) -> Path:
    return context.state.signed_folder / f"{session.id}-{name}"


def _signed_url(context: RequestContext, session: Session, name: str) -> str:
    return f"{context.origin}/signed/{session.id}/{name}?sig={_signature(context, session.id, name)}"


def _signature(context: RequestContext, session_id: str, name: str) -> str:
    return hmac.new(context.state.secret, f"{session_id}/{name}".encode(), hashlib.sha256).hexdigest()

"""Reading and deleting blobs.

Source: distribution-spec v1.1.1, "Pulling blobs", "Deleting Blobs".
"""

from __future__ import annotations

import hashlib
import hmac

from aiohttp import web

from ollama_push.testing.registry.grammar import is_digest, require_digest
from ollama_push.testing.registry.refused import Refused
from ollama_push.testing.registry.request_context import RequestContext

__all__ = ["delete_blob", "get_blob", "get_content", "head_blob"]


async def head_blob(context: RequestContext, repository: str, digest: str) -> web.StreamResponse:
    """``HEAD`` of a blob: whether it is there, and its size."""
    require_digest(digest)
    claimed = context.state.quirks.lies_about_blobs.get(digest)
    if claimed is not None and not context.state.store.holds(repository, digest):
        return web.Response(headers={**_headers(digest), "Content-Length": str(claimed)})
    return _file_response(context, repository, digest)


async def get_blob(context: RequestContext, repository: str, digest: str) -> web.StreamResponse:
    """``GET`` of a blob, or of a range of it."""
    require_digest(digest)
    response = _file_response(context, repository, digest)
    if context.state.quirks.redirect_blobs:
        location = f"{context.base}/content/{digest}?sig={_signature(context, digest)}"
        return web.Response(status=307, headers={"Location": location})
    return response


async def get_content(context: RequestContext, digest: str) -> web.StreamResponse:
    """``GET`` of the URL that a redirect names; its signature is the only authorization it needs."""
    if not is_digest(digest) or not hmac.compare_digest(context.query("sig"), _signature(context, digest)):
        raise Refused(403, "DENIED", "the signature does not fit")
    return web.FileResponse(context.state.store.blob_path(digest), headers=_headers(digest))


async def delete_blob(context: RequestContext, repository: str, digest: str) -> web.StreamResponse:
    """``DELETE`` of a blob."""
    require_digest(digest)
    _require_blob(context, repository, digest)
    context.state.store.unlink(repository, digest)
    return web.Response(status=202)


def _file_response(context: RequestContext, repository: str, digest: str) -> web.FileResponse:
    _require_blob(context, repository, digest)
    return web.FileResponse(context.state.store.blob_path(digest), headers=_headers(digest))


def _require_blob(context: RequestContext, repository: str, digest: str) -> None:
    if not context.state.store.holds(repository, digest):
        raise Refused(404, "BLOB_UNKNOWN", "blob unknown to registry")


def _headers(digest: str) -> dict[str, str]:
    return {"Docker-Content-Digest": digest, "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}


def _signature(context: RequestContext, digest: str) -> str:
    return hmac.new(context.state.secret, digest.encode(), hashlib.sha256).hexdigest()

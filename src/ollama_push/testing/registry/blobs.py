"""The pull side of blobs.

Source: distribution-spec v1.1.1, "Pulling blobs", "Deleting Blobs".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from aiohttp import web

from ollama_push.testing.registry.grammar import checked_digest, is_digest
from ollama_push.testing.registry.refused import Refused
from ollama_push.testing.registry.request_context import RequestContext

__all__ = ["content", "delete", "get", "head"]


async def head(visit: RequestContext, path: Mapping[str, str]) -> web.StreamResponse:
    """``HEAD`` of a blob: is it there, and how large?"""
    digest = checked_digest(path["digest"])
    claimed = visit.depot.quirks.lies_about_blobs.get(digest)
    if claimed is not None and not visit.depot.store.holds(path["name"], digest):
        return web.Response(headers={**_headers(digest), "Content-Length": str(claimed)})
    return _file(visit, path["name"], digest)


async def get(visit: RequestContext, path: Mapping[str, str]) -> web.StreamResponse:
    """``GET`` of a blob, or of a range of it."""
    digest = checked_digest(path["digest"])
    answer = _file(visit, path["name"], digest)
    if visit.depot.quirks.redirect_blobs:
        location = f"{visit.base}/content/{digest}?sig={_signature(visit, digest)}"
        return web.Response(status=307, headers={"Location": location})
    return answer


async def content(visit: RequestContext, path: Mapping[str, str]) -> web.StreamResponse:
    """``GET`` of the URL a redirect names; its signature is all the authorization there is."""
    digest = path["digest"]
    if not is_digest(digest) or not hmac.compare_digest(visit.query("sig"), _signature(visit, digest)):
        raise Refused(403, "DENIED", "the signature does not fit")
    return web.FileResponse(visit.depot.store.blob_path(digest), headers=_headers(digest))


async def delete(visit: RequestContext, path: Mapping[str, str]) -> web.StreamResponse:
    """``DELETE`` of a blob."""
    digest = checked_digest(path["digest"])
    _file(visit, path["name"], digest)
    visit.depot.store.unlink(path["name"], digest)
    return web.Response(status=202)


def _file(visit: RequestContext, repository: str, digest: str) -> web.FileResponse:
    if not visit.depot.store.holds(repository, digest):
        raise Refused(404, "BLOB_UNKNOWN", "blob unknown to registry")
    return web.FileResponse(visit.depot.store.blob_path(digest), headers=_headers(digest))


def _headers(digest: str) -> dict[str, str]:
    return {"Docker-Content-Digest": digest, "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}


def _signature(visit: RequestContext, digest: str) -> str:
    return hmac.new(visit.depot.secret, digest.encode(), hashlib.sha256).hexdigest()

"""Lists: tags, and what refers to a manifest.

Source: distribution-spec v1.1.1, "Listing Tags", "Listing Referrers".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from ollama_push.testing.registry.grammar import checked_digest
from ollama_push.testing.registry.refused import Refused
from ollama_push.testing.registry.request_context import RequestContext
from ollama_push.testing.registry.store import StoredManifest

__all__ = ["ping", "referrers", "tags"]

_INDEX: Final = "application/vnd.oci.image.index.v1+json"


async def ping(_visit: RequestContext, _path: Mapping[str, str]) -> web.StreamResponse:
    """``GET /v2/``: a registry is here."""
    return web.json_response({}, headers={"Docker-Distribution-Api-Version": "registry/2.0"})


async def tags(visit: RequestContext, path: Mapping[str, str]) -> web.StreamResponse:
    """``GET …/tags/list``, by pages when ``n`` is given."""
    repository = path["name"]
    if not visit.depot.store.has_repository(repository):
        raise Refused(404, "NAME_UNKNOWN", "repository name not known to registry")
    last, text = visit.query("last"), visit.query("n")
    if text and not (text.isascii() and text.isdecimal()):
        raise Refused(400, "PAGINATION_NUMBER_INVALID", "n is no number")
    found = [tag for tag in visit.depot.store.tags(repository) if tag > last]
    page = found[: int(text)] if text else found
    answer = web.json_response({"name": repository, "tags": page})
    if page and len(page) < len(found):
        query = urlencode({"n": text, "last": page[-1]})
        answer.headers["Link"] = f'</v2/{repository}/tags/list?{query}>; rel="next"'
    return answer


async def referrers(visit: RequestContext, path: Mapping[str, str]) -> web.StreamResponse:
    """``GET …/referrers/DIGEST``: an index, empty when nothing refers to it."""
    digest = checked_digest(path["digest"])
    wanted = visit.query("artifactType")
    found = [_descriptor(manifest, digest) for manifest in visit.depot.store.manifests(path["name"])]
    kept = [entry for entry in found if entry is not None and wanted in ("", entry.get("artifactType"))]
    body = json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": kept})
    headers = {"Content-Type": _INDEX}
    if wanted:
        headers["OCI-Filters-Applied"] = "artifactType"
    # As bytes: aiohttp adds a charset to a text, and the type must be exactly this one.
    return web.Response(body=body.encode(), headers=headers)


def _descriptor(manifest: StoredManifest, subject: str) -> dict[str, Any] | None:
    """Return the descriptor of *manifest*; ``None`` when it does not refer to *subject*."""
    value = json.loads(manifest.raw)
    named = value.get("subject")
    if not isinstance(named, dict) or named.get("digest") != subject:
        return None
    entry: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": len(manifest.raw),
    }
    config = value.get("config")
    artifact_type = value.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else None)
    if artifact_type:
        entry["artifactType"] = artifact_type
    if value.get("annotations"):
        entry["annotations"] = value["annotations"]
    return entry

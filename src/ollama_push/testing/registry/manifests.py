"""Manifests: taken and given byte for byte.

Source: distribution-spec v1.1.1, "Pushing Manifests", "Pulling manifests", "Deleting Tags"; statuses as
distribution 3.0.0 gives them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from aiohttp import web

from ollama_push.testing.registry.grammar import checked_digest, is_digest, is_tag
from ollama_push.testing.registry.refused import Refused
from ollama_push.testing.registry.request_context import RequestContext
from ollama_push.testing.registry.store import StoredManifest

__all__ = ["delete", "get", "put"]

_MAX_BYTES: Final = 4 * 1024 * 1024


async def put(visit: RequestContext, path: Mapping[str, str]) -> web.StreamResponse:
    """``PUT`` of a manifest by tag or digest."""
    repository, reference = path["name"], _reference(path)
    raw = await visit.whole_body(_MAX_BYTES)
    value = _parsed(raw)
    announced = visit.request.headers.get("Content-Type", "")
    media_type = value.get("mediaType") or announced
    if not isinstance(media_type, str) or (announced and media_type != announced):
        raise Refused(400, "MANIFEST_INVALID", "mediaType and Content-Type disagree")
    manifest = StoredManifest(raw, media_type)
    if ":" in reference and manifest.digest != reference:
        raise Refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
    _check_parts(visit, repository, value)
    visit.depot.store.put_manifest(repository, manifest, None if ":" in reference else reference)
    headers = {
        "Location": f"{visit.base}/v2/{repository}/manifests/{manifest.digest}",
        "Docker-Content-Digest": manifest.digest,
    }
    subject = value.get("subject")
    if isinstance(subject, dict):
        headers["OCI-Subject"] = str(subject.get("digest", ""))
    return web.Response(status=201, headers=headers)


async def get(visit: RequestContext, path: Mapping[str, str]) -> web.StreamResponse:
    """``GET`` and ``HEAD`` of a manifest by tag or digest."""
    manifest = visit.depot.store.manifest(path["name"], _reference(path))
    if manifest is None:
        raise Refused(404, "MANIFEST_UNKNOWN", "manifest unknown to registry")
    if visit.depot.quirks.wrong_manifest:
        manifest = StoredManifest(manifest.raw + b"\n", manifest.media_type)
    headers = {"Docker-Content-Digest": manifest.digest, "Content-Type": manifest.media_type}
    return web.Response(body=manifest.raw, headers=headers)


async def delete(visit: RequestContext, path: Mapping[str, str]) -> web.StreamResponse:
    """``DELETE`` of a tag, or of a manifest with its tags."""
    if not visit.depot.store.delete_manifest(path["name"], _reference(path)):
        raise Refused(404, "MANIFEST_UNKNOWN", "manifest unknown to registry")
    return web.Response(status=202)


def _reference(path: Mapping[str, str]) -> str:
    reference = path["reference"]
    if ":" in reference:
        return checked_digest(reference)
    if not is_tag(reference):
        raise Refused(404, "MANIFEST_UNKNOWN", "no tag can be spelled like this")
    return reference


def _parsed(raw: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise Refused(400, "MANIFEST_INVALID", "the manifest is no JSON") from exc
    if not isinstance(value, dict):
        raise Refused(400, "MANIFEST_INVALID", "the manifest is no JSON object")
    return value


def _check_parts(visit: RequestContext, repository: str, value: Mapping[str, Any]) -> None:
    """Refuse a manifest that names what the repository does not have."""
    depot = visit.depot
    for descriptor in _descriptors(value, "config", "layers"):
        digest = descriptor.get("digest")
        # A layer with URLs is to be had elsewhere; an empty config is how Ollama writes none.
        if descriptor.get("urls") or (digest == "" and descriptor is value.get("config")):
            continue
        pretended = digest in depot.quirks.lies_about_blobs or digest in depot.quirks.loses_blobs
        if not isinstance(digest, str) or not is_digest(digest):
            raise Refused(400, "MANIFEST_INVALID", "a descriptor has no sha256 digest")
        if not pretended and not depot.store.holds(repository, digest):
            raise Refused(400, "MANIFEST_BLOB_UNKNOWN", f"blob unknown to registry: {digest}")
    for descriptor in _descriptors(value, "manifests"):
        digest = descriptor.get("digest")
        if not isinstance(digest, str) or not is_digest(digest):
            raise Refused(400, "MANIFEST_INVALID", "a descriptor has no sha256 digest")
        if depot.store.manifest(repository, digest) is None:
            raise Refused(400, "MANIFEST_BLOB_UNKNOWN", f"manifest unknown to registry: {digest}")


def _descriptors(value: Mapping[str, Any], *keys: str) -> Iterator[Mapping[str, Any]]:
    for key in keys:
        entries = value.get(key) or []
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, dict):
                raise Refused(400, "MANIFEST_INVALID", f"{key} holds what is no descriptor")
            yield entry

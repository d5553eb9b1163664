"""Manifests, stored and sent byte for byte, the lists of what refers to them, and the list of tags.

Source: distribution-spec v1.1.1, "Pushing Manifests", "Pulling manifests", "Deleting Tags", "Listing Referrers",
"Listing Tags"; statuses as distribution 3.0.0 sends them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from ollama_push.testing.registry.refused import Refused, is_digest, is_tag, require_digest
from ollama_push.testing.registry.request_context import RequestContext
from ollama_push.testing.registry.store import StoredManifest

__all__ = ["delete_manifest", "get_manifest", "list_referrers", "list_tags", "put_manifest"]

_MAX_BYTES: Final = 4 * 1024 * 1024
_INDEX: Final = "application/vnd.oci.image.index.v1+json"


async def put_manifest(context: RequestContext, repository: str, reference: str) -> web.StreamResponse:
    """``PUT`` of a manifest by tag or digest."""
    _require_reference(reference)
    if context.state.quirks.oci_manifests_only and "vnd.docker." in context.request.headers.get("Content-Type", ""):
        raise Refused(415, "MANIFEST_INVALID", "manifest invalid")
    raw = await context.whole_body(_MAX_BYTES)
    value = _parse(raw)
    announced = context.request.headers.get("Content-Type", "")
    media_type = value.get("mediaType") or announced
    if not isinstance(media_type, str) or (announced and media_type != announced):
        raise Refused(400, "MANIFEST_INVALID", "mediaType and Content-Type disagree")
    manifest = StoredManifest(raw, media_type)
    if ":" in reference and manifest.digest != reference:
        raise Refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
    _check_parts(context, repository, value)
    context.state.store.put_manifest(repository, manifest, None if ":" in reference else reference)
    headers = {
        "Location": f"{context.base}/v2/{repository}/manifests/{manifest.digest}",
        "Docker-Content-Digest": manifest.digest,
    }
    subject = value.get("subject")
    if isinstance(subject, dict):
        headers["OCI-Subject"] = str(subject.get("digest", ""))
    return web.Response(status=201, headers=headers)


async def get_manifest(context: RequestContext, repository: str, reference: str) -> web.StreamResponse:
    """``GET`` and ``HEAD`` of a manifest by tag or digest."""
    _require_reference(reference)
    manifest = context.state.store.manifest(repository, reference)
    if manifest is None:
        raise Refused(404, "MANIFEST_UNKNOWN", "manifest unknown to registry")
    if context.state.quirks.wrong_manifest:
        manifest = StoredManifest(manifest.raw + b"\n", manifest.media_type)
    headers = {"Docker-Content-Digest": manifest.digest, "Content-Type": manifest.media_type}
    return web.Response(body=manifest.raw, headers=headers)


async def delete_manifest(context: RequestContext, repository: str, reference: str) -> web.StreamResponse:
    """``DELETE`` of a tag, or of a manifest with its tags."""
    _require_reference(reference)
    if not context.state.store.delete_manifest(repository, reference):
        raise Refused(404, "MANIFEST_UNKNOWN", "manifest unknown to registry")
    return web.Response(status=202)


async def list_referrers(context: RequestContext, repository: str, digest: str) -> web.StreamResponse:
    """``GET …/referrers/DIGEST``: an index, empty when nothing refers to the manifest."""
    require_digest(digest)
    wanted = context.query("artifactType")
    found = [_referrer(manifest, digest) for manifest in context.state.store.manifests(repository)]
    kept = [entry for entry in found if entry is not None and wanted in ("", entry.get("artifactType"))]
    body = json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": kept})
    headers = {"Content-Type": _INDEX}
    if wanted:
        headers["OCI-Filters-Applied"] = "artifactType"
    # As bytes: aiohttp adds a charset to a text, and the type must be exactly this one.
    return web.Response(body=body.encode(), headers=headers)


async def list_tags(context: RequestContext, repository: str) -> web.StreamResponse:
    """``GET …/tags/list``, by pages when ``n`` is given."""
    store = context.state.store
    if not store.has_repository(repository):
        raise Refused(404, "NAME_UNKNOWN", "repository name not known to registry")
    last, text = context.query("last"), context.query("n")
    if text and not (text.isascii() and text.isdecimal()):
        raise Refused(400, "PAGINATION_NUMBER_INVALID", "n is no number")
    found = [tag for tag in store.tags(repository) if tag > last]
    page = found[: int(text)] if text else found
    response = web.json_response({"name": repository, "tags": page})
    if page and len(page) < len(found):
        query = urlencode({"n": text, "last": page[-1]})
        response.headers["Link"] = f'</v2/{repository}/tags/list?{query}>; rel="next"'
    return response


def _require_reference(reference: str) -> None:
    if ":" in reference:
        require_digest(reference)
    elif not is_tag(reference):
        raise Refused(404, "MANIFEST_UNKNOWN", "no tag can be spelled like this")


def _parse(raw: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise Refused(400, "MANIFEST_INVALID", "the manifest is no JSON") from exc
    if not isinstance(value, dict):
        raise Refused(400, "MANIFEST_INVALID", "the manifest is no JSON object")
    return value


def _check_parts(context: RequestContext, repository: str, value: Mapping[str, Any]) -> None:
    """Refuse a manifest that names what the repository does not have."""
    store, quirks = context.state.store, context.state.quirks
    for descriptor in _descriptors(value, "config", "layers"):
        # A layer with URLs is stored elsewhere; an empty config digest is how Ollama writes "no config".
        if descriptor.get("urls") or (descriptor.get("digest") == "" and descriptor is value.get("config")):
            continue
        digest = _digest_of(descriptor)
        pretended = digest in quirks.lies_about_blobs or digest in quirks.loses_blobs
        if not pretended and not store.holds(repository, digest):
            raise Refused(400, "MANIFEST_BLOB_UNKNOWN", f"blob unknown to registry: {digest}")
    for descriptor in _descriptors(value, "manifests"):
        digest = _digest_of(descriptor)
        if store.manifest(repository, digest) is None:
            raise Refused(400, "MANIFEST_BLOB_UNKNOWN", f"manifest unknown to registry: {digest}")


def _descriptors(value: Mapping[str, Any], *keys: str) -> Iterator[Mapping[str, Any]]:
    for key in keys:
        entries = value.get(key) or []
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, dict):
                raise Refused(400, "MANIFEST_INVALID", f"{key} holds what is no descriptor")
            yield entry


def _digest_of(descriptor: Mapping[str, Any]) -> str:
    digest = descriptor.get("digest")
    if not isinstance(digest, str) or not is_digest(digest):
        raise Refused(400, "MANIFEST_INVALID", "a descriptor has no sha256 digest")
    return digest


def _referrer(manifest: StoredManifest, subject: str) -> dict[str, Any] | None:
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

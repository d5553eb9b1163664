"""Serves ``GET /api/tags``: the local models, as a real server lists them.

Source: ollama ``server/routes.go`` ``ListHandler``, ``api/types.go`` ``ListModelResponse`` at fb3076099.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from ollama_push.client._lanes import Lane
from ollama_push.core.errors import InvalidSetting, OllamaPushError
from ollama_push.core.json_text import decode_json
from ollama_push.core.names import ModelName
from ollama_push.core.registry.manifests import manifest_path
from ollama_push.gateway.go_json import encode_go
from ollama_push.gateway.responses import json_response
from ollama_push.local import ModelStore

__all__ = ["add_tags"]

_MAX_CONFIG_BYTES: Final = 1024 * 1024


def add_tags(app: web.Application, store: ModelStore, lane: Lane) -> None:
    """Serve ``/api/tags`` from *app*; *lane* reads the store. Who asks while it is read gets the same list."""
    reading: asyncio.Future[bytes] | None = None

    async def tags(_request: web.Request) -> web.Response:
        nonlocal reading
        if reading is None or reading.done():
            reading = lane.start(lambda: encode_go({"models": _models(store)}))
        return json_response(200, await asyncio.shield(reading))

    app.router.add_get("/api/tags", tags)


def _models(store: ModelStore) -> list[dict[str, Any]]:
    """Return the models, the newest first. Damaged ones are left out; without a store there are none."""
    try:
        names = store.models()
    except InvalidSetting:
        return []
    found = [model for name in names if (model := _model(store, name)) is not None]
    return [model for _changed, model in sorted(found, key=lambda pair: -pair[0])]


def _model(store: ModelStore, name: ModelName) -> tuple[float, dict[str, Any]] | None:
    path = store.root / manifest_path(name)
    try:
        stored = store.load(name)
        changed = path.stat().st_mtime
        # The config is the last blob; in a model without one, that blob is not JSON.
        with stored.files[stored.manifest.blobs[-1].digest].path.open("rb") as file:
            config = _config(file.read(_MAX_CONFIG_BYTES))
    except (OllamaPushError, OSError, IndexError):
        return None
    shown = name.shortest
    return changed, {
        "name": shown,
        "model": shown,
        "modified_at": datetime.fromtimestamp(changed, UTC).isoformat().replace("+00:00", "Z"),
        "size": stored.manifest.total_bytes,
        "digest": stored.manifest.digest.removeprefix("sha256:"),
        "details": {
            "parent_model": "",
            "format": config.get("model_format", ""),
            "family": config.get("model_family", ""),
            "families": config.get("model_families"),
            "parameter_size": config.get("model_type", ""),
            "quantization_level": config.get("file_type", ""),
        },
    }


def _config(raw: bytes) -> Mapping[str, Any]:
    try:
        value = decode_json(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

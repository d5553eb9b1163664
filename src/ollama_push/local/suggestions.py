"""Words for a model that is not in the store: what is there instead, and how to push that."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ollama_push.core.names import ModelName

__all__ = ["not_found"]

_NEAREST: Final = 3


def not_found(name: ModelName, models: Sequence[ModelName], root: Path) -> str:
    """Return the message for *name*, which is not among the *models* of the store *root*."""
    text = f"there is no model {str(name)!r} in the store {root}"
    if not models:
        return f"{text}, which holds no models"
    twin = _same_model(name, models)
    if twin is not None:
        name_it = f"source={twin.shortest!r} (--from {twin.shortest})"
        return f"{text}; to push {twin.shortest!r} under this name, say {name_it}"
    near = difflib.get_close_matches(name.shortest, [model.shortest for model in models], _NEAREST)
    near = near or difflib.get_close_matches(name.model, [model.model for model in models], 1)
    return f"{text}; the nearest is {' or '.join(map(repr, near))}" if near else text


def _same_model(name: ModelName, models: Sequence[ModelName]) -> ModelName | None:
    """Find the model that was given another host, namespace or tag; the same tag is nearer than the same host."""
    same = [model for model in models if model.model.lower() == name.model.lower()]
    return max(
        same,
        key=lambda model: (model.tag.lower() == name.tag.lower(), model.is_default_host, model.namespace == "library"),
        default=None,
    )

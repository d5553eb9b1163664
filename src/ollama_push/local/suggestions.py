"""A model that is not in the store: what is there instead, and what of it could be pushed under that name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ollama_push.core.facts import ModelMissing
from ollama_push.core.names import DEFAULT_TAG, ModelName

__all__ = ["missing_model"]

_NEAREST: Final = 3


def missing_model(name: ModelName, models: Sequence[ModelName], root: Path) -> ModelMissing:
    """Return what is known of *name*, which is not among the *models* of the store *root*."""
    twin = _same_model(name, models)
    near = difflib.get_close_matches(name.shortest, [model.shortest for model in models], _NEAREST)
    near = near or difflib.get_close_matches(name.model, [model.model for model in models], 1)
    others = () if near or twin else tuple(model.shortest for model in models[:_NEAREST])
    return ModelMissing(
        name.shortest, str(root), not models, twin.shortest if twin else "", tuple(near), others, len(models)
    )


def _same_model(name: ModelName, models: Sequence[ModelName]) -> ModelName | None:
    """Find the model that was given another host or namespace; the same tag is nearer than the same host.

    Of other tags only the default one counts: to push another version under this name would publish other weights.
    """
    tags = (name.tag.lower(), DEFAULT_TAG)
    same = [model for model in models if model.model.lower() == name.model.lower() and model.tag.lower() in tags]
    return max(
        same,
        key=lambda model: (model.tag.lower() == name.tag.lower(), model.is_default_host, model.namespace == "library"),
        default=None,
    )

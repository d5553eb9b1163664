"""Which names of repositories, tags and digests are valid. A valid one is safe as a path on disk.

Source: distribution-spec v1.1.1, "Pulling manifests" (name, tag); image-spec v1.1, "Digests".
"""

from __future__ import annotations

import re
from typing import Final

from ollama_push.testing.registry.refused import Refused

__all__ = ["is_digest", "is_repository", "is_tag", "require_digest"]

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[a-f0-9]{64}")
_MAX_REPOSITORY: Final = 255


def is_repository(text: str) -> bool:
    """Say whether *text* can name a repository."""
    return len(text) <= _MAX_REPOSITORY and _REPOSITORY.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Say whether *text* can be a tag."""
    return _TAG.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    """Say whether *text* is a digest we can hold: sha256, lower case."""
    return _DIGEST.fullmatch(text) is not None


def require_digest(text: str) -> None:
    """Refuse *text* unless it is a digest we can hold.

    Raises:
        Refused: 400 ``DIGEST_INVALID``.
    """
    if not is_digest(text):
        raise Refused(400, "DIGEST_INVALID", "provided digest is not a sha256 digest")

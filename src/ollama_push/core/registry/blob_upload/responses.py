"""What a registry's answers to an upload mean: tables, and the reading of ``Range``.

Source: distribution-spec v1.1.1, "Pushing blobs"; deviations observed on distribution 2.8.2 and 3.0.0, crane's
registry, ghcr.io, ECR and others are noted where they matter.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Mapping
from typing import Final

from ollama_push.core.errors import OllamaPushError
from ollama_push.core.registry.error_responses import codes_in
from ollama_push.core.responses import BufferedResponse
from ollama_push.core.retry import TRANSIENT_STATUSES

__all__ = [
    "ABSENT",
    "AFTER_COMMIT",
    "AFTER_PART",
    "ANY_DEFINITE",
    "PRESENT",
    "Next",
    "RestartUpload",
    "bytes_arrived",
    "refuses_parts",
    "smallest_part",
]

# "0-N", on some registries "bytes=0-N"; "0--1" was seen for nothing at all.
_RANGE: Final = re.compile(r"(?:bytes[ =])?0-(-?[0-9]{1,18})")

PRESENT: Final = frozenset({200, 204, 206, 301, 302, 303, 307, 308})
"""Statuses of a ``HEAD`` on a blob that is there; a redirect leads to where it is stored."""

ABSENT: Final = frozenset({404, 405, 501})
"""Statuses of a blob that is not; or of a registry that has no ``HEAD``: then the upload itself will tell."""

ANY_DEFINITE: Final[Collection[int]] = frozenset(range(200, 600)) - TRANSIENT_STATUSES
"""Every status that asking again would not change."""


class Next(enum.Enum):
    """What to do after an answer to a body."""

    GO_ON = enum.auto()
    STORED = enum.auto()
    ASK_STATUS = enum.auto()
    BEGIN_ANEW = enum.auto()
    SEND_LESS = enum.auto()
    SEND_WHOLE = enum.auto()
    LOOK_WHETHER_STORED = enum.auto()


AFTER_PART: Final[Mapping[int, Next]] = {
    202: Next.GO_ON,
    204: Next.GO_ON,
    # ECR answers the last part so: apple/containerization#790
    201: Next.STORED,
    # Also a part that landed although its acknowledgement was lost.
    416: Next.ASK_STATUS,
    400: Next.ASK_STATUS,
    409: Next.ASK_STATUS,
    # A broken part killed the session (distribution 2.8), or it expired.
    404: Next.BEGIN_ANEW,
    410: Next.BEGIN_ANEW,
    413: Next.SEND_LESS,
    # No chunked uploads: Google Artifact Registry
    405: Next.SEND_WHOLE,
    501: Next.SEND_WHOLE,
}
AFTER_COMMIT: Final[Mapping[int, Next]] = {
    200: Next.STORED,
    201: Next.STORED,
    202: Next.STORED,
    204: Next.STORED,
    404: Next.LOOK_WHETHER_STORED,
    410: Next.LOOK_WHETHER_STORED,
    400: Next.ASK_STATUS,
    409: Next.ASK_STATUS,
    416: Next.ASK_STATUS,
    413: Next.SEND_LESS,
}


def refuses_parts(response: BufferedResponse) -> bool:
    """Say whether the registry takes a blob only whole."""
    return "UNSUPPORTED" in codes_in(response)


def bytes_arrived(response: BufferedResponse) -> int | None:
    """Return how many bytes ``Range`` says have arrived; ``None`` when it does not say.

    1 is ambiguous: distribution says "0-0" of an empty session as well as of one byte.
    """
    found = _RANGE.fullmatch(response.headers.get("range", "").strip())
    return None if found is None else max(0, int(found[1]) + 1)


class RestartUpload(Exception):
    """The session cannot be used any more, for the reason given; a setback, unless something was learned."""

    def __init__(self, reason: OllamaPushError, *, is_setback: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_setback = is_setback


def smallest_part(response: BufferedResponse) -> int:
    """Return how many bytes a part must have, but for the last one; 0 when the registry does not say."""
    minimum = response.headers.get("oci-chunk-min-length", "")
    return int(minimum[:18]) if minimum.isascii() and minimum.isdigit() else 0

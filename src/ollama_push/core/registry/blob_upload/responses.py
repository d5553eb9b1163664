"""What a registry's responses to an upload mean: tables, and the reading of ``Range``.

Source: distribution-spec v1.1.1, "Pushing blobs"; deviations observed on distribution 2.8.2 and 3.0.0, crane's
registry, ghcr.io, ECR and others are noted where they matter.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Mapping
from typing import Final

from ollama_push.core.errors import OllamaPushError
from ollama_push.core.registry.error_responses import codes_in, is_full
from ollama_push.core.responses import BufferedResponse
from ollama_push.core.retry import TRANSIENT_STATUSES

__all__ = [
    "AFTER_COMMIT",
    "AFTER_PART",
    "ANY_DEFINITE",
    "GATEWAY_STATUSES",
    "NO_LAST_PART",
    "NO_STATUS",
    "PRESENT",
    "TIMEOUT_STATUSES",
    "ClaimLost",
    "NextStep",
    "RestartUpload",
    "bytes_arrived",
    "denies",
    "is_decided",
    "refuses_parts",
    "smallest_part",
]

# "0-N", on some registries "bytes=0-N"; "0--1" was seen for nothing at all.
_RANGE: Final = re.compile(r"(?:bytes[ =])?0-(-?[0-9]{1,18})")

PRESENT: Final = frozenset({200, 204, 206, 301, 302, 303, 307, 308})
"""Statuses of a ``HEAD`` on a blob that is there; a redirect leads to where it is stored."""

ANY_DEFINITE: Final[Collection[int]] = frozenset(range(200, 600)) - TRANSIENT_STATUSES
"""Every status that a retry would not change."""


class NextStep(enum.Enum):
    """What to do after the response to a body."""

    CONTINUE = enum.auto()
    CONTINUE_HERE = enum.auto()
    """At the URL that the session had."""
    STORED = enum.auto()
    ASK_STATUS = enum.auto()
    RESTART = enum.auto()
    SEND_LESS = enum.auto()
    SEND_WHOLE = enum.auto()
    PROBE = enum.auto()


AFTER_PART: Final[Mapping[int, NextStep]] = {
    202: NextStep.CONTINUE,
    204: NextStep.CONTINUE,
    # ECR, to every part; it still wants the commit: apple/containerization#790, jdx/mise#11376
    201: NextStep.CONTINUE_HERE,
    # Also for a part that arrived although its acknowledgement was lost.
    416: NextStep.ASK_STATUS,
    400: NextStep.ASK_STATUS,
    409: NextStep.ASK_STATUS,
    # A broken part killed the session (distribution 2.8), or it expired.
    404: NextStep.RESTART,
    410: NextStep.RESTART,
    413: NextStep.SEND_LESS,
    # No chunked uploads: Google Artifact Registry
    405: NextStep.SEND_WHOLE,
    501: NextStep.SEND_WHOLE,
}
AFTER_COMMIT: Final[Mapping[int, NextStep]] = {
    200: NextStep.STORED,
    201: NextStep.STORED,
    202: NextStep.STORED,
    204: NextStep.STORED,
    404: NextStep.PROBE,
    410: NextStep.PROBE,
    400: NextStep.ASK_STATUS,
    409: NextStep.ASK_STATUS,
    416: NextStep.ASK_STATUS,
    413: NextStep.SEND_LESS,
}


GATEWAY_STATUSES: Final = frozenset({408, 499, 502, 504, 520, 522, 524})
"""What gateways say when a request took too long, or was too large for them (Caddy's body limit: 502)."""

TIMEOUT_STATUSES: Final = frozenset({408, 504, 522, 524})
"""What gateways say when they have stopped waiting. 522 and 524 are Cloudflare's."""

NO_LAST_PART: Final = frozenset({400, 405, 411, 415, 416, 422, 501})
"""What a registry may say to a last part in the closing ``PUT`` if it takes parts by ``PATCH`` only."""

NO_STATUS: Final = frozenset({400, 405, 501})
"""What a registry says to the question how far a living session is when it cannot tell. crane's says 400."""


def is_decided(response: BufferedResponse) -> bool:
    """Say whether no other form of the request helps: the registry computed another digest, or has no room left."""
    return "DIGEST_INVALID" in codes_in(response) or is_full(response)


def denies(response: BufferedResponse) -> bool:
    """Say whether the registry itself refuses a right; a firewall that knows no ``PATCH`` has no such codes."""
    return bool({"DENIED", "UNAUTHORIZED"}.intersection(codes_in(response)))


def refuses_parts(response: BufferedResponse) -> bool:
    """Say whether the registry takes a blob only whole."""
    return "UNSUPPORTED" in codes_in(response)


def bytes_arrived(response: BufferedResponse) -> int | None:
    """Return how many bytes ``Range`` says have arrived; ``None`` when it does not say.

    1 is ambiguous: distribution says "0-0" of an empty session as well as of one byte.
    """
    found = _RANGE.fullmatch(response.headers.get("range", "").strip())
    return None if found is None else max(0, int(found[1]) + 1)


class ClaimLost(Exception):
    """The claim of the upload has ended: this machine was stopped for longer than its lease."""


class RestartUpload(Exception):
    """The session cannot be used any more.

    Attributes:
        reason: Why.
        is_setback: Whether this counts as a failure; not when the next session will be used in another way.
    """

    def __init__(self, reason: OllamaPushError, *, is_setback: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_setback = is_setback


def smallest_part(response: BufferedResponse) -> int:
    """Return how many bytes a part must have, but for the last one; 0 when the registry does not say."""
    minimum = response.headers.get("oci-chunk-min-length", "")
    return int(minimum[:18]) if minimum.isascii() and minimum.isdigit() else 0

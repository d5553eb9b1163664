"""What a script can do with one connection."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import attrs

__all__ = ["Await", "Hangup", "Hold", "NextRequest", "Pause", "Reset", "Script", "Step"]


@attrs.frozen
class Pause:
    """Wait for so many seconds, or until the server stops."""

    seconds: float


@attrs.frozen
class Hold:
    """Keep the connection open and send nothing until the peer disconnects or the server stops.

    Attributes:
        seconds: Continue after this time at the latest.
    """

    seconds: float = math.inf


@attrs.frozen
class Await:
    """Wait until the event is set, or the server stops: a script that waits for its test.

    Attributes:
        event: What to wait for.
        seconds: Continue after this time at the latest.
    """

    event: threading.Event
    seconds: float = math.inf


@attrs.frozen
class NextRequest:
    """Read another request on this connection; a peer that disconnects instead ends the script."""


@attrs.frozen
class Reset:
    """Close the connection with RST."""


@attrs.frozen
class Hangup:
    """Close the connection with FIN and without (more of) a response. The end of every script does the same."""


Step = bytes | Pause | Hold | Await | NextRequest | Reset | Hangup
Script = Sequence[Step]

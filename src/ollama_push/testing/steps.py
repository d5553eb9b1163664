"""What a script may tell the scripted server to do with one connection."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import attrs

__all__ = ["Await", "Hangup", "Hold", "NextRequest", "Pause", "Reset", "Script", "Step"]


@attrs.frozen
class Pause:
    """Do nothing for so many seconds, or until the server stops."""

    seconds: float


@attrs.frozen
class Hold:
    """Keep the connection open without a byte until the peer hangs up or the server stops.

    Attributes:
        seconds: Go on after so long all the same.
    """

    seconds: float = math.inf


@attrs.frozen
class Await:
    """Go on when the event is set, or the server stops: a script that waits for its test.

    Attributes:
        event: What to wait for.
        seconds: Go on after so long all the same.
    """

    event: threading.Event
    seconds: float = math.inf


@attrs.frozen
class NextRequest:
    """Read another request on this connection; a peer that leaves instead ends the script."""


@attrs.frozen
class Reset:
    """Break the connection with RST."""


@attrs.frozen
class Hangup:
    """Close the connection in order (FIN). The end of every script does the same."""


Step = bytes | Pause | Hold | Await | NextRequest | Reset | Hangup
Script = Sequence[Step]

"""Results of the machines that are neither a value nor an error; compare with ``is``."""

from __future__ import annotations

import enum
from typing import Final, Literal

__all__ = ["NEED_DATA", "PUSH_OVER", "NeedData", "PushOver"]


class _Signal(enum.Enum):
    NEED_DATA = "need more bytes"
    PUSH_OVER = "the push is over"


NEED_DATA: Final = _Signal.NEED_DATA
"""Nothing to return until more bytes, or the end, were received."""

PUSH_OVER: Final = _Signal.PUSH_OVER
"""The terminal line was returned; nothing follows."""

NeedData = Literal[_Signal.NEED_DATA]
PushOver = Literal[_Signal.PUSH_OVER]

"""JSON texts to plain values and back.

Apart from ``wire``, which brings in cattrs: most who read JSON need none of it, and it takes as long to load as all
the rest of the core.
"""

from __future__ import annotations

import json
from typing import Any, Final

__all__ = ["MAX_COUNT", "bounded_count", "decode_json", "encode_json"]

MAX_COUNT: Final = 2**100
"""Far above what servers count (Go's ``int64``), and sums of it are numbers that a float holds."""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_JSON: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def decode_json(data: bytes) -> Any:
    """Return the JSON value in *data*, UTF-8, strictly: no NaN, no other encoding.

    Raises:
        ValueError: It is not JSON. The error holds nothing of *data*, unlike those of ``json`` and ``bytes.decode``.
    """
    try:
        text = data.decode()
        # decode() spends half its time on white space around the value, which servers do not send.
        value, end = _JSON.raw_decode(text) if text.startswith("{") else (None, -1)
        return value if end == len(text) else _JSON.decode(text)
    except RecursionError:
        problem = "nested too deeply"
    except ValueError as exc:
        problem = str(exc)
    raise ValueError(problem)


def bounded_count(value: int) -> int:
    """Return a count of a peer as one that can be added and drawn: 0 for less, ``MAX_COUNT`` for more."""
    # For every event of a push: quicker than min() and max().
    return value if 0 <= value <= MAX_COUNT else (MAX_COUNT if value > 0 else 0)


def encode_json(value: Any) -> bytes:
    """Return *value* as compact UTF-8 JSON with the key order given."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

"""JSON as a real server reads and writes it: only the first value of a body counts, and HTML's marks are escaped.

Source: Go ``encoding/json`` (``decode.go``, ``encode.go``) as of 1.26, and the recordings of Ollama 0.32.15. Where a
recording has Go's words for malformed JSON, they are used here; everything else has one general text.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["MalformedJson", "decode_first", "encode_go", "kind_of", "replace_surrogates"]

_FIRST_OF_A_VALUE: Final = '{["-0123456789tfn'
_KINDS: Final = {tuple: "object", list: "array", str: "string", float: "number", bool: "bool", type(None): "null"}
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_ESCAPED: Final = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}


class MalformedJson(ValueError):
    """A body does not begin with a JSON value; the text says why."""


def _refuse_constant(name: str) -> float:
    raise MalformedJson(f"malformed JSON: {name}")


# A tuple of pairs keeps a key that comes twice. Of numbers only the type matters: float() takes any number of digits,
# int() refuses more than 4,300 (CPython 3.11+).
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=tuple, parse_int=float, parse_float=float, parse_constant=_refuse_constant
)


def decode_first(data: bytes) -> Any:
    """Return the first JSON value in *data*; what follows it is not looked at.

    An object is a tuple of key and value pairs, a number a float. Bytes that are not UTF-8 are lone surrogates in the
    text, as halves of escaped pairs are: see ``replace_surrogates``.

    Raises:
        MalformedJson: There is no such value, or it is nested deeper than the interpreter can follow.
    """
    text = data.decode("utf-8", "surrogateescape").lstrip(" \t\r\n")
    if not text:
        raise MalformedJson("missing request body")
    if text[0] not in _FIRST_OF_A_VALUE:
        raise MalformedJson(f"invalid character {text[0]!r} looking for beginning of value")
    try:
        value, _end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as exc:
        # json.decoder reports a string without an end where the string begins.
        if exc.pos == len(text) or exc.msg.startswith("Unterminated string"):
            raise MalformedJson("unexpected EOF") from None
        raise MalformedJson(f"malformed JSON at character {exc.pos + 1}") from None
    except RecursionError:
        raise MalformedJson("malformed JSON: nested too deeply") from None
    return value


def kind_of(value: object) -> str:
    """Return Go's word for the type of a value that ``decode_first`` returned, such as ``"object"``."""
    return _KINDS[type(value)]


def replace_surrogates(text: str) -> str:
    """Return *text* with U+FFFD for every lone surrogate, as Go decodes and encodes it."""
    return _SURROGATES.sub("\ufffd", text)


def encode_go(value: Any) -> bytes:
    """Return *value* as ``json.Marshal`` writes it: compact, with HTML's marks escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return replace_surrogates(text).translate(_ESCAPED).encode()

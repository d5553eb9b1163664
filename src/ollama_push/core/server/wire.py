"""JSON to attrs classes and back: the only file that knows the keys.

cattrs structures strictly here (it coerces by default). A line that only repeats the one before, or
differs from one of its layer in the digits of ``completed`` alone, is the common case on the wire (a server ticks
every 60 ms) and is decoded without parsing it again; see ``LineDecoder``.

Source: ollama ``api/types.go`` ``ProgressResponse`` and ``PushRequest`` at fb3076099.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import attrs
import cattrs
from cattrs.errors import StructureHandlerNotFoundError

from ollama_push.core.errors import MalformedLine
from ollama_push.core.events import SUCCESS_STATUS, LayerProgress, PushEvent, PushSucceeded, StatusChanged
from ollama_push.core.json_text import bounded_count, decode_json
from ollama_push.core.peer_text import INSPECTED_CHARACTERS, SHOWN_CHARACTERS, clean
from ollama_push.core.secrets import Secrets

try:
    import msgspec  # the extra "speed"
except ImportError:
    _decode_plain_line = None  # absent: json alone decodes
else:

    class _PlainLine(msgspec.Struct, forbid_unknown_fields=True, gc=False):
        """A line as servers send them; msgspec takes no other, and no value of another type."""

        status: str
        digest: str = ""
        total: int = 0
        completed: int = 0

    _decode_plain_line = msgspec.json.Decoder(_PlainLine).decode

__all__ = ["ErrorLine", "LineDecoder"]

_EXCERPT: Final = 200  # characters of a malformed line that an error keeps
_INSPECTED_BYTES: Final = 4 * INSPECTED_CHARACTERS  # in UTF-8 at most
_DIGEST_CHARACTERS: Final = 200  # of a digest that a layer is known by; one in SHA-512 has 135
_BOM: Final = b"\xef\xbb\xbf"


@attrs.frozen
class ErrorLine:
    """The server's no, as it stands on the wire: ``{"error": "..."}``."""

    message: str


@attrs.define  # frozen would triple the cost of building one
class _WireLine:
    """One line's keys; ``null`` is the same as absent, as in Go."""

    status: str | None = None
    digest: str | None = None
    total: int | None = None
    completed: int | None = None


class _WrongType(ValueError):
    """A value has another JSON type than the protocol says."""


def _strict(kind: type) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _type: Any) -> Any:
        # "type is", because bool is an int.
        if value is None or type(value) is kind:
            return value
        raise _WrongType(f"expected {kind.__name__} or null, not {type(value).__name__}")

    return structure


def _build_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False)
    converter.register_structure_hook(str | None, _strict(str))
    converter.register_structure_hook(int | None, _strict(int))
    return converter


_structure_line: Final = _build_converter().get_structure_hook(_WireLine)


class LineDecoder:
    """Lines to events, one push's worth: it remembers the line before, and how lines of each layer begin.

    Remembering is exact, not a guess. Let a line that was decoded in full end with
    ``,"completed":DIGITS}``. A later line with the same bytes up to those digits, other digits and
    the same ``}`` differs from a decoded line in one number token only, so it must mean the same
    event with another ``completed``. The comma makes sure that the quote before ``completed`` opens a
    key, and ``}`` that the number ends the object.

    Args:
        secrets: Taken out of what a line says.
    """

    __slots__ = ("_beginnings", "_event", "_line", "_secrets")

    _KEY: Final = b',"completed":'
    # Above this many digits int() is not the same for every Python; no real counter is so long.
    _MAX_DIGITS: Final = 18
    # Of a line that is remembered, and of such lines: together about a megabyte. Those of servers have 140 bytes.
    _MAX_BEGINNING_BYTES: Final = 500
    _MAX_BEGINNINGS: Final = 2_000

    def __init__(self, secrets: Secrets | None = None) -> None:
        self._secrets = secrets or None
        self._line = b"\n"  # no line: equal to none
        self._event: PushEvent | ErrorLine = StatusChanged("")
        self._beginnings: dict[bytes, LayerProgress] = {}  # each ends with _KEY

    def decode(self, line: bytes) -> PushEvent | ErrorLine | None:
        """Return what *line* says; ``None`` for a blank one. The same line gives the same object.

        Raises:
            MalformedLine: It is no JSON object.
                It has neither status nor error.
                A value has the wrong type.
        """
        if line == self._line:
            return self._event
        start = line.rfind(self._KEY) + len(self._KEY)
        known = self._beginnings.get(line[:start])
        if known is not None:
            digits = line[start:-1]
            if digits.isdigit() and line.endswith(b"}") and len(digits) <= self._MAX_DIGITS and digits[0] != 48:  # noqa: PLR2004 - "0"
                event = LayerProgress(known.digest, known.total, int(digits), known.status)
                self._line = line
                self._event = event
                return event
        return self._decode_in_full(line, start)

    def _decode_in_full(self, line: bytes, start: int) -> PushEvent | ErrorLine | None:
        event = _decode_line(line)
        if event is None:
            return None
        if self._secrets is not None:
            event = self._secrets.hidden(event)
        self._line, self._event = line, event
        if type(event) is LayerProgress and start <= self._MAX_BEGINNING_BYTES:
            self._remember(line, start, event)
        return event

    def _remember(self, line: bytes, start: int, event: LayerProgress) -> None:
        if line[start:] == b"%d}" % event.completed and line.startswith(self._KEY, start - len(self._KEY)):
            if len(self._beginnings) >= self._MAX_BEGINNINGS:
                self._beginnings.clear()
            self._beginnings[line[:start]] = event


def _decode_line(line: bytes) -> PushEvent | ErrorLine | None:
    if _decode_plain_line is not None:
        try:
            plain = _decode_plain_line(line)
        # The first is no ValueError before msgspec 0.22; the second is that of a text that is not UTF-8.
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass  # json decides, so that the verdict does not depend on an optional package
        else:
            return _event_of(plain.status, plain.digest, plain.total, plain.completed)
    try:
        data = line.removeprefix(_BOM)
        return _to_event(decode_json(data)) if data.strip() else None
    except (ValueError, StructureHandlerNotFoundError) as exc:
        text = line[:_INSPECTED_BYTES].decode("utf-8", "replace")
        raise MalformedLine(clean(text)[:_EXCERPT], _explain(exc)) from exc


def _to_event(value: Any) -> PushEvent | ErrorLine:
    if type(value) is not dict:
        raise _WrongType(f"expected an object, not {type(value).__name__}")
    error = value.get("error")
    if error is not None:
        return ErrorLine(_well_formed(error if type(error) is str else json.dumps(error, ensure_ascii=False)))
    line: _WireLine = _structure_line(value, _WireLine)
    if line.status is None:
        raise _WrongType("neither status nor error")
    return _event_of(line.status, line.digest or "", line.total or 0, line.completed or 0)


def _event_of(status: str, digest: str, total: int, completed: int) -> PushEvent:
    status = _kept(status, SHOWN_CHARACTERS)
    if status == SUCCESS_STATUS:
        return PushSucceeded()
    if not digest:
        return StatusChanged(status)
    return LayerProgress(_kept(digest, _DIGEST_CHARACTERS), bounded_count(total), bounded_count(completed), status)


def _kept(text: str, limit: int) -> str:
    if not text.isascii():
        text = _well_formed(text)
    # It may hold a presigned URL; looked for only then, for speed.
    return clean(text, limit) if "=" in text or "://" in text or len(text) > limit else text


def _well_formed(text: str) -> str:
    """Replace lone surrogates, which JSON can escape and no stream can print, by U+FFFD as Go does."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _explain(exc: Exception) -> str:
    return str(exc) if isinstance(exc, _WrongType) else f"not JSON: {exc}"

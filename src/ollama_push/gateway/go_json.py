"""JSON as Go reads and writes it: its words for what is wrong, its first value only, its escapes.

Source: Go ``encoding/json`` (``scanner.go``, ``decode.go``, ``encode.go``) as of 1.26.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

import attrs

__all__ = ["GoSyntaxError", "Token", "encode_go", "members", "read_value", "text_of"]

_MAX_DEPTH: Final = 10_000
"""``maxNestingDepth`` in ``scanner.go``."""

_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_PLAIN: Final = re.compile(rb"[^\x00-\x1f\"\\]*")
_HEX: Final = b"0123456789abcdefABCDEF"
_LITERALS: Final[Mapping[bytes, bytes]] = {b"t": b"true", b"f": b"false", b"n": b"null"}
_KINDS: Final[Mapping[bytes, str]] = {
    b"{": "object",
    b"[": "array",
    b'"': "string",
    b"t": "bool",
    b"f": "bool",
    b"n": "null",
}
# What Go puts between quotes (strconv.Quote) where it is not the character itself.
_QUOTED: Final[Mapping[int, str]] = {
    7: r"\a",
    8: r"\b",
    9: r"\t",
    10: r"\n",
    11: r"\v",
    12: r"\f",
    13: r"\r",
    39: r"\'",
    92: r"\\",
}
_LAST_CONTROL: Final = 0x9F
_SOFT_HYPHEN: Final = 0xAD
_ESCAPED: Final = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


class GoSyntaxError(ValueError):
    """The bytes are no JSON; the text is Go's. Empty when there is nothing but white space."""


@attrs.frozen
class Token:
    """One value as it stands in the bytes.

    Attributes:
        kind: Go's word: ``object``, ``array``, ``string``, ``number``, ``bool`` or ``null``.
        raw: The bytes it is made of.
    """

    kind: str
    raw: bytes


def read_value(data: bytes) -> Token:
    """Return the first JSON value in *data*; what follows it is not looked at.

    Raises:
        GoSyntaxError: There is none.
    """
    scanner = _Scanner(data)
    scanner.skip_space()
    if scanner.at == len(data):
        raise GoSyntaxError
    return scanner.value()


def members(value: Token) -> Iterator[tuple[str, Token]]:
    """Yield the keys and values of an object that ``read_value`` returned, in the order of the bytes."""
    scanner = _Scanner(value.raw)
    scanner.at = 1
    scanner.skip_space()
    while scanner.peek() != b"}":
        key = scanner.value()
        scanner.skip_space()
        scanner.at += 1  # the colon
        scanner.skip_space()
        yield text_of(key), scanner.value()
        scanner.skip_space()
        if scanner.peek() == b",":
            scanner.at += 1
            scanner.skip_space()


def text_of(value: Token) -> str:
    """Return the text of a string; each byte that is no UTF-8, and each half of a pair, becomes U+FFFD."""
    text: str = json.loads(value.raw.decode("utf-8", "surrogateescape"))
    return _SURROGATES.sub("\ufffd", text)


def encode_go(value: Any) -> bytes:
    """Return *value* as ``json.Marshal`` writes it: compact, with HTML's marks escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _SURROGATES.sub("\ufffd", text).translate(_ESCAPED).encode()


class _Scanner:
    """Walks over JSON without recursion: how deep it is nested is the sender's choice."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def peek(self) -> bytes:
        """Return the next byte.

        Raises:
            GoSyntaxError: There is none.
        """
        if self.at >= len(self._data):
            raise GoSyntaxError("unexpected EOF")
        return self._data[self.at : self.at + 1]

    def skip_space(self) -> None:
        space = _SPACE.match(self._data, self.at)
        self.at = space.end() if space else self.at

    def value(self) -> Token:
        """Read one value, whatever is in it."""
        start = self.at
        kind = _KINDS.get(self.peek(), "number")
        open_ones = bytearray()  # "{" or "[" for each that is not closed yet
        while True:
            if not self._begin(open_ones):
                continue
            # A value has just ended, and with it perhaps what it is in.
            while open_ones and self._closes(open_ones):
                open_ones.pop()
            if not open_ones:
                return Token(kind, self._data[start : self.at])

    def _begin(self, open_ones: bytearray) -> bool:
        """Read a scalar or an opening mark; say whether a value has ended with it."""
        self.skip_space()
        mark = self.peek()
        if mark in (b"{", b"["):
            open_ones += mark
            if len(open_ones) > _MAX_DEPTH:
                raise GoSyntaxError("exceeded max depth")
            self.at += 1
            self.skip_space()
            if self.peek() == (b"}" if mark == b"{" else b"]"):
                self.at += 1
                open_ones.pop()
                return True
            if mark == b"{":
                self._key()
            return False
        self._scalar(mark)
        return True

    def _closes(self, open_ones: bytearray) -> bool:
        """Read what follows a value; say whether it closes the innermost, else the next value comes."""
        inside = open_ones[-1:]
        self.skip_space()
        mark = self.peek()
        if mark == b",":
            self.at += 1
            if inside == b"{":
                self.skip_space()
                self._key()
            return False
        if mark != (b"}" if inside == b"{" else b"]"):
            self._refuse("after object key:value pair" if inside == b"{" else "after array element")
        self.at += 1
        return True

    def _key(self) -> None:
        if self.peek() != b'"':
            self._refuse("looking for beginning of object key string")
        self._string()
        self.skip_space()
        if self.peek() != b":":
            self._refuse("after object key")
        self.at += 1

    def _scalar(self, mark: bytes) -> None:
        if mark == b'"':
            self._string()
        elif mark in _LITERALS:
            self._literal(_LITERALS[mark])
        elif mark == b"-" or mark.isdigit():
            self._number()
        else:
            self._refuse("looking for beginning of value")

    def _literal(self, literal: bytes) -> None:
        for letter in literal[1:]:
            self.at += 1
            if self.peek()[0] != letter:
                self._refuse(f"in literal {literal.decode()} (expecting {_quoted(letter)})")
        self.at += 1

    def _string(self) -> None:
        self.at += 1
        while True:
            plain = _PLAIN.match(self._data, self.at)
            self.at = plain.end() if plain else self.at
            mark = self.peek()
            if mark == b'"':
                self.at += 1
                return
            if mark != b"\\":
                self._refuse("in string literal")
            self.at += 1
            if self.peek() == b"u":
                for _ in range(4):
                    self.at += 1
                    if self.peek() not in _HEX:
                        self._refuse(r"in \u hexadecimal character escape")
            elif self.peek() not in b'"\\/bfnrt':
                self._refuse("in string escape code")
            self.at += 1

    def _number(self) -> None:
        if self.peek() == b"-":
            self.at += 1
            if not self.peek().isdigit():
                self._refuse("in numeric literal")
        if self.peek() == b"0":
            self.at += 1
        else:
            self._digits("in numeric literal")
        if self._next_is(b"."):
            self.at += 1
            self._digits("after decimal point in numeric literal")
        if self._next_is(b"eE"):
            self.at += 1
            if self.peek() in b"+-":
                self.at += 1
            self._digits("in exponent of numeric literal")

    def _digits(self, context: str) -> None:
        if not self.peek().isdigit():
            self._refuse(context)
        while self._next_is(b"0123456789"):
            self.at += 1

    def _next_is(self, marks: bytes) -> bool:
        return self.at < len(self._data) and self._data[self.at] in marks

    def _refuse(self, context: str) -> NoReturn:
        raise GoSyntaxError(f"invalid character {_quoted(self._data[self.at])} {context}")


def _quoted(byte: int) -> str:
    """Return one byte between quotes as ``quoteChar`` in ``scanner.go`` does: it is taken for a code point."""
    if byte in _QUOTED:
        shown = _QUOTED[byte]
    elif byte < ord(" ") or byte == 0x7F:  # noqa: PLR2004 - DEL
        shown = f"\\x{byte:02x}"
    elif 0x7F < byte <= _LAST_CONTROL or byte == _SOFT_HYPHEN:  # noqa: PLR2004 - DEL
        shown = f"\\u{byte:04x}"
    else:
        shown = chr(byte)
    return f"'{shown}'"

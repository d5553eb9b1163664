"""Takes the secrets of one push out of whatever a peer said back, in whatever form it quoted them.

A peer may quote what it was sent: in a body, a status line, the size of a chunk, a ``Location``, a challenge. All of it
reaches users in errors and events alone. So this is where it is looked for, not in each text on its way there.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import attrs

from ollama_push.core.redaction import HIDDEN, is_secret_header, is_secret_parameter

__all__ = ["Secrets"]

T = TypeVar("T")

_KEPT: Final = 200
"""Secrets of one push that pass: every part of an upload can have a signed URL of its own, every minute a token."""
_SHORTEST: Final = 4
"""Of a header or a query, a shorter value is no secret, and would be found in every other text."""
_CUT: Final = "..."

# A character as a URL, JSON and HTML have it; a URL may be quoted more than once.
_ESCAPE: Final = re.compile(
    r"%(?:25)*(?P<octet>[0-9A-Fa-f]{2})"
    r"|\\u(?P<pair>[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2})|\\u(?P<unit>[0-9A-Fa-f]{4})|\\(?P<mark>[\"\\/])"
    r"|&#(?P<number>[0-9]{1,7});?|&#[xX](?P<hex>[0-9A-Fa-f]{1,6});?|&(?P<name>amp|lt|gt|quot|apos);"
)
_NO_ESCAPE: Final = re.compile(r"(?!)")
_NAMED: Final[Mapping[str, str]] = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


class Secrets:
    """What must not be shown of one push: passwords, tokens, signatures. Safe to share between threads."""

    __slots__ = ("_compiled", "_forms")

    def __init__(self) -> None:
        # Each form that is looked for, and whether it passes. Every use of it is one step of CPython, or on a copy.
        self._forms: dict[bytes, bool] = {}
        self._compiled: tuple[tuple[bytes, ...], re.Pattern[bytes]] = ((), re.compile(rb"(?!)"))

    def __bool__(self) -> bool:
        return bool(self._forms)

    def add(self, *secrets: str, passing: bool = False) -> None:
        """Note *secrets*, each as it was given; empty ones are none. Of *passing* ones, the oldest are forgotten."""
        for secret in secrets:
            for form in {_plain(secret.encode("utf-8", "replace")), _unescaped(secret)[0]} - {b""}:
                self._forms[form] = self._forms.get(form, True) and passing
        if passing:
            for form in [form for form, passes in list(self._forms.items()) if passes][:-_KEPT]:
                self._forms.pop(form, None)

    def add_login(self, username: str, password: str) -> None:
        """Note a login: its password, and both together as RFC 7617 encodes them."""
        if password:
            pair = f"{username}:{password}".encode()
            encoded = [encode(data).decode().rstrip("=") for data in (pair, password.encode()) for encode in _BASE64]
            self.add(password, *(text for text in encoded if len(text) > _SHORTEST))

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """Note the values of those *headers* of a request that hold secrets."""
        for name, value in headers.items():
            if not is_secret_header(name):
                continue
            scheme, _, credentials = value.partition(" ")
            cookies = (pair.partition("=")[2] for pair in value.split("; ")) if name.lower() == "cookie" else ()
            self.add(*(text for text in (value, credentials, *cookies) if len(text) >= _SHORTEST), passing=True)
            if scheme.lower() == "basic":
                with suppress(binascii.Error, UnicodeDecodeError):
                    self.add_login(*base64.b64decode(credentials).decode().split(":", 1))

    def add_url(self, url: str) -> None:
        """Note the signature or token in the query of *url*."""
        for name, value in parse_qsl(url.partition("?")[2]):
            if is_secret_parameter(name) and len(value) > 2 * _SHORTEST:
                self.add(value, passing=True)

    def hide(self, text: str) -> str:
        """Return *text* without secrets, whether as they are or as URLs, JSON or HTML quote them, in any case."""
        if not self._forms:
            return text
        pattern = self._pattern()
        # An escape can stand just before a secret and take its first characters: both readings count.
        readings = [_unescaped(text, _NO_ESCAPE), _unescaped(text)]
        spans = [
            (places[found.start()], places[found.end()])
            for data, places in readings
            for found in pattern.finditer(data)
        ]
        parts, at = [], 0
        for start, end in sorted(spans):
            if start >= at:
                parts += [text[at:start], HIDDEN]
            at = max(at, end)
        rest = text[at:]
        return "".join([*parts, self._without_beginning(rest) if rest.endswith(_CUT) else rest])

    def hidden(self, value: T) -> T:
        """Return *value* without secrets in its texts, those in tuples, lists and attrs classes included."""
        changed = self._hidden(value) if self._forms else value
        return value if changed == value else changed

    def hide_in(self, error: BaseException) -> None:
        """Take secrets out of *error* and of everything it was made from.

        An exception of a library whose text holds them for good is unlinked from those made from it.
        """
        if not self._forms:
            return
        seen: dict[int, BaseException] = {}
        queue: list[object] = [error]
        while queue:
            link = queue.pop()
            if isinstance(link, BaseException) and id(link) not in seen:
                seen[id(link)] = link
                queue += [*link.args, *vars(link).values(), link.__cause__, link.__context__]
                self._hide_fields(link)
        for link in seen.values():
            if link.__cause__ is not None and self._shows(link.__cause__):
                link.__cause__ = None
            if link.__context__ is not None and self._shows(link.__context__):
                link.__context__ = None

    def _hidden(self, value: Any) -> Any:
        match value:
            case str():
                return self.hide(value)
            case bytes():
                return self.hide(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            case list():
                return [self._hidden(item) for item in value]
            # Not its subclasses: some take their fields one by one.
            case tuple() if type(value) is tuple:
                return tuple(self._hidden(item) for item in value)
            case _ if attrs.has(type(value)) and not isinstance(value, BaseException):
                given = {name: getattr(value, name) for name in _field_names(value)}
                return attrs.evolve(value, **{name: self._hidden(old) for name, old in given.items()})
        return value

    def _hide_fields(self, error: BaseException) -> None:
        # OSError keeps these two beside its args.
        names = _field_names(error) or [
            *vars(error),
            *(name for name in ("strerror", "filename") if hasattr(error, name)),
        ]
        for name in names:
            old = getattr(error, name)
            if (new := self.hidden(old)) is not old:
                setattr(error, name, new)
        # Of an attrs class, args are the fields as they were when it was built.
        error.args = self.hidden(error.args)

    def _shows(self, error: BaseException) -> bool:
        try:
            text = f"{error} {error!r} {error.args!r}"
        except Exception:  # noqa: BLE001 - an exception of any library
            return True
        return self.hide(text) != text

    def _pattern(self) -> re.Pattern[bytes]:
        forms, pattern = self._compiled
        if forms != (now := tuple(self._forms)):
            # The longest first, and all at once: nothing is looked for in what was put instead.
            longest_first = sorted(now, key=len, reverse=True)
            pattern = re.compile(b"(?:%b)=*" % b"|".join(map(re.escape, longest_first)))
            self._compiled = now, pattern
        return pattern

    def _without_beginning(self, text: str) -> str:
        """Return *text*, which was cut, without the beginning of a secret at its end."""
        data, places = _unescaped(text.removesuffix(_CUT))
        forms = tuple(self._forms)
        longest = max(map(len, forms))
        for size in range(min(len(data), longest), _SHORTEST - 1, -1):
            if any(form.startswith(data[-size:]) for form in forms):
                return f"{text[: places[len(data) - size]]}{HIDDEN}{_CUT}"
        return text


_BASE64: Final = (base64.b64encode, base64.urlsafe_b64encode)


def _field_names(value: object) -> list[str]:
    """Return the fields that an attrs class is built from; of any other class, none."""
    kind: Any = type(value)
    return [field.name for field in attrs.fields(kind) if field.init] if attrs.has(kind) else []


def _plain(data: bytes) -> bytes:
    # Hosts and some paths come back in lower case; in a query, "+" is a space.
    return data.lower().replace(b"+", b" ")


def _unescaped(text: str, escape: re.Pattern[str] = _ESCAPE) -> tuple[bytes, list[int] | range]:
    """Return the bytes that *text* quotes, and for each, and the end, where in *text* it stands."""
    escapes = list(escape.finditer(text))
    if text.isascii() and not escapes:
        return _plain(text.encode()), range(len(text) + 1)
    data, places, at = bytearray(), [], 0
    for found in [*escapes, None]:
        start, end = found.span() if found else (len(text), len(text))
        for place in range(at, start):
            octets = text[place].encode("utf-8", "replace")
            data += octets
            places += [place] * len(octets)
        if found:
            octets = _octets(found)
            data += octets
            places += [start] * len(octets)
        at = end
    return _plain(bytes(data)), [*places, len(text)]


def _octets(found: re.Match[str]) -> bytes:
    match found.lastgroup:
        case "octet":
            return bytes([int(found["octet"], 16)])
        case "pair":
            return bytes.fromhex(found["pair"].replace("\\u", "")).decode("utf-16-be").encode()
        case "mark":
            return found["mark"].encode()
        case "name":
            return _NAMED[found["name"]].encode()
        case group:
            number = int(found[str(group)], 10 if group == "number" else 16)
            return chr(min(number, 0x10FFFF)).encode("utf-8", "replace")

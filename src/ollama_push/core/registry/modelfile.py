"""Reads a Modelfile as ``ollama create`` does, character for character, and says what is to be made of it.

Source: ollama ``parser/parser.go`` and ``api/types.go`` (``FormatParams``) at v0.14.3.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from typing import Final

import attrs

__all__ = ["Message", "Modelfile", "ParameterValue"]

ParameterValue = int | float | bool | list[str]

_COMMANDS: Final = frozenset(
    {"from", "license", "template", "system", "adapter", "renderer", "parser", "parameter", "message", "requires"}
)
_EXPECTED: Final = "expected FROM, ADAPTER, TEMPLATE, SYSTEM, LICENSE, PARAMETER, MESSAGE, RENDERER, PARSER or REQUIRES"
_ROLES: Final = frozenset({"system", "user", "assistant"})
_BLANKS: Final = " \t"
_LINE_ENDS: Final = "\r\n"
_QUOTES: Final = '"""'
_LETTERS: Final = re.compile(r"[A-Za-z]*")
_NAME: Final = re.compile(r"[A-Za-z0-9_]*")
# semver of golang.org/x/mod: minor and patch may be left out.
_VERSION: Final = re.compile(
    r"v?(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)?)?", re.ASCII
)
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")
_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_MOST: Final = 2**63
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_IGNORED: Final = frozenset(
    {
        "f16_kv",
        "logits_all",
        "low_vram",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "penalize_newline",
        "use_mlock",
        "vocab_only",
    }
)
"""Parameters that Ollama still reads, warns of, and leaves out."""


@attrs.frozen
class Message:
    """A message that a conversation begins with.

    Attributes:
        role: ``"system"``, ``"user"`` or ``"assistant"``.
        content: Its text.
    """

    role: str
    content: str


@attrs.frozen
class Modelfile:
    """What a Modelfile says.

    Attributes:
        models: The paths of FROM, as written.
        adapter: The path of the last ADAPTER; empty without one.
        template: Of the last TEMPLATE; empty without one.
        system: Of the last SYSTEM; empty without one.
        licenses: Each LICENSE.
        parameters: Each PARAMETER, as the value that its kind has; ``stop`` is a list.
        messages: Each MESSAGE.
        renderer: Of the last RENDERER; empty without one.
        parser: Of the last PARSER; empty without one.
        requires: Of the last REQUIRES, without a leading ``v``; empty without one.
    """

    models: tuple[str, ...]
    adapter: str = ""
    template: str = ""
    system: str = ""
    licenses: tuple[str, ...] = ()
    parameters: Mapping[str, ParameterValue] = attrs.field(factory=dict)
    messages: tuple[Message, ...] = ()
    renderer: str = ""
    parser: str = ""
    requires: str = ""

    @classmethod
    def parse(cls, raw: bytes) -> Modelfile:
        """Read a Modelfile.

        Raises:
            ValueError: It is none; the text says where and why.
        """
        commands = _Reader(_decoded(raw)).commands()
        last = {command.name: command.value for command in commands}
        parameters: dict[str, ParameterValue] = {}
        for command in commands:
            if command.name == "parameter" and command.detail not in _IGNORED:
                _add_parameter(parameters, command)
        models = tuple(command.value for command in commands if command.name == "from")
        if not models:
            raise ValueError("there is no FROM")
        return cls(
            models,
            adapter=last.get("adapter", ""),
            template=last.get("template", ""),
            system=last.get("system", ""),
            licenses=tuple(command.value for command in commands if command.name == "license"),
            parameters=parameters,
            messages=tuple(Message(each.detail, each.value) for each in commands if each.name == "message"),
            renderer=last.get("renderer", ""),
            parser=last.get("parser", ""),
            requires=_version(last.get("requires", "")),
        )


@attrs.frozen
class _Command:
    """One command: ``detail`` is the name of a parameter, or the role of a message."""

    line: int
    name: str
    detail: str
    value: str


class _Reader:
    """Cuts the text of a Modelfile into commands."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def commands(self) -> list[_Command]:
        """Return the commands in order."""
        found = []
        while self._skip_to_command():
            start = self._at
            name = self._word(_LETTERS).lower()
            if not self._is_blank() or name not in _COMMANDS:
                raise ValueError(f"{self._place(start)}: {_unknown(name)}")
            self._at += 1
            detail = ""
            if name in ("parameter", "message"):
                detail = self._word(_NAME if name == "parameter" else _LETTERS)
                if not self._is_blank():
                    raise ValueError(f"{self._place(start)}: {name.upper()} {detail} lacks a value")
                self._at += 1
                if name == "message" and detail not in _ROLES:
                    raise ValueError(f"{self._place(start)}: the role of a message is system, user or assistant")
            found.append(_Command(self._line(start), name, detail, self._value(start)))
        return found

    def _skip_to_command(self) -> bool:
        while (char := self._peek()) and (char == "#" or char in _BLANKS + _LINE_ENDS):
            self._at = self._line_end() if char == "#" else self._at + 1
        return bool(char)

    def _value(self, start: int) -> str:
        """Read a value: it goes on over line ends for as long as a quotation is open."""
        begin = self._at
        while True:
            self._at = self._line_end()
            # Other characters that cannot be printed are left out, wherever they are.
            kept = (char for char in self._text[begin : self._at] if char in "\t\r\n" or char.isprintable())
            value = _unquoted("".join(kept).strip(_BLANKS + _LINE_ENDS))
            if value is not None:
                return value
            if not self._peek():
                raise ValueError(f"{self._place(start)}: a quotation is not closed")
            self._at += 1

    def _word(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        word = found[0] if found else ""
        self._at += len(word)
        return word

    def _is_blank(self) -> bool:
        return self._peek() in {*_BLANKS}

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _line_end(self) -> int:
        end = self._at
        while end < len(self._text) and self._text[end] not in _LINE_ENDS:
            end += 1
        return end

    def _line(self, at: int) -> int:
        return self._text.count("\n", 0, at) + 1

    def _place(self, at: int) -> str:
        return f"line {self._line(at)}"


def _decoded(raw: bytes) -> str:
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(encoding, "replace")
    return raw.decode("utf-8", "replace")


def _unknown(name: str) -> str:
    if name == "draft":
        return "DRAFT needs a newer server to make the model: use `ollama create`"
    return f"{name.upper()!r} is no command; {_EXPECTED}"


def _unquoted(text: str) -> str | None:
    """Return *text* without its quotation marks; ``None`` while they are open."""
    marks = _QUOTES if text.startswith(_QUOTES) else '"'
    if not text.startswith(marks):
        return text
    closed = len(text) >= 2 * len(marks) and text.endswith(marks)
    return text[len(marks) : -len(marks)] if closed else None


def _version(text: str) -> str:
    if text and not _VERSION.fullmatch(text):
        raise ValueError(f"REQUIRES {text}: expected a version, such as 0.14.0")
    return text.removeprefix("v")


def _add_parameter(parameters: dict[str, ParameterValue], command: _Command) -> None:
    read = _KINDS.get(command.detail)
    if read is None:
        raise ValueError(f"line {command.line}: there is no parameter {command.detail!r}")
    value = read(command.value)
    if value is None:
        raise ValueError(f"line {command.line}: {command.value!r} is no value for {command.detail}")
    before = parameters.get(command.detail)
    if isinstance(before, list) and isinstance(value, list):
        value = before + value
    parameters[command.detail] = value


def _integer(text: str) -> int | None:
    number = int(text) if _INTEGER.fullmatch(text) else _MOST
    return number if -_MOST <= number < _MOST else None


def _float(text: str) -> float | None:
    """Return the number as one of 32 bits, which Ollama's are."""
    if not _FLOAT.fullmatch(text):
        return None
    try:
        return float(struct.unpack("<f", struct.pack("<f", float(text)))[0])
    except OverflowError:
        return None


def _bool(text: str) -> bool | None:
    return True if text in _TRUE else False if text in _FALSE else None


def _texts(text: str) -> list[str]:
    return [text]


_Read = Callable[[str], ParameterValue | None]
_KINDS: Final[Mapping[str, _Read]] = {
    **dict.fromkeys(
        (
            "main_gpu",
            "num_batch",
            "num_ctx",
            "num_gpu",
            "num_keep",
            "num_predict",
            "num_thread",
            "repeat_last_n",
            "seed",
            "top_k",
        ),
        _integer,
    ),
    **dict.fromkeys(
        ("frequency_penalty", "min_p", "presence_penalty", "repeat_penalty", "temperature", "top_p", "typical_p"),
        _float,
    ),
    "stop": _texts,
    "use_mmap": _bool,
}

"""Secrets that options name a file for: its first line."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ollama_push.cli.addresses import system_message
from ollama_push.core.errors import InvalidSetting

__all__ = ["first_line"]

_MAX_BYTES: Final = 64 * 1024


def first_line(file: str, *, option: str, shown: str, called: str = "it") -> str:
    """Return the first line of *file*, which may be a pipe, without the line break; the rest is not read.

    Args:
        file: Path.
        option: What names it.
        shown: The value of *option*.
        called: What errors call the file.

    Raises:
        InvalidSetting: It cannot be read, its first line is not UTF-8, or too long.
    """
    try:
        with Path(file).open("rb") as lines:
            line = lines.readline(_MAX_BYTES + 1)
        text = line.decode("utf-8")
    except OSError as exc:
        raise InvalidSetting(option, shown, f"{called} cannot be read: {system_message(exc)}") from exc
    except UnicodeDecodeError:
        # Not chained: the exception holds the bytes.
        raise InvalidSetting(option, shown, f"{called} cannot be read: it is not UTF-8") from None
    if len(line) > _MAX_BYTES:
        raise InvalidSetting(option, shown, f"{called} has a first line of more than {_MAX_BYTES} bytes")
    return text.removesuffix("\n").removesuffix("\r")

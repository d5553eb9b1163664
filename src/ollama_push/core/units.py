"""Bytes, seconds, speeds and shares as text for people; every display uses these."""

from __future__ import annotations

from typing import Final

__all__ = ["bytes_text", "seconds_text", "share_text", "speed_text"]

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP: Final = 1000
_MINUTE: Final = 60


def bytes_text(count: float) -> str:
    """Return *count* bytes in decimal units, as Ollama and registries count."""
    size, unit = float(count), 0
    # Half a unit below: 999.96 kB would be rounded to 1000 kB.
    while size >= _STEP - 0.5 and unit < len(_UNITS) - 1:
        size, unit = size / _STEP, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 100 else f"{size:.1f} {_UNITS[unit]}"  # noqa: PLR2004


def seconds_text(seconds: float) -> str:
    """Return a duration: ``3.2 s``, ``2m05s``, ``1h02m``."""
    # 59.96 s would be rounded to 60.0 s.
    if seconds < _MINUTE - 0.05:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    if minutes < _MINUTE:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // _MINUTE}h{minutes % _MINUTE:02d}m"


def share_text(fraction: float) -> str:
    """Return a share in percent, rounded down: ``100%`` is for what is complete."""
    return f"{int(fraction * 100)}%"


def speed_text(bytes_per_second: float) -> str:
    """Return a speed: ``1.2 MB/s``."""
    return f"{bytes_text(bytes_per_second)}/s"

"""Sizes as people write them: ``16MiB``, ``64MB``, ``1000000``."""

from __future__ import annotations

import re
from typing import Final

import click

__all__ = ["parse_size", "rate_in_bytes", "size_in_bytes"]

_SIZE: Final = re.compile(r"(\d{1,15})\s*(?:([kmgt])(i?))?b?", re.IGNORECASE)
_POWERS: Final = "kmgt"


def parse_size(text: str) -> int:
    """Return the bytes that *text* means; 0 when it means none."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return 0
    number, prefix, binary = found.groups()
    power = _POWERS.index(prefix.lower()) + 1 if prefix else 0
    unit: int = (1024 if binary else 1000) ** power
    return int(number) * unit


def size_in_bytes(_context: click.Context, _option: click.Parameter, text: str) -> int:
    """Return the value of an option that is a size.

    Raises:
        click.BadParameter: It is none.
    """
    size = parse_size(text)
    if not size:
        raise click.BadParameter("expected a size above 0, such as 500GB, 64GiB or 1000000")
    return size


def rate_in_bytes(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """Return the value of an option that is a size per second; ``None`` where it is not given.

    Raises:
        click.BadParameter: It is none.
    """
    if text is None:
        return None
    rate = parse_size(text.removesuffix("/s"))
    if not rate:
        raise click.BadParameter("expected a size above 0, such as 10MB or 512KiB")
    return rate

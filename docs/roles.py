"""Drops reStructuredText roles (``:class:`` and others) from rendered docstrings; Markdown would print them."""

from __future__ import annotations

import re
from typing import Any, Final

_ROLE: Final = re.compile(r":(?:mod|class|meth|func|attr|data|exc):(?=<)")


def on_page_content(html: str, **_unused: Any) -> str:
    """Called by mkdocs with each page."""
    return _ROLE.sub("", html)

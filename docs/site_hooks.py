"""Puts the changes that are not released yet on top of the changelog, when mkdocs builds the pages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path(__file__).parents[1]
_DRAFT: Final = (sys.executable, "-m", "towncrier", "build", "--draft", "--version", "Unreleased", "--date", "draft")
_RELEASES: Final = "<!-- releases -->"


def on_page_markdown(markdown: str, page: Any, **_unused: Any) -> str:
    """Called by mkdocs with each page before it is rendered."""
    if page.file.src_uri != "changelog.md":
        return markdown
    draft = subprocess.run(_DRAFT, cwd=_ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S603 - ours
    return (_ROOT / "CHANGELOG.md").read_text("utf-8").replace(_RELEASES, draft)

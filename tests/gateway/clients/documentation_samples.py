"""Reads the samples of ``documentation_samples.md``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["sample"]

_SAMPLES: Final = re.compile(r"^## (?P<title>[^\n]+)\n\n```\w+\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def sample(title: str, port: int, **names: str) -> str:
    """Return the sample under *title* with our port, and with *names* instead of those it has."""
    page = Path(__file__).with_name("documentation_samples.md").read_text()
    code = {found["title"]: found["code"] for found in _SAMPLES.finditer(page)}[title]
    assert code.count("11434") == 1
    code = code.replace("11434", str(port))
    for written, ours in names.items():
        assert code.count(written) == 1
        code = code.replace(written, ours)
    return code

"""Whether the tools are here without which the other files of this folder are passed over."""

from __future__ import annotations

import pytest


def test_the_tools_of_the_group_release_are_here(missing_tools: list[str]) -> None:
    if missing_tools:
        pytest.skip(f"not installed: {', '.join(missing_tools)} (pip install --group release): nothing here was tested")

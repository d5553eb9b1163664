"""Every test here checks what is released, and most need tools of the group release, which not every lane installs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

_HERE: Final = Path(__file__).parent
# What test files import; programs are looked for by each test. The wheel on other Pythons, and the lowest versions,
# are tested with the group test alone.
MISSING: Final = [
    name
    for name in ("cyclonedx", "griffe", "hatchling", "hcl2", "rattler_build", "towncrier")
    if find_spec(name) is None
]

collect_ignore: Final = [file.name for file in _HERE.glob("test_*.py") if MISSING and file.name != "test_tools.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.release)


@pytest.fixture
def missing_tools() -> list[str]:
    return MISSING

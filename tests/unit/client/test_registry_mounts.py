"""The repository that blobs may be mounted from, as callers give it."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_push import RegistryClient
from ollama_push.core.errors import InvalidSetting


@pytest.mark.parametrize("value", ["", "Team/base", "reg.test:5000/team/base", "team/base:v1", 5])
def test_what_is_no_repository_cannot_be_mounted_from(value: Any) -> None:
    with pytest.raises(InvalidSetting, match="mount_from"):
        RegistryClient(mount_from=value)

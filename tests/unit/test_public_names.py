"""What the package exports, and what importing it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ollama_push
from ollama_push import client, transports
from ollama_push.contrib import metrics, progress

HEAVY = ("aiohttp", "asyncio", "urllib3")


def loaded_by(code: str) -> set[str]:
    report = f"import sys\n{code}\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(eval(done.stdout))  # our own list, printed a line above


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import ollama_push", set()),
        ("from ollama_push import PushClient", set()),
        ("from ollama_push import PushClient; PushClient()", {"urllib3"}),
        ("from ollama_push import AsyncPushClient", {"asyncio"}),
        ("from ollama_push import Urllib3Transport", {"urllib3"}),
        ("from ollama_push.contrib.logs import LogHook", set()),
        ("from ollama_push.contrib.progress import ProgressCallback", set()),
    ],
)
def test_only_what_is_used_is_loaded(code: str, expected: set[str]) -> None:
    assert loaded_by(code) == expected


@pytest.mark.parametrize("module", [ollama_push, client, transports, metrics, progress])
def test_every_public_name_is_there_once(module: object) -> None:
    names: list[str] = module.__all__  # type: ignore[attr-defined]  # each of them has one
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = module.Nonsense  # type: ignore[attr-defined]  # that is the point


def test_dir_lists_the_public_names() -> None:
    assert set(ollama_push.__all__) <= set(dir(ollama_push))

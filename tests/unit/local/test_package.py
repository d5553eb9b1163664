"""``ollama_push.local`` is cheap to import and says what it has."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ollama_push import local

_LATE = ("asyncio", "cryptography", "filelock", "platformdirs", "shutil", "subprocess", "ollama_push.local.store")


def test_importing_it_loads_nothing_that_may_not_be_needed() -> None:
    program = f"import sys, ollama_push.local; print([name for name in {_LATE!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "[]\n"


def test_using_it_loads_what_is_used() -> None:
    program = (
        "import sys; from ollama_push.local import *\n"
        "Credentials(environ={'HOME': '/nowhere'}).find('h'); FileResumeStore()\n"
        f"print([name for name in {_LATE!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert "asyncio" not in done.stdout
    assert "subprocess" not in done.stdout
    assert "filelock" not in done.stdout
    assert "cryptography" not in done.stdout


def test_every_public_name_is_there() -> None:
    assert local.__all__ == sorted(local.__all__)
    for name in local.__all__:
        assert getattr(local, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = local.Nonsense

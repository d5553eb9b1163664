"""The command ``ollama-push``; needs the extra ``cli`` (click, rich)."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command and exit with its code."""
    try:
        import click  # noqa: F401 - only to see whether it is there
    except ImportError:
        sys.stderr.write("the command needs more packages: pip install 'ollama-push[cli]'\n")
        sys.exit(2)
    from ollama_push.cli.app import run

    sys.exit(run(sys.argv[1:]))

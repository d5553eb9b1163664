"""The command ``ollama-push``; needs the extra ``cli`` (click, rich)."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command and exit with its code."""
    try:
        import click  # noqa: F401 - only to see whether it is there
        import rich  # noqa: F401 - likewise
    except ImportError:
        sys.stderr.write("the command needs more packages: pip install 'ollama-push[cli]'\n")
        sys.exit(2)
    from ollama_push.cli.app import run
    from ollama_push.cli.display.streams import escape_unencodable, log_handler, write_whole

    # Python sets a stream to None that its parent process closed (`2>&-`), which is no error.
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        escape_unencodable(stream)
    # Warnings of loggers that nobody configured, with what a peer said in them.
    logging.lastResort = log_handler("%(message)s", logging.WARNING)

    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        # Otherwise the interpreter flushes at its end what could not be written, fails, and exits with 120.
        write_whole(stream, "")
    sys.exit(code)

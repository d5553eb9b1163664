"""How the help of a command reads: options under headings, and examples below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

__all__ = ["HEADINGS", "HelpedCommand"]

HEADINGS: Final[Mapping[str, Sequence[str]]] = {
    "Server": ("--listen", "--token-file", "--token", "--max-pushes", "--no-ui", "--data", "--user", "--sign-uploads"),
    "Models": (
        "--from", "--models", "--list", "--all", "--all-tags", "--to", "--shard", "--jobs", "--report", "--continue",
        "--output", "--type", "--dry-run", "--private",
    ),
    "Registry": (
        "--direct", "--default-registry", "--allow", "--plain-http", "--insecure", "--no-verify", "--force-upload",
        "--mount-from",
    ),
    "Uploads": ("--concurrency", "--part-size", "--limit-rate", "--resume", "--no-resume"),
    "Pulls": (
        "--no-pull", "--public-host", "--pull-key-file", "--max-pulls", "--cache", "--cache-size", "--no-redirect",
    ),
    "Connections": (
        "--host", "--transport", "--header", "--timeout", "--stall-timeout", "--retries", "--max-wait", "--ca",
        "--cert", "--key", "--password-stdin",
    ),
    "Output": ("--progress", "--metrics-port", "--metrics-file", "--verbose", "--quiet", "--help"),
}  # fmt: skip
"""Every option of a command that has many, in the order in which they are shown."""

_FEW: Final = 8
"""So many options need no headings."""
_NARROW: Final = 60
"""Columns below which two columns of text leave too little for the second."""


class HelpedCommand(click.Command):
    """A command whose help shows options by what they are about, and examples.

    Args:
        examples: Lines as they are typed.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = {
            max(parameter.opts, key=len): row
            for parameter in self.get_params(ctx)
            if (row := parameter.get_help_record(ctx)) is not None
        }
        headings = {"Options": [*rows]} if len(rows) <= _FEW else HEADINGS
        for heading, options in headings.items():
            if shown := [rows[option] for option in options if option in rows]:
                with formatter.section(heading):
                    # Where it is narrow, a text stands below its option.
                    formatter.write_dl(shown, col_max=30 if formatter.width >= _NARROW else 4)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                # Not wrapped: they are to be copied.
                for line in self.examples:
                    formatter.write(f"{' ' * formatter.current_indent}{line}\n")
        super().format_epilog(ctx, formatter)

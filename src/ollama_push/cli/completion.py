"""``ollama-push completion``: the script with which a shell completes the command."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ollama_push.cli.display.streams import report
from ollama_push.cli.help_text import HelpedCommand

__all__ = ["completion"]


@click.command(
    cls=HelpedCommand,
    short_help="Print a completion script for a shell.",
    examples=[
        "source <(ollama-push completion bash)",
        "ollama-push completion zsh > ~/.zfunc/_ollama-push",
        "ollama-push completion fish > ~/.config/fish/completions/ollama-push.fish",
    ],
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a completion script for SHELL."""
    kind = get_completion_class(shell)
    root = context.find_root()
    name = root.info_name or "ollama-push"
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    report(*kind(root.command, {}, name, f"_{name}_COMPLETE".replace("-", "_").upper()).source().split("\n"))

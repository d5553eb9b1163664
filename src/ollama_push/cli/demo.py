"""``ollama-push demo``: the real thing to watch, where there is no Ollama."""

from __future__ import annotations

import click

__all__ = ["demo"]


@click.command()
def demo() -> None:
    """Push a small model to a registry, through a gateway and straight, sync and async.

    Model, gateway and registry are made on the spot, in temporary folders and on loopback, and gone at the end.
    """
    from ollama_push.cli.demo_run import demonstrate

    demonstrate()

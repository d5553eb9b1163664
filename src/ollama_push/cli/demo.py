"""``ollama-push demo``: a push to watch where there is no Ollama.

An embedded server replays what a real one sent, byte for byte and at its own pace.
"""

from __future__ import annotations

import asyncio
from importlib.resources import as_file, files
from typing import Final

import click

from ollama_push.cli.display import new_display
from ollama_push.client import AsyncPushClient, PushClient
from ollama_push.core.names import ModelName
from ollama_push.core.receipts import PushReceipt
from ollama_push.testing.recordings import Recording
from ollama_push.testing.server import ScriptedServer

__all__ = ["demo"]

_MODEL: Final = "myuser/my-llama"
_TOTAL_BYTES: Final = 40_001_744
"""The sum of the recorded layers, which a real server would say in ``/api/tags``."""


@click.command()
def demo() -> None:
    """Watch a push recorded from a real server, replayed at its own pace: sync, then async."""
    with as_file(files("ollama_push.testing") / "data" / "success_slow.json") as path:
        recording = Recording.load(path)
    name = str(ModelName.parse(_MODEL))
    with ScriptedServer(recording.at_its_own_pace()) as server:
        click.echo(f"embedded server: {server.url}\nreplays a push to: {recording.server}", err=True)

        click.echo(f"\n--- PushClient().push({_MODEL!r})", err=True)
        display = new_display("auto", name, _TOTAL_BYTES)
        with PushClient(server.url, hooks=[display]) as client:
            receipt = client.push(_MODEL)
        display.succeeded(receipt)

        async def push_async() -> PushReceipt:
            async with AsyncPushClient(server.url, hooks=[display]) as client:
                return await client.push(_MODEL)

        click.echo(f"\n--- await AsyncPushClient().push({_MODEL!r})", err=True)
        display = new_display("auto", name, _TOTAL_BYTES)
        receipt = asyncio.run(push_async())
        display.succeeded(receipt)
    click.echo(
        "\nnext, with an Ollama server running:\n"
        f"  ollama-push check {_MODEL}\n"
        f"  ollama-push push {_MODEL}\n"
        f"  ollama-push push {_MODEL} --progress json",
        err=True,
    )

"""``ollama-push check``: what is known before a push, and whether it can succeed."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ollama_push.cli import exit_codes
from ollama_push.cli.client_runner import ClientRunner
from ollama_push.cli.connection import Settings, connect, connection_options
from ollama_push.cli.direct import DirectSettings, connect_directly, credentials_of, direct_options
from ollama_push.cli.display.streams import report, say
from ollama_push.cli.messages import USUAL
from ollama_push.cli.reports import model_text, plan_lines, readiness_lines
from ollama_push.client import PushClient, RegistryClient
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.hosts import is_ollama_cloud
from ollama_push.core.registry.credentials import Signer
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.registry.target import direct_name
from ollama_push.local import Credentials

__all__ = ["check"]


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@direct_options("source", "models", "plain_http", "concurrency")
@connection_options
def check(names: Sequence[str], settings: Settings, direct: DirectSettings | None) -> int:
    """Check whether a push of NAME can succeed, without an upload.

    Checks the name, the connection to the server, the model and its size there, and for Ollama's own registry the
    account that the server is signed in with. With --direct, checks the local model, which of its blobs the registry
    already has, and the permission to push there.
    """
    if direct is None:
        with connect(settings) as server:
            codes = [_check(server, name) for name in names]
    else:
        with connect_directly(settings, direct) as registry:
            codes = [_check_directly(registry, direct, name, credentials_of(settings)) for name in names]
    return next(filter(None, codes), exit_codes.OK)


def _check(server: ClientRunner[PushClient], name: str) -> int:
    readiness = server.run(lambda client: client.check(name))
    problem = next(iter(readiness.problems), None)
    _tell(readiness.model, readiness_lines(readiness), is_ready=problem is None)
    return exit_codes.OK if problem is None else exit_codes.exit_code(problem)


def _check_directly(
    registry: ClientRunner[RegistryClient], direct: DirectSettings, name: str, credentials: Credentials
) -> int:
    lines = []
    try:
        parsed = direct_name(name, plain_http=direct.plain_http)
        name = str(parsed)
        lines.append(f"registry: {Endpoint.of(parsed.host, plain_http=direct.plain_http).origin}")
        if is_ollama_cloud(parsed.host) and isinstance(signer := credentials.find(parsed.host), Signer):
            lines.append(f"key: ssh-ed25519 {signer.public_key}")
        lines += plan_lines(registry.run(lambda client: client.plan(parsed, source=direct.source)))
    except OllamaPushError as problem:
        _tell(name, [*lines, f"problem: {USUAL.format(problem)}"], is_ready=False)
        return exit_codes.exit_code(problem)
    _tell(name, lines, is_ready=True)
    return exit_codes.OK


def _tell(model: str, lines: Sequence[str], *, is_ready: bool) -> None:
    if lines:
        report(*lines)
    say(f"{model_text(model)}: {'ready' if is_ready else 'not ready'}")

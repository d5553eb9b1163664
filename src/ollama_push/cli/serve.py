"""``ollama-push serve``: the gateway, through which clients of Ollama's API push straight to registries."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from socket import gaierror
from typing import TYPE_CHECKING, Final

import click

from ollama_push.cli.addresses import parse_address, system_message
from ollama_push.cli.connection import CERT_OPTION, client_cert
from ollama_push.cli.display.streams import log_handler, say, tell
from ollama_push.cli.help_text import HelpedCommand
from ollama_push.cli.resume import RESUME_OPTION, new_resume_store, new_shared_pushes, unkept_text
from ollama_push.cli.secret_files import first_line
from ollama_push.cli.sizes import rate_in_bytes, size_in_bytes
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.hosts import is_loopback
from ollama_push.core.names import DEFAULT_HOST
from ollama_push.core.server.address import DEFAULT_PORT
from ollama_push.core.units import bytes_text

if TYPE_CHECKING:
    from ollama_push.gateway import GatewaySettings
    from ollama_push.local import ModelStore

__all__ = ["serve_command", "welcome_lines"]

_KEY_CHARACTERS: Final = 32
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - as they are shown, not listened on


@click.command(
    "serve",
    cls=HelpedCommand,
    short_help="Push and pull for any client of Ollama.",
    examples=[
        "ollama-push serve --default-registry registry.example.com",
        "ollama-push serve --listen 127.0.0.1:11435 --allow ghcr.io",
    ],
)
@click.option(
    "--listen",
    default=f"127.0.0.1:{DEFAULT_PORT}",
    show_default=True,
    metavar="[ADDRESS:]PORT",
    help="The default is Ollama's own address; port 0 is a free port.",
)
@click.option("--models", metavar="DIR", help="Ollama's model store; default: OLLAMA_MODELS, else Ollama's default.")
@click.option("--default-registry", metavar="HOST[/PATH]", help="Registry for names without a host; default: Ollama's.")
@click.option("--allow", multiple=True, metavar="HOST", help="Use this registry only; may be repeated.")
@click.option("--plain-http", is_flag=True, help="Use plain HTTP for every registry.")
@click.option("--token-file", metavar="FILE", help="Require the bearer token on the first line of FILE.")
@click.option("--token", metavar="TEXT", help="The token; other users can read command lines: prefer --token-file.")
@click.option(
    "--max-pushes",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    metavar="N",
    help="Number of parallel pushes.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    metavar="N",
    help="Number of parallel blobs of a push.",
)
@click.option(
    "--limit-rate",
    callback=rate_in_bytes,
    metavar="SIZE",
    help="Bytes per second at most, such as 10MB, for all pushes together.",
)
@RESUME_OPTION
@click.option("--no-pull", is_flag=True, help="Do not serve pulls.")
@click.option(
    "--public-host",
    metavar="HOST",
    help="Another name of this gateway, which `ollama pull` is sent to for blobs; default: the loopback's other one.",
)
@click.option(
    "--pull-key-file",
    metavar="FILE",
    help="Sign the addresses of blobs with the first line of FILE, which gateways at one address share.",
)
@click.option(
    "--max-pulls",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    metavar="N",
    help="Number of manifests and blobs that are sent at the same time.",
)
@click.option("--cache", metavar="DIR", help="Keep pulled blobs in DIR; default: keep none.")
@click.option(
    "--cache-size",
    default="100GB",
    show_default=True,
    callback=size_in_bytes,
    metavar="SIZE",
    help="With --cache: the most that it keeps.",
)
@click.option("--no-verify", is_flag=True, help="Do not verify the model in the registry after a push.")
@click.option("--no-ui", is_flag=True, help="Do not serve the status page.")
@click.option("--ca", metavar="FILE", help="PEM file of CAs to trust in addition to the system's.")
@CERT_OPTION
@click.option("--key", metavar="FILE", help="With --cert: its private key, if it is not in the same file.")
@click.option("-v", "--verbose", is_flag=True, help="Log each request to stderr, without secrets.")
def serve_command(
    *,
    listen: str,
    models: str | None,
    default_registry: str | None,
    allow: Sequence[str],
    token_file: str | None,
    token: str | None,
    max_pushes: int,
    concurrency: int,
    limit_rate: int | None,
    resume: str | None,
    public_host: str | None,
    pull_key_file: str | None,
    max_pulls: int,
    cache: str | None,
    cache_size: int,
    ca: str | None,
    cert: str | None,
    key: str | None,
    plain_http: bool,
    no_pull: bool,
    no_verify: bool,
    no_ui: bool,
    verbose: bool,
) -> int:
    """Respond to POST /api/push as an Ollama server does, and push straight to the registry; serve pulls from there.

    Clients of Ollama's API need no change: set their OLLAMA_HOST to the address of the gateway. Ctrl-C or SIGTERM
    interrupts pushes after the part under way, a second one cancels them at once; the next push of a model resumes.

    `ollama pull --insecure http://GATEWAY/NAMESPACE/MODEL` gets a model from the registry, whatever that asks for.
    """
    from ollama_push.gateway import GatewaySettings, origins_from, serve
    from ollama_push.local import ModelStore

    if token is not None and token_file is not None:
        raise click.UsageError("give one of --token and --token-file, better the file")
    host, port = _address(listen)
    with _named_as_options(listen, token_file):
        store = ModelStore(models)
        empty = _is_empty(store)
        settings = GatewaySettings(
            store=store,
            plain_http=plain_http,
            default_registry=default_registry,
            allow=tuple(allow),
            token=token if token_file is None else _token_in(token_file),
            origins=origins_from(os.environ),
            max_pushes=max_pushes,
            concurrency=concurrency,
            max_bytes_per_second=limit_rate,
            verify=not no_verify,
            resume=new_resume_store(resume),
            shared=new_shared_pushes(resume),
            pull=not no_pull,
            public_host=public_host,
            pull_key=None if pull_key_file is None else _pull_key_in(pull_key_file),
            max_pulls=max_pulls,
            cache=cache,
            cache_bytes=cache_size,
            ui=not no_ui,
            loopback=is_loopback(host),
            ca_file=ca,
            client_cert=client_cert(cert, key),
        )

        def started(address: str, port: int) -> None:
            lines = welcome_lines(settings, address, port, empty=empty)
            # In the next turn of the loop, when the gateway handles signals: a reader may send one at once.
            asyncio.get_running_loop().call_soon(partial(say, *lines))

        with _logs(verbose=verbose):
            asyncio.run(serve(settings, host, port, started=started))
    tell(sys.stderr, "ended")
    return 0


def welcome_lines(settings: GatewaySettings, address: str, port: int, *, empty: bool = False) -> list[str]:
    """Return what a user should know about a gateway that listens on *address*; *empty* says that its store is."""
    shown = _WILDCARDS.get(address, address)
    url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    lines = [f"gateway: {url}" if shown == address else f"gateway: {url}, and on every other address of this machine"]
    lines.append(f"models: {settings.store.root.absolute()}{', none there yet' if empty else ''}")
    if settings.default_registry is None:
        lines.append(f"names without a host go to: {DEFAULT_HOST}, Ollama's; --default-registry changes that")
    else:
        lines.append(f"names without a host go to: {settings.default_registry}")
    if settings.allow:
        lines.append(f"pushes go only to: {', '.join(settings.allow)}")
    if settings.pull:
        lines += _pull_lines(settings, url)
    if settings.ui:
        lines.append(f"status page: {url}/ui")
    if find_spec("prometheus_client") is not None:
        lines.append(f"metrics: {url}/metrics")
    lines.append(f"clients need: OLLAMA_HOST={url}{'' if settings.token is None else ' and the token'}")
    if not settings.loopback:
        lines.append(f"warning: {_exposure(settings)}")
    if settings.resume is not None and (warning := unkept_text(settings.resume)):
        lines.append(warning)
    return [*lines, "Ctrl-C ends it."]


def _pull_lines(settings: GatewaySettings, url: str) -> list[str]:
    lines = [f"pull with: ollama pull --insecure {url}/NAMESPACE/MODEL"]
    if settings.token is not None:
        lines = ["pulls need the token: `ollama pull` cannot send it, clients of registries can, as a password"]
    elif not settings.loopback and settings.public_host is None:
        lines = ["pulls: for clients of registries alone; `ollama pull` also needs --public-host"]
    if settings.cache is not None:
        lines.append(f"pulled blobs are kept in: {settings.cache}, {bytes_text(settings.cache_bytes)} at most")
    return lines


def _exposure(settings: GatewaySettings) -> str:
    if settings.token is None:
        return (
            "other machines can reach this address, and no token is asked for: everybody there can push your models"
            f"{' and pull others' if settings.pull else ''} with your logins. Use --token-file, and TLS in front"
        )
    return "other machines can reach this address, and the token travels in the clear: put TLS in front"


def _is_empty(store: ModelStore) -> bool:
    """Say whether *store* is an empty folder, which an Ollama is going to fill.

    Raises:
        InvalidSetting: It is not a model store.
    """
    try:
        store.models()
    except InvalidSetting:
        if not _holds_nothing(store.root):
            raise
        return True
    return False


def _holds_nothing(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:
        return False


def _token_in(file: str) -> str:
    token = first_line(file, option="--token-file", shown=file).strip()
    if not token:
        raise InvalidSetting("--token-file", file, "it holds no token on its first line")
    return token


def _pull_key_in(file: str) -> bytes:
    text = first_line(file, option="--pull-key-file", shown=file).strip()
    if len(text) < _KEY_CHARACTERS:
        problem = f"its first line has fewer than {_KEY_CHARACTERS} characters, such as of `openssl rand -hex 32`"
        raise InvalidSetting("--pull-key-file", file, problem)
    return text.encode("utf-8", "surrogateescape")


def _address(listen: str) -> tuple[str, int]:
    host, port = parse_address("--listen", listen)
    try:
        host.encode("idna")
    except UnicodeError as exc:
        raise InvalidSetting("--listen", listen, "its address is neither one nor a host name") from exc
    return host, port


def _words_of(exc: BaseException | None) -> str:
    return system_message(exc) if isinstance(exc, OSError) else str(exc).lower()


@contextmanager
def _named_as_options(listen: str, token_file: str | None) -> Iterator[None]:
    """Name the options of this command in errors about them."""
    try:
        yield
    except InvalidSetting as exc:
        if exc.setting == "token" and token_file is not None:
            raise InvalidSetting("--token-file", token_file, f"its first line is no token; {exc.problem}") from exc
        if exc.setting != "listen":
            raise
        if isinstance(exc.__cause__, gaierror):
            problem = "no address of this machine is known by that name"
            raise InvalidSetting("--listen", listen, problem) from exc
        problem = f"cannot listen there: {_words_of(exc.__cause__)}; choose another"
        if listen.endswith(f":{DEFAULT_PORT}"):
            problem = f"{problem}, such as 127.0.0.1:{DEFAULT_PORT + 1}: this one is an Ollama's"
        raise InvalidSetting("--listen", listen, problem) from exc


@contextmanager
def _logs(*, verbose: bool) -> Iterator[None]:
    """Log each push at its end, and with *verbose* each request, to stderr."""
    from ollama_push.gateway.push_history import PUSH_LOGGER
    from ollama_push.gateway.server import ACCESS_LOGGER

    handler = log_handler("%(asctime)s %(message)s")
    loggers = [PUSH_LOGGER, *([ACCESS_LOGGER] if verbose else [])]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.removeHandler(handler)

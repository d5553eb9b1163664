"""``ollama-push registry``: a small registry for tests and demos."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ollama_push.cli.addresses import parse_address, system_message
from ollama_push.cli.display.streams import say
from ollama_push.cli.help_text import HelpedCommand
from ollama_push.cli.secret_files import first_line
from ollama_push.core.errors import InvalidSetting

__all__ = ["registry"]


@click.command(
    cls=HelpedCommand,
    short_help="Run a small registry, until Ctrl-C.",
    examples=["ollama-push registry", "ollama-push registry --data ./registry --user me:password.txt"],
)
@click.option(
    "--listen",
    default="127.0.0.1:5000",
    show_default=True,
    metavar="[ADDRESS:]PORT",
    help="Port 0 is a free port.",
)
@click.option("--data", metavar="DIR", help="Keep the data in DIR; default: remove it at the end.")
@click.option(
    "--user",
    metavar="NAME:FILE",
    help="Require a login: a user name, and a file with the password on its first line.",
)
@click.option(
    "--no-redirect", is_flag=True, help="Send blobs at once, as most registries do: `ollama pull` fails then."
)
@click.option(
    "--sign-uploads",
    type=click.Choice(["parts", "whole", "both"]),
    help="Sign URLs for uploads, as Ollama's registry does: for parts of a blob, for all of it, or both.",
)
def registry(listen: str, data: str | None, user: str | None, *, no_redirect: bool, sign_uploads: str | None) -> int:
    """Run a small registry for tests and demos, until Ctrl-C.

    It uses plain HTTP, and is not made for production. A stock `ollama pull --insecure` gets models from it, on this
    machine and without --user.
    """
    from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry, Quirks

    address = parse_address("--listen", listen)
    if ":" in address[0]:
        raise InvalidSetting("--listen", listen, "expected an IPv4 address or a host name")
    users = None if user is None else dict([_user(user)])
    with _folder(data) as folder:
        try:
            embedded = EmbeddedRegistry(
                folder,
                listen=address,
                auth=None if users is None else BasicAuth(users),
                quirks=Quirks(
                    redirect_to_other_name=not no_redirect,
                    redirect_uploads=sign_uploads in {"parts", "both"},
                    direct_uploads=sign_uploads in {"whole", "both"},
                ),
            )
        except OSError as exc:
            problem = f"cannot listen there: {system_message(exc)}; choose another"
            raise InvalidSetting("--listen", listen, problem) from exc
        with embedded:
            _welcome(embedded.host, next(iter(users or ()), None), data, redirects=not no_redirect)
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                say("", "ended")
    return 0


def _welcome(host: str, user: str | None, data: str | None, *, redirects: bool) -> None:
    lines = [f"registry: http://{host}, for tests and demos", f"data: {data or 'gone at the end; --data keeps it'}"]
    if user is not None:
        lines.append(f"log in with: ollama-push login {host} --plain-http --user {user}")
    lines.append(f"push with: ollama-push push {host}/myuser/my-llama --from MODEL --direct --plain-http")
    if user is None and redirects:
        lines.append(f"pull with: ollama pull --insecure http://{host}/myuser/my-llama")
    say(*lines, "Ctrl-C ends it.")


@contextmanager
def _folder(data: str | None) -> Iterator[Path]:
    if data is None:
        with tempfile.TemporaryDirectory(prefix="ollama-push-registry-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
        return
    try:
        Path(data).mkdir(parents=True, exist_ok=True)
        # Checked now, because later an upload would fail.
        with tempfile.TemporaryFile(dir=data):
            pass
    except OSError as exc:
        raise InvalidSetting("--data", data, f"cannot be written: {system_message(exc)}") from exc
    yield Path(data)


def _user(text: str) -> tuple[str, str]:
    name, _, file = text.partition(":")
    if not name or not file:
        raise InvalidSetting("--user", text, "expected NAME:FILE, the file holding the password on its first line")
    password = first_line(file, option="--user", shown=text, called="the file")
    if not password:
        raise InvalidSetting("--user", text, "the file holds no password on its first line")
    return name, password

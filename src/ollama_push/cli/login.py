"""``ollama-push login`` and ``logout``: logins for registries, kept where docker keeps them."""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from typing import Final

import click

from ollama_push.cli import exit_codes
from ollama_push.cli.connection import CERT_OPTION, client_cert
from ollama_push.cli.display.streams import say
from ollama_push.cli.help_text import HelpedCommand
from ollama_push.client import RegistryClient
from ollama_push.core.errors import InvalidSetting, PushRejected
from ollama_push.core.names import is_registry_host
from ollama_push.core.registry.credentials import Login
from ollama_push.local import Credentials

__all__ = ["login", "logout"]

_READABLE_BY_OTHERS: Final = stat.S_IRGRP | stat.S_IROTH
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@click.command(
    cls=HelpedCommand,
    short_help="Log in to a registry.",
    examples=[
        "ollama-push login registry.example.com",
        "cat token.txt | ollama-push login ghcr.io --user octocat --password-stdin",
    ],
)
@click.argument("registry", metavar="REGISTRY")
@click.option("-u", "--user", metavar="USER", help="User name; default: ask on the terminal.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@click.option("--plain-http", is_flag=True, help="Use plain HTTP for the registry: the password is sent in the clear.")
@click.option("--ca", metavar="FILE", help="PEM file of CAs to trust in addition to the system's.")
@CERT_OPTION
@click.option("--key", metavar="FILE", help="With --cert: its private key, if it is not in the same file.")
def login(
    registry: str,
    user: str | None,
    ca: str | None,
    cert: str | None,
    key: str | None,
    *,
    password_stdin: bool,
    plain_http: bool,
) -> int:
    """Log in to REGISTRY, for pushes with --direct.

    REGISTRY is host or host:port, such as docker.io. The registry checks the login first; if it accepts the login,
    docker's credential helper keeps it where one is configured, else docker's configuration file.
    """
    from ollama_push.transports import Urllib3Transport

    host = _host(registry)
    wanted = Login(user or _ask_user(password_stdin=password_stdin), _password(password_stdin=password_stdin))
    transport = Urllib3Transport(ca_file=ca, client_cert=client_cert(cert, key))
    try:
        with RegistryClient(transport=transport, plain_http=plain_http) as client:
            was_asked = client.try_login(host, wanted)
    except PushRejected as exc:
        # Its own words are about a push.
        say(f"error: {exc.message}")
        return exit_codes.exit_code(exc)
    finally:
        transport.close()
    place = Credentials().login(host, wanted)
    if not was_asked:
        say(f"note: {host} did not ask for the login, so it was not checked")
    say(f"logged in to {host} as {wanted.username}")
    if isinstance(place, Path):
        say(
            f"warning: {place} holds the password in base64, which is no encryption: everyone who can read the file"
            " can read it. A credential helper (credsStore) protects it."
        )
        mode = stat.S_IMODE(place.stat().st_mode)
        if os.name == "posix" and mode & _READABLE_BY_OTHERS:
            say(f"warning: its mode {mode:o} was kept, with which other users may read it; chmod 600 stops that")
    else:
        say(f"the password is kept by {place}")
    return exit_codes.OK


@click.command(
    cls=HelpedCommand,
    short_help="Remove a login.",
    examples=["ollama-push logout registry.example.com"],
)
@click.argument("registry", metavar="REGISTRY")
def logout(registry: str) -> int:
    """Remove the login for REGISTRY."""
    host = _host(registry)
    was_there = Credentials().logout(host)
    say(f"logged out of {host}" if was_there else f"there was no login for {host}")
    return exit_codes.OK


def _host(text: str) -> str:
    """Return *text* when it is a registry.

    Raises:
        InvalidSetting: It is something else; the message shows what to write instead.
    """
    if is_registry_host(text):
        return text
    host = _SCHEME.sub("", text).partition("/")[0].rpartition("@")[2]
    problem = "expected host or host:port, without a scheme or a path"
    # What stands before "@" may be a password.
    shown = "<hidden>" if "@" in text else text
    raise InvalidSetting("REGISTRY", shown, f"{problem}: {host}" if is_registry_host(host) else problem)


def _ask_user(*, password_stdin: bool) -> str:
    if password_stdin:
        raise click.UsageError("--password-stdin needs --user: stdin holds the password")
    _need_a_terminal()
    user: str = click.prompt("user", err=True)
    return user


def _password(*, password_stdin: bool) -> str:
    if password_stdin:
        # As docker and podman read it: all of stdin without the line break at its end.
        try:
            password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            # Not chained: the exception holds the bytes.
            raise click.UsageError("the password on stdin is not UTF-8") from None
        if not password:
            raise click.UsageError("stdin holds no password")
        return password
    _need_a_terminal()
    asked: str = click.prompt("password", hide_input=True, err=True)
    return asked


def _need_a_terminal() -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on; use --user and --password-stdin")

"""Where the Ollama server is: ``OLLAMA_HOST`` and ``host=``, read in one place.

The rules are ollama's ``envconfig/config.go`` ``Host`` at fb3076099 in the *connectable* form
(``ConnectableHost``, v0.18.3+): an unspecified address, such as the ``0.0.0.0`` that the official
container image sets for the server, becomes loopback. On top, what no client could connect to is an error here
and not a riddle later: userinfo, queries, spaces, other schemes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.facts import Advice
from ollama_push.core.hosts import DEFAULT_PORTS

__all__ = ["DEFAULT_PORT", "base_url", "path_of"]

DEFAULT_PORT: Final = 11434
_MAX_PORT: Final = 65535
# What a name may hold; underscores are seen in container networks.
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
# RFC 3986, 3.3, without the quote: at the end it would not survive being read again.
_PATH: Final = re.compile(r"[A-Za-z0-9._~!$&()*+,;=:@%/-]*")
# RFC 6874, 2: what may follow "%" in an address; ipaddress takes anything.
_ZONE: Final = re.compile(r"(?:%[A-Za-z0-9._~-]+)?")
_LOOPBACK: Final[Mapping[str, str]] = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1"}  # noqa: S104 - read, not bound


def base_url(text: str | None, *, setting: str = "host") -> str:
    """Return ``scheme://host:port[/prefix]`` for what a user wrote, without a trailing slash.

    Args:
        text: As in ``OLLAMA_HOST``: ``host``, ``host:port``, ``:port``, ``scheme://host[:port][/prefix]``;
            ``None`` or empty for the default, ``http://127.0.0.1:11434``.
        setting: Where the text came from; named in the error.

    Raises:
        InvalidSetting: The text cannot be an Ollama server's address.
    """
    value = (text or "").strip().strip("\"'").strip()
    if value == "ollama.com":
        return "https://ollama.com:443"
    scheme, mark, rest = value.partition("://")
    if not mark:
        scheme, rest = "http", value
    port_unless_given = DEFAULT_PORTS.get(scheme, DEFAULT_PORT) if mark else DEFAULT_PORT
    scheme = scheme.lower()
    if "@" in rest:
        # The value is not shown: what stands before "@" may be a password.
        problem = "user and password do not belong in the address"
        raise InvalidSetting(setting, "<hidden>", problem, Advice.PASS_HEADERS)
    if scheme not in DEFAULT_PORTS:
        raise InvalidSetting(setting, text, "the scheme must be http or https")
    hostport, slash, path = rest.partition("/")
    given, port = _split_port(hostport, port_unless_given)
    host = _connectable(given)
    if host is None:
        raise InvalidSetting(setting, text, "this is no host; expected host, host:port or http(s)://host:port")
    if not _PATH.fullmatch(path):
        raise InvalidSetting(setting, text, "the path prefix holds characters that a URL path cannot")
    return f"{scheme}://{host}:{port}{_cleaned(path)}" if slash else f"{scheme}://{host}:{port}"


def path_of(base: str) -> str:
    """Return the path in a base URL of :func:`base_url`, such as ``"/v1"``; empty when it has none."""
    _, slash, path = base.partition("://")[2].partition("/")
    return f"{slash}{path}"


def _cleaned(path: str) -> str:
    """Return *path* as Go's client asks below it: without empty parts, "." and "..".

    Source: ollama ``api/client.go`` (``base.JoinPath``); Go ``path.Join``.
    """
    parts = list[str]()
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "".join(f"/{part}" for part in parts)


def _split_port(hostport: str, default: int) -> tuple[str, int]:
    if _is_address(hostport.removeprefix("[").removesuffix("]")):
        return hostport, default
    host, colon, port = hostport.rpartition(":")
    if not colon or port.endswith("]"):
        return hostport, default
    if port.isascii() and port.isdigit() and int(port[:6]) <= _MAX_PORT:
        return host, int(port[:6])
    # ollama warns and goes on with the default port (v0.1.44+).
    return host, default


def _connectable(host: str) -> str | None:
    if host in _LOOPBACK:
        return _LOOPBACK[host]
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if _is_address(bare):
        address = ip_address(bare)
        if address.is_unspecified:
            return "[::1]"
        return f"[{bare}]" if address.version == 6 else bare  # noqa: PLR2004 - the IP version
    return host if _HOST_NAME.fullmatch(host) else None


def _is_address(text: str) -> bool:
    address, percent, zone = text.partition("%")
    try:
        ip_address(address)
    except ValueError:
        return False
    return _ZONE.fullmatch(percent + zone) is not None

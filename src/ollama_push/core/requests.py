"""The request of a push through an Ollama server.

Source: ollama ``api/types.go`` ``PushRequest``, ``server/routes.go`` ``PushHandler`` at fb3076099.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

import attrs

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.jsons import encode_json
from ollama_push.core.names import ModelName
from ollama_push.core.ports import HttpRequest
from ollama_push.core.version import __version__

__all__ = ["USER_AGENT", "PushRequest", "checked_headers"]

USER_AGENT: Final = f"ollama-push/{__version__}"

# RFC 9110, 5.6.2 (token) and 5.5 (field-content, here visible ASCII, spaces and tabs).
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# They frame the message: the transport's to set.
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection"})


def _to_name(model: str | ModelName) -> ModelName:
    return model if isinstance(model, ModelName) else ModelName.parse(model)


@attrs.frozen
class PushRequest:
    """What to push.

    Attributes:
        model: The name, ``[host/]namespace/model[:tag]``; a ``str`` is parsed.
        insecure: Plain HTTP between the *server and the registry*. It does not switch off the check
            of certificates; nothing does.
        stream: ``False`` asks for one answer at the end: no progress, and silence until then.

    Raises:
        InvalidModelName: The name cannot be pushed.
    """

    model: ModelName = attrs.field(converter=_to_name)
    insecure: bool = False
    stream: bool = True

    def headers(self) -> dict[str, str]:
        """Return the headers of the request."""
        return {
            "Content-Type": "application/json",
            "Accept": "application/x-ndjson" if self.stream else "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
        }

    def body(self) -> bytes:
        """Return the JSON body. Servers before v0.1.21 read ``name``, later ones ``model``: both are sent."""
        name = str(self.model)
        return encode_json({"model": name, "name": name, "insecure": self.insecure, "stream": self.stream})

    def to_http(self, base: str, headers: Mapping[str, str], read_timeout: float | None) -> HttpRequest:
        """Return the HTTP request.

        Args:
            base: The server's base URL, without a trailing slash (``//api/push`` is a redirect).
            headers: More headers; they win over ours.
            read_timeout: Longest silence in seconds while streaming; ``None`` for the transport's
                default. A push that does not stream is silent throughout, so it has no limit.
        """
        return HttpRequest(
            "POST",
            f"{base}/api/push",
            merged_headers(self.headers(), headers),
            self.body(),
            read_timeout if self.stream else math.inf,
        )


def merged_headers(*layers: Mapping[str, str]) -> dict[str, str]:
    """Return all headers, names compared without case; later ones win."""
    merged = {key.lower(): (key, value) for layer in layers for key, value in layer.items()}
    return dict(merged.values())


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return a copy of a user's headers.

    Raises:
        InvalidSetting: A name or value cannot be sent, or frames the message. The value is not shown.
    """
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidSetting("headers", name, "this is no header name (RFC 9110, 5.6.2)")
        if name.lower() in _FRAMING:
            raise InvalidSetting("headers", name, "this header frames the message and is set by the transport")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise InvalidSetting("headers", name, "its value holds characters that no header can (RFC 9110, 5.5)")
    return dict(headers or {})

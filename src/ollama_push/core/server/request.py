"""The request of a push through an Ollama server.

Source: ollama ``api/types.go`` ``PushRequest``, ``server/routes.go`` ``PushHandler`` at fb3076099.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import attrs

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.hosts import is_ollama_cloud
from ollama_push.core.json_text import encode_json
from ollama_push.core.names import ModelName
from ollama_push.core.ports import HttpRequest
from ollama_push.core.version import USER_AGENT

__all__ = ["PUSH_PATH", "PushRequest", "merged_headers"]

PUSH_PATH: Final = "/api/push"
"""Below the server's base URL."""


def _to_name(model: str | ModelName) -> ModelName:
    return model if isinstance(model, ModelName) else ModelName.parse(model)


@attrs.frozen
class PushRequest:
    """What to push.

    Attributes:
        model: The name, ``[host/]namespace/model[:tag]``; a ``str`` is parsed.
        insecure: Plain HTTP between the *server and the registry*. It does not switch off the check
            of certificates; nothing does.
        stream: ``False`` asks for one response at the end: no progress, and silence until then.
        private: Nobody is to read the model without a login. Only for Ollama's registry, and only to a server that
            says that it knows the field (ollama#15856): others ignore it, and publish.

    Raises:
        InvalidModelName: The name cannot be pushed.
        InvalidSetting: It is to be private in another registry.
    """

    model: ModelName = attrs.field(converter=_to_name)
    insecure: bool = False
    stream: bool = True
    private: bool = False

    def __attrs_post_init__(self) -> None:
        if self.private and not is_ollama_cloud(self.model.host):
            problem = f"only Ollama's own registry knows private models; {self.model.host} decides itself who may read"
            raise InvalidSetting("private", value=True, problem=problem)

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
        private = {"private": True} if self.private else {}
        return encode_json({"model": name, "name": name, "insecure": self.insecure, "stream": self.stream, **private})

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
            f"{base}{PUSH_PATH}",
            merged_headers(self.headers(), headers),
            self.body(),
            read_timeout if self.stream else math.inf,
        )


def merged_headers(*layers: Mapping[str, str]) -> dict[str, str]:
    """Return all headers, names compared without case; later ones win."""
    merged = {key.lower(): (key, value) for layer in layers for key, value in layer.items()}
    return dict(merged.values())

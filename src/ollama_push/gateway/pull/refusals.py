"""Why something is not sent, as a client of registries reads it.

Source: distribution-spec v1.1.1, "Error Codes".
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import attrs
from aiohttp import web

from ollama_push.core.errors import OllamaPushError, PushRejected, TransportTimeout
from ollama_push.core.facts import ForbiddenAddress, LoginRefused
from ollama_push.core.redaction import redact
from ollama_push.core.registry.error_responses import codes_in, words_in
from ollama_push.gateway.messages import pull_text
from ollama_push.gateway.pull.upstream import UpstreamRefused
from ollama_push.gateway.responses import json_response

__all__ = ["API_VERSION", "PullRefused", "refusal_of"]

API_VERSION: Final[Mapping[str, str]] = {"Docker-Distribution-Api-Version": "registry/2.0"}
_CHALLENGE: Final[Mapping[str, str]] = {"WWW-Authenticate": 'Basic realm="ollama-push"'}
_CODES: Final[Mapping[int, str]] = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NOT_FOUND", 429: "TOOMANYREQUESTS"}


@attrs.define(eq=False, slots=False)
class PullRefused(Exception):
    """A request is refused.

    Attributes:
        status: HTTP status.
        code: Error code of the distribution-spec.
        text: For people.
        headers: Headers of the response.
    """

    status: int
    code: str
    text: str
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def response(self) -> web.Response:
        """Return what the client gets."""
        error = {"code": self.code, "message": self.text}
        headers = {**API_VERSION, **self.headers}
        return json_response(self.status, {"errors": [error]}, content_type="application/json", headers=headers)


def refusal_of(error: OllamaPushError | UpstreamRefused) -> PullRefused:
    """Return what a client is told of *error*."""
    if isinstance(error, UpstreamRefused):
        return _of_response(error)
    text = pull_text(error)
    facts = error.facts if isinstance(error, PushRejected) else None
    match facts:
        case LoginRefused():
            return PullRefused(HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED", text, _CHALLENGE)
        case ForbiddenAddress():
            return PullRefused(HTTPStatus.FORBIDDEN, "DENIED", text)
    late = isinstance(error, TransportTimeout)
    return PullRefused(HTTPStatus.GATEWAY_TIMEOUT if late else HTTPStatus.BAD_GATEWAY, "UNKNOWN", text)


def _of_response(error: UpstreamRefused) -> PullRefused:
    response = error.response
    passes = 400 <= response.status < 500 or response.status == HTTPStatus.SERVICE_UNAVAILABLE  # noqa: PLR2004 - 4xx
    status = response.status if passes else HTTPStatus.BAD_GATEWAY
    code = next(iter(codes_in(response)), "") or _CODES.get(status, "UNKNOWN")
    text = redact(words_in(response)) or f"the registry responded HTTP {response.status}"
    wait = response.headers.get("retry-after", "")
    return PullRefused(status, code, text, {"Retry-After": wait} if wait.isdecimal() else {})

"""The body of a push to an order, or to the 400 a real server answers: the same statuses, the same words.

Source: ollama ``server/routes.go`` ``PushHandler`` and ``api/types.go`` ``PushRequest`` at fb3076099; gin's
``ShouldBindJSON``, which is one ``encoding/json`` ``Decode``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.registry.credentials import Login
from ollama_push.gateway.go_json import GoSyntaxError, Token, members, read_value, text_of

__all__ = ["BadRequest", "PushOrder", "read_order"]

# Go's type of each field; "stream" is a pointer, and only a pointer is reset by null.
_FIELDS: Final[Mapping[str, str]] = {
    "model": "string",
    "insecure": "bool",
    "username": "string",
    "password": "string",
    "stream": "bool",
    "name": "string",
}
# Keys match without case, and Go folds these two as well (foldName in decode.go).
_FOLDED: Final = {ord("\u017f"): "s", ord("\u212a"): "k"}


class BadRequest(ValueError):
    """The body is no push; the text is a real server's."""


@attrs.frozen
class PushOrder:
    """What a client asks for.

    Attributes:
        model: The name as written; never empty.
        insecure: Plain HTTP between us and the registry.
        stream: Whether progress is wanted.
        login: Who the client says it is to the registry; ``None`` when it leaves that to us. Real servers ignore it.
    """

    model: str
    insecure: bool = False
    stream: bool = True
    login: Login | None = None


def read_order(body: bytes) -> PushOrder:
    """Read a request's body.

    Raises:
        BadRequest: It is what a real server answers with 400, or names a user that nobody can be.
    """
    try:
        value = read_value(body)
    except GoSyntaxError as exc:
        raise BadRequest(str(exc) or "missing request body") from None
    fields = _fields_of(value)
    model = fields.get("model") or fields.get("name")
    if not isinstance(model, str) or not model:
        raise BadRequest("model is required")
    login = _login_of(str(fields.get("username", "")), str(fields.get("password", "")))
    return PushOrder(model, fields.get("insecure") is True, fields.get("stream") is not False, login)


def _login_of(username: str, password: str) -> Login | None:
    try:
        return Login(username, password) if username or password else None
    except InvalidSetting as exc:
        raise BadRequest(str(exc)) from None


def _fields_of(value: Token) -> dict[str, str | bool]:
    """Return the fields that were given; of several values of one, the last."""
    if value.kind == "null":
        return {}
    if value.kind != "object":
        raise BadRequest(f"json: cannot unmarshal {value.kind} into Go value of type api.PushRequest")
    fields: dict[str, str | bool] = {}
    problem = ""
    for key, given in members(value):
        field = _field(key)
        if field is None:
            continue
        wanted = _FIELDS[field]
        if given.kind == "null":
            if field == "stream":
                fields.pop(field, None)
        elif given.kind != wanted:
            # Go reads on and reports the first.
            problem = problem or (
                f"json: cannot unmarshal {given.kind} into Go struct field PushRequest.{field} of type {wanted}"
            )
        else:
            fields[field] = text_of(given) if wanted == "string" else given.raw == b"true"
    if problem:
        raise BadRequest(problem)
    return fields


def _field(key: str) -> str | None:
    folded = key.translate(_FOLDED)
    return folded.lower() if folded.isascii() and folded.lower() in _FIELDS else None

"""The body of a push request, read as a real server does: the same defaults, and the same words for its 400.

Source: ollama ``server/routes.go`` ``PushHandler`` and ``api/types.go`` ``PushRequest`` at fb3076099; gin's
``ShouldBindJSON``, which is one ``encoding/json`` ``Decode``.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import attrs

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.registry.credentials import Login
from ollama_push.gateway.go_json import MalformedJson, decode_first, kind_of, replace_surrogates
from ollama_push.gateway.responses import RequestRefused

__all__ = ["PushRequestBody"]

_KIND_OF_FIELD: Final[Mapping[str, str]] = {
    "model": "string",
    "insecure": "bool",
    "private": "bool",
    "username": "string",
    "password": "string",
    "stream": "bool",
    "name": "string",
    "from": "string",
}


_SWITCHES: Final = (("insecure", False), ("stream", True), ("private", False))


@attrs.frozen
class PushRequestBody:
    """What a client asks for.

    Attributes:
        model: The name as written; never empty.
        insecure: Plain HTTP between the gateway and the registry.
        stream: Whether progress is wanted.
        login: The client's login for the registry; ``None`` for the gateway's own. Real servers ignore it.
        private: Whether nobody is to read the model without a login. Real servers ignore it so far (ollama#15856).
        source: The local model to push, in ``from``; empty for the one that is called *model*. Real servers ignore it.
    """

    model: str
    insecure: bool = False
    stream: bool = True
    login: Login | None = None
    source: str = ""
    private: bool = False

    @classmethod
    def parse(cls, data: bytes) -> PushRequestBody:
        """Read a body.

        Raises:
            RequestRefused: With 400, as by a real server, or when the user name is not valid.
        """
        try:
            fields = _fields_of(decode_first(data))
        except MalformedJson as exc:
            raise _bad_request(str(exc)) from None
        model = fields.get("model") or fields.get("name")
        if not model:
            raise _bad_request("model is required")
        username, password = fields.get("username", ""), fields.get("password", "")
        try:
            login = Login(username, password) if username or password else None
        except InvalidSetting as exc:
            raise _bad_request(str(exc)) from None
        insecure, stream, private = (fields.get(*pair) for pair in _SWITCHES)
        return cls(model, insecure, stream, login, fields.get("from", ""), private)


def _fields_of(value: Any) -> dict[str, Any]:
    """Return the fields that were given, each with a value of its type; of several values of one, the last."""
    if value is None:
        return {}
    if not isinstance(value, tuple):
        raise _bad_request(f"json: cannot unmarshal {kind_of(value)} into Go value of type api.PushRequest")
    fields: dict[str, Any] = {}
    problem = ""
    for key, given in value:
        field = _folded(key)
        wanted, kind = _KIND_OF_FIELD.get(field), kind_of(given)
        if kind == wanted:
            fields[field] = replace_surrogates(given) if isinstance(given, str) else given
        elif kind == "null":
            # Go ignores a null but for a pointer, which it resets; "stream" is the only pointer.
            if field == "stream":
                fields.pop(field, None)
        elif wanted is not None and not problem:
            # Go reads on and reports the first.
            problem = f"json: cannot unmarshal {kind} into Go struct field PushRequest.{field} of type {wanted}"
    if problem:
        raise _bad_request(problem)
    return fields


def _folded(key: str) -> str:
    # Not casefold(): Go takes the long s for an s (foldName in decode.go), but not the sharp s for two.
    return key.lower().replace("\u017f", "s")


def _bad_request(text: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.BAD_REQUEST, text)

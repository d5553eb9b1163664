"""Is a push going to work? Asked of a real server before any byte of a model moves.

``check_flow`` is a flow (:mod:`ollama_push.core.responses`), so that both clients drive the same code. Used are
``GET /api/version`` (v0.1.14+), ``GET /api/tags`` and, where the registry is Ollama's own, ``POST /api/me``
(v0.12.1+).

Source: ollama ``server/routes.go`` (``ListHandler``, ``WhoamiHandler``) and ``cmd/cmd.go`` ``PushHandler``.
"""

from __future__ import annotations

import difflib
from collections.abc import Generator, Mapping
from itertools import islice
from typing import Any, Final

import attrs

from ollama_push.core.arguments import ClientSeconds
from ollama_push.core.errors import (
    InvalidModelName,
    InvalidSetting,
    OllamaPushError,
    PushRejected,
    RejectionReason,
    ServerError,
    TransportError,
    UnexpectedContent,
)
from ollama_push.core.facts import ModelMissing
from ollama_push.core.hosts import is_ollama_cloud, origin_of
from ollama_push.core.json_text import bounded_count, decode_json
from ollama_push.core.names import DEFAULT_TAG, MAX_NAME_CHARACTERS, ModelName
from ollama_push.core.peer_text import clean, readable_excerpt
from ollama_push.core.ports import HttpRequest
from ollama_push.core.responses import BufferedResponse, SendRequest, is_unread
from ollama_push.core.secrets import Secrets
from ollama_push.core.server.address import path_of
from ollama_push.core.server.error_body import foreign_content, server_error
from ollama_push.core.server.request import merged_headers
from ollama_push.core.version import USER_AGENT

__all__ = [
    "CHECK_TIMEOUT_SECONDS",
    "GATEWAY_KEY",
    "PRIVATE_KEY",
    "CheckFlow",
    "PrivateFlow",
    "Readiness",
    "check_flow",
    "private_flow",
]

GATEWAY_KEY: Final = "ollama_push_gateway"
"""In the response to ``/api/version`` of this package's gateway, beside what a real server says."""
PRIVATE_KEY: Final = "private"
"""In the same response: whether ``private`` in the request of a push is known. No release of Ollama says so."""
CHECK_TIMEOUT_SECONDS: Final = ClientSeconds(10.0)
"""Longest silence of a server that is asked a small question."""

_NEAREST: Final = 3
_COMPARED: Final = 1000  # names of a server that are compared with the one asked for: each costs some microseconds
_NAME_CHARACTERS: Final = 80  # of a version or an account


CheckFlow = Generator[SendRequest, BufferedResponse | TransportError, "Readiness"]
PrivateFlow = Generator[SendRequest, BufferedResponse | TransportError, None]


@attrs.frozen
class Readiness:
    """What is known before a push.

    Attributes:
        model: Canonical name; the text as given when it is no legal name.
        problems: Why the push would fail, each as the error it would end in; empty when nothing is known
            to be wrong.
        server_version: The server's version; ``None`` when it did not say.
        total_bytes: Size of the whole push; ``None`` when the model was not found.
        account: Who is signed in at Ollama's registry; ``None`` when unknown or another registry.
        signin_url: Where to sign in, when nobody is.
        is_gateway: Whether the server is this package's gateway, which reads its own store and has no accounts.
    """

    model: str
    problems: tuple[OllamaPushError, ...] = ()
    server_version: str | None = None
    total_bytes: int | None = None
    account: str | None = None
    signin_url: str | None = None
    is_gateway: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing is known to be wrong."""
        return not self.problems


def check_flow(model: str | ModelName, base: str, headers: Mapping[str, str]) -> CheckFlow:
    """Ask what a server can tell about a push of *model*; nothing is uploaded.

    Args:
        model: The name to push.
        base: The server's base URL.
        headers: The client's own headers, sent along.
    """
    try:
        name = model if isinstance(model, ModelName) else ModelName.parse(model)
    except InvalidModelName as exc:
        return Readiness(str(model), (exc,))
    secrets = Secrets()
    secrets.add_headers(headers)
    found = yield from _ask_all(name, base, headers)
    for problem in found.problems:
        secrets.hide_in(problem)
    return secrets.hidden(found)


def private_flow(base: str, headers: Mapping[str, str]) -> PrivateFlow:
    """Ask whether a server keeps a model private where the request of a push says so.

    Raises:
        InvalidSetting: It does not say that it does: a real server ignores the field, and publishes.
        OllamaPushError: It cannot be asked.
    """
    response = yield from _ask("GET", f"{base}/api/version", headers)
    problem = _problem_with(response)
    if problem is not None:
        raise problem
    if isinstance(response, TransportError) or _object_in(response).get(PRIVATE_KEY) is not True:
        told = f"the server at {origin_of(base)} does not say that it knows private pushes, and may publish the model"
        raise InvalidSetting("private", value=True, problem=told)


def _ask_all(name: ModelName, base: str, headers: Mapping[str, str]) -> CheckFlow:
    found: dict[str, Any] = {"model": str(name), "problems": ()}
    version = yield from _ask("GET", f"{base}/api/version", headers)
    if isinstance(version, TransportError):
        return Readiness(str(name), (version,))
    # A server before v0.1.14 has no version; one that refuses us at all does not get further.
    if version.status in (401, 403):
        return Readiness(str(name), (server_error(version.status, version.headers, version.body),))
    value = _object_in(version)
    if isinstance(value.get("version"), str):
        found["server_version"] = clean(value["version"], _NAME_CHARACTERS)
    found["is_gateway"] = value.get(GATEWAY_KEY) is True

    tags = yield from _ask("GET", f"{base}/api/tags", headers)
    problem = _problem_with(tags)
    if isinstance(problem, ServerError):
        problem.path = path_of(base)
    if problem is None:
        found["total_bytes"], problem = _find(name, tags, may_copy=not found["is_gateway"])
    problems = [] if problem is None else [problem]

    if is_ollama_cloud(name.host):
        me = yield from _ask("POST", f"{base}/api/me", headers)
        found["account"], found["signin_url"], problem = _identity(me)
        problems += [] if problem is None else [problem]
    return Readiness(**{**found, "problems": tuple(problems)})


def _ask(
    method: str, url: str, headers: Mapping[str, str]
) -> Generator[SendRequest, BufferedResponse | TransportError, BufferedResponse | TransportError]:
    ours = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
    request = HttpRequest(method, url, merged_headers(ours, headers), read_timeout=CHECK_TIMEOUT_SECONDS)
    response = yield SendRequest(request)
    return (yield SendRequest(attrs.evolve(request, fresh=True))) if is_unread(response) else response


def _problem_with(response: BufferedResponse | TransportError) -> OllamaPushError | None:
    """Return the error that a response means; ``None`` for a 200 with a JSON object."""
    if isinstance(response, TransportError):
        return response
    if response.status >= 300:  # noqa: PLR2004 - RFC 9110, 15
        return server_error(response.status, response.headers, response.body)
    if response.status != 200 or foreign_content(response.headers) or not _object_in(response):  # noqa: PLR2004
        return UnexpectedContent(
            response.status, response.headers.get("content-type", ""), readable_excerpt(response.body)
        )
    return None


def _object_in(response: BufferedResponse) -> dict[str, Any]:
    try:
        value = decode_json(response.body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _find(
    name: ModelName, response: BufferedResponse | TransportError, *, may_copy: bool
) -> tuple[int | None, OllamaPushError | None]:
    """Return the size of *name* in a list of models, or the error of its absence with the nearest names."""
    models = _object_in(response).get("models") if isinstance(response, BufferedResponse) else None
    sizes: dict[str, int | None] = {}
    for entry in models if isinstance(models, list) else ():
        text = (entry.get("model") or entry.get("name")) if isinstance(entry, dict) else None
        if not isinstance(text, str) or len(text) > MAX_NAME_CHARACTERS:
            continue
        size = entry.get("size")
        sizes[text] = bounded_count(size) if type(size) is int else None
        try:
            if ModelName.parse_local(text) == name:
                return sizes[text], None
        except InvalidModelName:
            continue
    near = difflib.get_close_matches(name.shortest, islice(sizes, _COMPARED), _NEAREST, 0.4)
    # The same model under another name is the usual cause: "ollama cp my-llama myuser/my-llama".
    copies = [text for text in sizes if text.rpartition("/")[2].partition(":")[0] == name.model]
    nearest = tuple(dict.fromkeys([*copies, *near]))[:_NEAREST]
    # Only the same tag: a copy of another one, or of another model, would publish other weights under this name.
    same = [text for text in copies if _tag_of(text) == name.tag.lower()]
    facts = ModelMissing(
        name.shortest,
        None,
        not sizes,
        twin=same[0] if same and may_copy else "",
        nearest=nearest,
        others=() if nearest else tuple(islice(sizes, _NEAREST)),
        count=len(sizes),
    )
    return None, PushRejected("", RejectionReason.MODEL_NOT_FOUND, facts)


def _tag_of(text: str) -> str:
    return text.rpartition("/")[2].partition(":")[2].lower() or DEFAULT_TAG


def _identity(response: BufferedResponse | TransportError) -> tuple[str | None, str | None, OllamaPushError | None]:
    """Return account, sign-in URL and problem; servers that cannot tell are not a problem, nor is a proxy's refusal."""
    if isinstance(response, TransportError):
        return None, None, None
    if response.status == 401 and "error" in _object_in(response):  # noqa: PLR2004
        error: ServerError = server_error(response.status, response.headers, response.body)
        return None, error.signin_url, error
    name = _object_in(response).get("name") if response.status == 200 else None  # noqa: PLR2004
    return clean(name, _NAME_CHARACTERS) if isinstance(name, str) and name else None, None, None

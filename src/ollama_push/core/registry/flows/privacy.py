"""Whether a model that is to be private is: asked of the registry without any login.

Ollama's registry makes a repository private when the first manifest comes with ``?private=1``; one that is public
already stays so. Source: ollama#8077 and its pull request 15856, which is open.
"""

from __future__ import annotations

from typing import Final

from ollama_push.core.errors import InvalidSetting, ServerError, TransportError, VerificationFailed
from ollama_push.core.facts import Operation, VerificationProblem
from ollama_push.core.hosts import is_ollama_cloud
from ollama_push.core.names import ModelName
from ollama_push.core.registry.blob_upload.probe import accept_header
from ollama_push.core.registry.effects import Flow
from ollama_push.core.registry.error_responses import refusal
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.manifests import Manifest

__all__ = ["PRIVATE_QUERY", "require_private_host", "require_unread"]

PRIVATE_QUERY: Final = "?private=1"
"""Behind the URL that a manifest is put to."""
_HIDDEN: Final = frozenset({401, 403, 404})
_REDIRECTION: Final = 400


def require_private_host(name: ModelName) -> None:
    """Refuse to push *name* as private where nobody keeps that.

    Raises:
        InvalidSetting: The registry is not Ollama's.
    """
    if not is_ollama_cloud(name.host):
        problem = f"only Ollama's own registry knows private models; {name.host} decides itself who may read"
        raise InvalidSetting("private", value=True, problem=problem)


def require_unread(exchange: Exchange, name: ModelName, manifest: Manifest) -> Flow[None]:
    """Ask for *name* without a login, and return when that is refused.

    Raises:
        VerificationFailed: Anybody can read it.
        OllamaPushError: It cannot be found out.
    """
    budget = exchange.retry_budget()
    url = exchange.endpoint.manifest(name.tag)
    while True:
        try:
            response = yield from exchange.once_signed("GET", url, accept_header(manifest), None)
            if response.status in _HIDDEN:
                return
            if response.status < _REDIRECTION:
                raise VerificationFailed(manifest.digest, VerificationProblem.PUBLIC, None, str(name))
            raise refusal(response, Operation.READ_MANIFEST)
        except (TransportError, ServerError) as error:
            yield from exchange.wait(budget.after(error), error)

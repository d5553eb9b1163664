"""Takes our own secrets out of what a peer says back: it may quote what it was sent, in an error that we show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import attrs

from ollama_push.core.redaction import HIDDEN
from ollama_push.core.registry.credentials import AccessToken, Credential, IdentityToken, Login
from ollama_push.core.registry.tokens import basic
from ollama_push.core.responses import BufferedResponse

__all__ = ["without_secrets"]


def without_secrets(response: BufferedResponse, credential: Credential | None, proof: str) -> BufferedResponse:
    """Return *response* without what *credential* and *proof* must not show.

    Args:
        response: A response of status 300 or above: what a success holds must stay as it is.
        credential: Who we are.
        proof: The ``Authorization`` value in use; may be empty.
    """
    forms = {form.encode() for form in _forms(credential, proof) if form}
    if not forms:
        return response
    # The longest first, and all at once: nothing is looked for in what was put instead.
    pattern = b"|".join(map(re.escape, sorted(forms, key=len, reverse=True)))
    return attrs.evolve(response, body=re.sub(pattern, HIDDEN.encode(), response.body))


def _forms(credential: Credential | None, proof: str) -> Iterator[str]:
    """Yield each secret as it is, and as URLs, JSON and ``Basic`` have it."""
    yield proof.partition(" ")[2]
    match credential:
        case Login(password=secret):
            if secret:
                yield basic(credential).partition(" ")[2]
        case IdentityToken(token=secret) | AccessToken(token=secret):
            pass
        case _:
            return
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]

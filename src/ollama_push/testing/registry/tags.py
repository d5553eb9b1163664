"""The list of a repository's tags.

Source: distribution-spec v1.1.1, "Listing Tags".
"""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from ollama_push.testing.registry.refused import Refused
from ollama_push.testing.registry.request_context import RequestContext

__all__ = ["list_tags"]


async def list_tags(context: RequestContext, repository: str) -> web.StreamResponse:
    """``GET …/tags/list``, by pages when ``n`` is given."""
    store = context.state.store
    if not store.has_repository(repository):
        raise Refused(404, "NAME_UNKNOWN", "repository name not known to registry")
    last, text = context.query("last"), context.query("n")
    if text and not (text.isascii() and text.isdecimal()):
        raise Refused(400, "PAGINATION_NUMBER_INVALID", "n is no number")
    found = [tag for tag in store.tags(repository) if tag > last]
    page = found[: int(text)] if text else found
    response = web.json_response({"name": repository, "tags": page})
    if page and len(page) < len(found):
        query = urlencode({"n": text, "last": page[-1]})
        response.headers["Link"] = f'</v2/{repository}/tags/list?{query}>; rel="next"'
    return response

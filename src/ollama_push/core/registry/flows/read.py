"""Reads a model from a registry: its manifest, its tags, and ranges of blobs that are read on after every failure.

Source: distribution-spec v1.1.1, "Pull" and "Listing Tags"; RFC 9110, 14 (ranges).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ollama_push.core.errors import ConnectionLost, ServerError, TransportError
from ollama_push.core.facts import Operation, PlaceProblem, Side
from ollama_push.core.json_text import decode_json
from ollama_push.core.names import ModelName
from ollama_push.core.registry.blob_upload.probe import accept_header
from ollama_push.core.registry.effects import Flow
from ollama_push.core.registry.error_responses import refusal
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.manifests import announced_digest
from ollama_push.core.registry.places import place_failed
from ollama_push.core.responses import BlobRequest, BufferedResponse, StreamedResponse

__all__ = ["RangeReading", "read_manifest_flow", "read_tags_flow"]

_NOT_FOUND: Final = 404
_PARTIAL: Final = 206
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/(?:[0-9]{1,18}|\*)")
_MOST_TAG_PAGES: Final = 1000


def read_manifest_flow(exchange: Exchange, name: ModelName) -> Flow[bytes]:
    """Return the manifest of *name* as the registry has it; one that was damaged on its way is read again.

    Raises:
        PushRejected: ``MODEL_NOT_FOUND``, or the registry does not let us read, or sends another manifest than it
            announces again and again.
    """
    url = exchange.endpoint.manifest(name.tag)
    budget = exchange.retry_budget()
    while True:
        response = yield from exchange.ask(
            Operation.READ_MANIFEST, "GET", url, (200, _NOT_FOUND), headers=accept_header(None)
        )
        if response.status == _NOT_FOUND:
            raise place_failed(Side.SOURCE, str(name), PlaceProblem.NO_MODEL)
        if not (announced := announced_digest(response.headers, response.body)):
            return response.body
        error = place_failed(Side.SOURCE, str(name), PlaceProblem.OTHER_BYTES, digest=announced)
        yield from exchange.wait(budget.after_setback(error), error)


def read_tags_flow(exchange: Exchange) -> Flow[tuple[str, ...]]:
    """Return all tags of the repository, in the registry's order."""
    tags: dict[str, None] = {}
    last = ""
    for _ in range(_MOST_TAG_PAGES):
        response = yield from exchange.ask(Operation.LIST_TAGS, "GET", exchange.endpoint.tags(last=last), (200,))
        page = [tag for tag in _tags_in(response) if tag not in tags]
        tags.update(dict.fromkeys(page))
        # Its URL is not followed: by the spec it differs from this one in the query alone.
        if not page or "link" not in response.headers:
            break
        last = page[-1]
    return tuple(tags)


def _tags_in(response: BufferedResponse) -> list[str]:
    try:
        value = decode_json(response.body)
    except ValueError:
        return []
    found = value.get("tags") if isinstance(value, dict) else None
    return [tag for tag in found if isinstance(tag, str)] if isinstance(found, list) else []


class RangeReading:
    """One range of one blob, read in as many requests as it takes.

    A driver runs ``open_flow``, gives each chunk of the response to ``receive``, and at its end calls ``end``. After a
    ``TransportError`` it runs ``recover_flow`` and opens again, while anything is ``left``.

    Args:
        exchange: The requests of the source.
        digest: The blob.
        offset: First byte.
        size: How many bytes.
    """

    def __init__(self, exchange: Exchange, digest: str, offset: int, size: int) -> None:
        self._exchange = exchange
        self._digest = digest
        self._offset = offset
        self._skip = 0
        self._budget = exchange.retry_budget()
        self.left: int = size

    def open_flow(self) -> Flow[StreamedResponse]:
        """Ask for what is left.

        Raises:
            TransportError: There is no response.
            PushRejected: The registry does not have the blob, or does not let us read it.
        """
        last = self._offset + self.left - 1
        url, headers = self._exchange.endpoint.blob(self._digest), {"Range": f"bytes={self._offset}-{last}"}
        while True:
            try:
                response = yield from self._exchange.once(
                    "GET", url, headers, kind=BlobRequest, operation=Operation.READ_BLOB, subject=self._digest
                )
                if not isinstance(response, StreamedResponse):
                    raise refusal(response, Operation.READ_BLOB, self._digest)
            except ServerError as error:
                yield from self.recover_flow(error)
            else:
                # A registry may ignore the range, and send the whole.
                self._skip = self._offset - _first_byte(response.status, response.headers, self._offset)
                if self._skip < 0:
                    host = self._exchange.endpoint.host
                    raise place_failed(Side.SOURCE, host, PlaceProblem.ENDS_EARLY, digest=self._digest)
                return response

    def receive(self, chunk: bytes) -> memoryview:
        """Return the part of *chunk* that belongs to the range."""
        data = memoryview(chunk)
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        data = data[skipped : skipped + self.left]
        self._offset += len(data)
        self.left -= len(data)
        if data:
            self._budget.progressed()
        return data

    def end(self) -> None:
        """Take the end of a response.

        Raises:
            ConnectionLost: Something is missing.
        """
        if self.left:
            raise ConnectionLost(self._exchange.endpoint.origin, "the blob is not complete")

    def recover_flow(self, error: TransportError | ServerError) -> Flow[None]:
        """Wait after *error*, or raise it when enough is enough."""
        yield from self._exchange.wait(self._budget.after(error), error)


def _first_byte(status: int, headers: Mapping[str, str], asked: int) -> int:
    if status != _PARTIAL:
        return 0
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    return asked if found is None else int(found[1])

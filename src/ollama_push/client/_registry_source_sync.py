"""A model of a registry as a source. Its twin is ``_registry_source_async.py``; keep them in the same order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, TypeVar

from ollama_push.client._flow_runner_sync import FlowRunner
from ollama_push.client._flows_sync import OpenStream
from ollama_push.core.errors import TransportError, UsedAfterClose
from ollama_push.core.names import ModelName
from ollama_push.core.registry.effects import Flow
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.flows.read import RangeReading, read_manifest_flow, read_tags_flow
from ollama_push.core.responses import own_error

__all__ = ["RegistrySource"]

T = TypeVar("T")


class RegistrySource:
    """Reads a model from a registry (``core.registry.places.ModelSource``).

    Args:
        runner: Runs the flows of its requests.
        exchange: Those requests.
        name: The model.
        transport: What moves the bytes, for errors.
    """

    def __init__(self, runner: FlowRunner[Any], exchange: Exchange, name: ModelName, transport: object) -> None:
        self.runner = runner
        self._exchange = exchange
        self._transport = transport
        self._closed = False
        self.name = name
        self.label: str = str(name) if not name.is_default_host else f"{name.host}/{name}"

    def read_manifest(self) -> bytes:
        """Return the manifest as it is."""
        return self._run(read_manifest_flow(self._exchange, self.name))

    def tags(self) -> tuple[str, ...]:
        """Return all tags of the repository."""
        return self._run(read_tags_flow(self._exchange))

    def read_blob(self, digest: str, offset: int, size: int, /) -> Iterator[bytes | memoryview]:
        """Yield *size* bytes of the blob *digest* from *offset* on, in as many requests as it takes."""
        self._require_open()
        return self._pieces(RangeReading(self._exchange, digest, offset, size))

    def close(self) -> None:
        """Cancel what still runs. Idempotent."""
        self._closed = True
        self.runner.cancel()

    def _pieces(self, reading: RangeReading) -> Iterator[bytes | memoryview]:
        while reading.left:
            try:
                with closing(self._opened(reading)) as stream:
                    for chunk in self._chunks(stream):
                        if data := reading.receive(chunk):
                            yield data
                        elif not reading.left:
                            break
                reading.end()
            except TransportError as error:
                self._run(reading.recover_flow(error))

    def _opened(self, reading: RangeReading) -> OpenStream:
        response = self._run(reading.open_flow())
        assert isinstance(response.stream, OpenStream)  # noqa: S101 - for the type checker
        return response.stream

    def _chunks(self, stream: OpenStream) -> Iterator[bytes]:
        while True:
            try:
                chunk = next(stream.chunks, None)
            except Exception as exc:
                raise own_error(exc, self._transport) from exc
            if chunk is None:
                return
            yield chunk

    def _run(self, flow: Flow[T]) -> T:
        self._require_open()
        return self.runner.run(self._exchange.without_secrets(flow))

    def _require_open(self) -> None:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)

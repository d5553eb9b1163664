"""Runs calls of sync and async clients as plain functions, so that a command is written once for both."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ollama_push import client as clients

if TYPE_CHECKING:
    import asyncio

__all__ = ["ClientRunner"]

_Client = TypeVar("_Client")
_Result = TypeVar("_Result")


class ClientRunner(Generic[_Client]):
    """Builds a client for each call, and waits for what the call returns; a context manager.

    Args:
        transport: For all clients, and closed at the end of the block; an async one has ``aclose``.
        client: Name of the client of a sync transport; that of its async twin begins with ``Async``. Only one is
            loaded, and asyncio for the async one alone: to load all takes as long as a small push.
        options: Passed to either.
    """

    def __init__(self, transport: Any, client: str, **options: Any) -> None:
        self._transport = transport
        self._loop = _new_loop() if hasattr(transport, "aclose") else None
        client_class = getattr(clients, client if self._loop is None else f"Async{client}")
        self._new_client: Callable[..., Any] = partial(client_class, transport=transport, **options)
        self._client: Any = None
        self._task: asyncio.Task[Any] | None = None

    def run(self, call: Callable[[_Client], _Result], **options: Any) -> _Result:
        """Return what *call* returns of a client that is built with *options* too.

        *call* is written for the sync client; what it returns of the async one is awaited.
        """
        if self._loop is None:
            with self._new_client(**options) as self._client:
                return call(self._client)
        import asyncio

        try:
            result: _Result = self._loop.run(self._awaited(call, options))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        return result

    async def _awaited(self, call: Callable[[Any], Any], options: dict[str, Any]) -> Any:
        import asyncio

        async with self._new_client(**options) as self._client:
            self._task = asyncio.current_task()
            return await call(self._client)

    @property
    def address(self) -> str:
        """The server of the last client that was built; empty before there is one, or where it has none."""
        return str(getattr(self._client, "address", ""))

    def interrupt(self) -> None:
        """Interrupt the push under way, after the parts that it sends; from any thread."""
        if self._client is not None:
            self._client.interrupt()

    def cancel(self) -> None:
        """Cancel the call under way at once: it raises ``KeyboardInterrupt``. From a signal handler."""
        if self._loop is None or self._task is None or self._task.done():
            raise KeyboardInterrupt
        self._loop.get_loop().call_soon_threadsafe(self._task.cancel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is None:
            self._transport.close()
        else:
            with self._loop:
                self._loop.run(self._transport.aclose())


def _new_loop() -> asyncio.Runner:
    import asyncio

    return asyncio.Runner()

"""All uses of undocumented parts of aiohttp; no other module touches those.

Tested with aiohttp 3.14.1 and 3.14.5 on CPython 3.11. Each part says what it works around. What aiohttp documents is
used by :mod:`ollama_push.transports._aiohttp`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, NoReturn
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractResolver, AbstractStreamWriter, ResolveResult
from aiohttp.client_proto import ResponseHandler

from ollama_push.core.ports import RequestBody
from ollama_push.transports._event_loop import SilenceLimit
from ollama_push.transports._framing import pieces_async
from ollama_push.transports._keeping import SentRequest
from ollama_push.transports._machine import Proxy
from ollama_push.transports._socks import connect_through_async

__all__ = [
    "CONNECTED_HERE",
    "AbortingConnector",
    "ConnectionWatch",
    "UploadPayload",
    "hang_up",
    "head_timer",
    "leave_to_parent",
    "take_buffered",
    "without_retries",
]

CONNECTED_HERE: Final[ContextVar[SentRequest | None]] = ContextVar("CONNECTED_HERE", default=None)
"""The request that this task sends: the connection that it gets is used for that one."""


_HEAD_END: Final = b"\r\n\r\n"
# Of an interim response (RFC 9110, 15.2), which another one follows.
_INTERIM: Final = (b"HTTP/1.1 1", b"HTTP/1.0 1")


class _Connection(ResponseHandler):
    """Tells the request that it was given to whether a byte of a response has come, and reads no body where none is.

    Works around: aiohttp does not tell a connection that was closed unused from one that broke off. It fails when a
    body follows the response to a ``HEAD``, as programs in Go send one to plain HTTP where they speak TLS. It resumes
    reading, and runs its parser, for each chunk of a body that is taken, whether or not reading was paused.
    """

    request: SentRequest | None = None

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's signature
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def data_received(self, data: bytes) -> None:
        if data and self.request is not None:
            self.request.answered = True
            if self.request.bodiless:
                data = self._without_body(self.request, data)
                if not data:
                    return
        super().data_received(data)

    def _without_body(self, request: SentRequest, data: bytes) -> bytes:
        """Return what of *data* is part of a head; the connection of a response with more is not used again."""
        request.head += data
        while request.head.startswith(_INTERIM) and _HEAD_END in request.head:
            del request.head[: request.head.index(_HEAD_END) + len(_HEAD_END)]
        end = request.head.find(_HEAD_END)
        surplus = 0 if end < 0 else len(request.head) - end - len(_HEAD_END)
        if surplus:
            del request.head[-surplus:]
            self.force_close()
        return data[: len(data) - surplus]


def _new_connection(loop: asyncio.AbstractEventLoop) -> ResponseHandler:
    return _Connection(loop)


class _Unresolved(AbstractResolver):
    """Leaves it to a proxy to find the addresses of hosts."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host=host, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass


class AbortingConnector(aiohttp.TCPConnector):
    """A connector without a limit, whose ``close`` aborts every connection that it made.

    Works around: a TLS connection that was closed before, because its peer asked for that, waits for the peer's
    ``close_notify``, and ``close`` knows it no more. An event loop that ends before leaves its socket open. A socket
    that is closed only ends no connection while a forked process has a copy of it.
    """

    def __init__(self, resolver: AbstractResolver | None, socks: Proxy | None = None) -> None:
        super().__init__(limit=0, resolver=_Unresolved() if socks is not None and socks.finds_hosts else resolver)
        self._socks = socks
        self._factory = partial(_new_connection, loop=asyncio.get_running_loop())
        self._made = WeakSet[asyncio.Transport]()
        self._process = os.getpid()

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - aiohttp's signature
        """Return a connection for *req*, and tell the request that this task sends whether it is a kept one."""
        connection = await super().connect(req, traces, timeout)
        protocol, request = connection.protocol, CONNECTED_HERE.get()
        if isinstance(protocol, _Connection) and request is not None:
            request.begin(kept=protocol.request is not None)
            protocol.request = request
        return connection

    async def _get(self, key: Any, traces: Any) -> Any:
        """Return a kept connection. Works around: aiohttp has no way to say that one request wants a new one."""
        request = CONNECTED_HERE.get()
        return None if request is not None and request.fresh else await super()._get(key, traces)

    async def _wrap_create_connection(self, *args: Any, **options: Any) -> Any:
        if self._socks is None:
            made = await super()._wrap_create_connection(*args, **options)
        else:
            made = await self._wrap_socks(self._socks, *args, **options)
        self._made.add(made[0])
        return made

    async def _wrap_socks(
        self,
        proxy: Proxy,
        *args: Any,
        addr_infos: Any,
        req: Any,
        timeout: Any,  # noqa: ASYNC109 - aiohttp's signature
        client_error: Any = aiohttp.ClientConnectorError,
        **options: Any,
    ) -> Any:
        """Connect to the first of the addresses that the proxy reaches; aiohttp then adds TLS and the protocol."""
        failure = OSError("the host has no address")
        for *_kind, (host, port, *_more) in addr_infos:
            try:
                sock = await connect_through_async(proxy, host, port, timeout.sock_connect)
            except TimeoutError as exc:
                raise aiohttp.ConnectionTimeoutError(str(exc)) from exc
            except OSError as exc:
                failure = exc
            else:
                return await self._wrap_existing_connection(
                    *args, req=req, timeout=timeout, client_error=client_error, sock=sock, **options
                )
        raise client_error(req.connection_key, failure) from failure

    async def close(self, *, abort_ssl: bool = True) -> None:
        """Close the connector, and abort what it made; a transport that has ended ignores that."""
        for transport in list(self._made):
            _shut_down(transport)
        await super().close(abort_ssl=abort_ssl)
        for transport in list(self._made):
            transport.abort()

    def leave_to_parent(self) -> None:
        """Take this connector for closed, in a forked process: its parent goes on with the connections.

        Works around: both processes share what tells the event loop of sockets (epoll), and to close a connection takes
        its socket out of there.
        """
        self._closed = True

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        if self._process != os.getpid():
            return
        if should_close and protocol.transport is not None:
            _shut_down(protocol.transport)
        super()._release(key, protocol, should_close=should_close)


def leave_to_parent(session: aiohttp.ClientSession) -> None:
    """Leave the connections of *session* alone, in a forked process whose parent goes on with them."""
    if isinstance(session.connector, AbortingConnector):
        session.connector.leave_to_parent()


def hang_up(connection: Any) -> None:
    """End a connection that is still in use, for every process that has a copy of its socket."""
    if connection is not None and connection.transport is not None:
        _shut_down(connection.transport)


def _shut_down(transport: asyncio.BaseTransport) -> None:
    # OSError: it is not connected any more. AttributeError: nor does a TLS transport know its socket then (CPython,
    # asyncio/sslproto.py).
    with suppress(OSError, AttributeError):
        transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def without_retries(session: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """Return *session*, which now sends each request once.

    Works around: aiohttp sends idempotent requests again when a kept connection was lost, and has no public switch
    for that. When to retry is not a transport's decision.
    """
    session._retry_connection = False  # noqa: SLF001 - see above
    return session


def take_buffered(content: aiohttp.StreamReader) -> bytes:
    """Return the bytes of a body that has failed which arrived before it did.

    Works around: the public ``read_nowait()`` raises the failure before it returns what is buffered.
    """
    return bytes(content._read_nowait(-1))  # noqa: SLF001 - see above


def head_timer() -> aiohttp.TraceConfig:
    """Return what begins to limit the wait for a head once a request without a body has been sent."""

    async def sent(_session: aiohttp.ClientSession, context: Any, _params: object) -> None:
        if context.trace_request_ctx.empty:
            context.trace_request_ctx.wait_for_head()

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(sent)
    return trace


class ConnectionWatch:
    """Watches how the connection of a response ends.

    Works around two cases in which aiohttp does not report that: a connection that closes in a body whose framing is
    invalid, after which reads wait without a timeout, and a reset, which aiohttp takes for the end of a body that
    ends with its connection.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content
        self._protocol = None if response.connection is None else response.connection.protocol
        self._closed = None if self._protocol is None else self._protocol.closed
        if self._closed is not None:
            # Once a connection, for as long as it is kept.
            self._closed.remove_done_callback(_retrieve)
            self._closed.add_done_callback(_retrieve)
            self._closed.add_done_callback(self._end_body)

    def error(self) -> OSError | None:
        """Return what broke the connection; ``None`` when the peer closed it in order."""
        exc = None if self._protocol is None else self._protocol.exception()
        return exc if isinstance(exc, OSError) else None

    def stop(self) -> None:
        """Forget the connection, which may be kept for other requests."""
        if self._closed is not None:
            self._closed.remove_done_callback(self._end_body)

    def _end_body(self, _closed: asyncio.Future[None]) -> None:
        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(aiohttp.ClientPayloadError("the connection was closed"))


def _retrieve(closed: asyncio.Future[None]) -> None:
    """Take note of how a connection ended, also one that was idle: else asyncio logs it as never retrieved."""
    if not closed.cancelled():
        closed.exception()


_TICK_SECONDS: Final = 0.01


class UploadPayload(aiohttp.Payload):
    """A request's body while it is sent.

    Works around: aiohttp sends bodies without a write timeout, and hands buffers over that asyncio may still hold when
    they are used again. Its read timeout starts again with each byte of a head, and stops at an interim response
    (100 Continue).

    Args:
        body: The body.
        silence: Seconds that the peer may take nothing, and then may take for its head; ``None`` for no limit.
        hold: Seconds to wait for a response first.

    Attributes:
        empty: Whether there is nothing to send; aiohttp then does not call ``write``.
        sent: How far the request came.
        head: Limits the wait for the head of the response, from when the request has been sent.
        error: What the body itself raised.
        stalled: Whether the peer took nothing for too long.
    """

    def __init__(self, body: RequestBody, silence: float | None, hold: float = 0.0) -> None:
        super().__init__(body)
        self._silence = silence
        self._hold = hold
        self.sent = SentRequest()
        self.empty = not len(body)
        self.head = SilenceLimit(None)
        self.error: Exception | None = None
        self.stalled = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> NoReturn:  # noqa: ARG002 - aiohttp's signature
        """Refuse: aiohttp wants a text for logs and digests, and a body may be many GiB of binary data."""
        raise TypeError("an upload is no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body; called by aiohttp."""
        transport = writer.transport
        if transport is None:
            raise aiohttp.ClientConnectionResetError("the connection is gone")
        # asyncio then buffers nothing: when drain() returns, a buffer has been sent and may be used again. A writer
        # waits above this mark, over TLS also at it (CPython's sslproto.py, _control_app_writing).
        transport.set_write_buffer_limits(high=1 if transport.get_extra_info("sslcontext") else 0)
        try:
            await self._wait_for_redirect(writer)
            async with aclosing(self._buffers()) as buffers:
                async for buffer in buffers:
                    await self._send(buffer, writer)
        except BaseException:
            # close() would wait until the peer takes what is buffered.
            transport.abort()
            raise
        transport.set_write_buffer_limits()
        self.wait_for_head()

    async def _wait_for_redirect(self, writer: AbstractStreamWriter) -> None:
        """Wait until the time is over, or the response has been read and the connection closed behind it."""
        if not self._hold:
            return
        writer.send_headers()  # else they wait for the first bytes of the body
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._hold
        while loop.time() < ends_at:
            if writer.transport is None or writer.transport.is_closing():
                raise aiohttp.ClientConnectionResetError("the request was answered")
            await asyncio.sleep(_TICK_SECONDS)

    def wait_for_head(self, longer: float = 0.0) -> None:
        """Begin to limit the wait for the head: the request has been sent, or will be within *longer* seconds."""
        if self._silence is not None:
            self.head.begin(longer + self._silence)

    async def _send(self, buffer: bytes | memoryview, writer: AbstractStreamWriter) -> None:
        try:
            self.sent.body_bytes += len(buffer)
            async with SilenceLimit(self._silence):
                await writer.write(buffer)
                await writer.drain()
        except TimeoutError:
            self.stalled = True
            raise
        # Other tasks run even if the peer is fast, and an early response is read before writing fails.
        await asyncio.sleep(0)

    async def _buffers(self) -> AsyncGenerator[bytes | memoryview, None]:
        try:
            async with aclosing(pieces_async(self._value)) as buffers:
                async for buffer in buffers:
                    yield buffer
        except Exception as exc:
            self.error = exc
            raise

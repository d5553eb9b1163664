"""The requests of one push to a registry: complete responses or errors, and small requests that are retried."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeVar

import attrs

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    OllamaPushError,
    Peer,
    PushInterrupted,
    PushRejected,
    ServerError,
    TransportError,
)
from ollama_push.core.facts import Operation
from ollama_push.core.hosts import origin_of
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.authorizer import Authorizer
from ollama_push.core.registry.effects import Flow, ReportRetry, Sleep
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.registry.error_responses import refusal, wants_tls
from ollama_push.core.registry.pace import Pace
from ollama_push.core.registry.tokens import REQUEST_TIMEOUT_SECONDS
from ollama_push.core.responses import BlobRequest, BlobSpan, BufferedResponse, NotAsked
from ollama_push.core.retry import RetryPolicy
from ollama_push.core.version import USER_AGENT

__all__ = ["Exchange", "RetryBudget"]

T = TypeVar("T")

# The registry responds after it has read, and perhaps hashed, the whole body: its silence says nothing before.
_SLOW_METHODS: Final = frozenset({"PATCH", "PUT"})
_PUT_OFF: Final = 429
"""Too Many Requests (RFC 6585, 4): not begun."""
_UPLOADING: Final[Mapping[str, Operation]] = {
    "POST": Operation.OPEN_UPLOAD,
    "PATCH": Operation.SEND_PART,
    "PUT": Operation.COMMIT_BLOB,
}


@attrs.define(eq=False, repr=False)
class Exchange:
    """Everything the flows of one push share.

    Args:
        endpoint: The repository.
        authorizer: Who we are there.
        retry: When to retry.
        random: Random numbers, 0.0 to 1.0.
        clock: Monotonic seconds.
        interrupted: Whether the push was asked to stop, or another of its flows has failed.
        body_timeout: Longest silence while a body is sent or judged; ``math.inf`` for no limit.
    """

    endpoint: Endpoint
    _authorizer: Authorizer
    _retry: RetryPolicy
    _random: Callable[[], float]
    clock: Callable[[], float]
    _interrupted: Callable[[], bool]
    _body_timeout: float
    headers: dict[str, str] = attrs.field(factory=dict, init=False)
    _reached: bool = attrs.field(default=False, init=False)
    _pace: Pace = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pace = Pace(self.clock, self._retry.shortest_put_off)

    @property
    def authorized(self) -> bool:
        """Whether the registry wanted a credential, and was shown one."""
        return self._authorizer.asked

    @property
    def refusal(self) -> str | None:
        """How the registry challenged a read without a credential; see ``Authorizer``."""
        return self._authorizer.refusal

    def retry_budget(self) -> RetryBudget:
        """Return a new count of failures, for one thing that is to be done."""
        return RetryBudget(self._retry, self._random, lambda: self._reached)

    def without_secrets(self, flow: Flow[T]) -> Flow[T]:
        """Run *flow*, which uses this; the error that it ends in is raised without what was shown to the registry."""
        try:
            return (yield from flow)
        except OllamaPushError as error:
            self._authorizer.secrets.hide_in(error)
            raise

    def raise_if_interrupted(self) -> None:
        """Raise ``PushInterrupted`` when the push is to stop."""
        if self._interrupted():
            raise PushInterrupted

    def once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        span: BlobSpan | None = None,
        *,
        kind: type[HttpRequest] = HttpRequest,
        operation: Operation | None = None,
        subject: str = "",
    ) -> Flow[BufferedResponse]:
        """Send one request, once; again only while it is put off (429), for as long as the policy allows.

        Args:
            method: HTTP method.
            url: Absolute URL.
            headers: Sent along.
            body: Small.
            span: What to send as the body instead.
            kind: ``BlobRequest`` where a success is to come as a ``StreamedResponse``; ``OptionalRequest`` for one that
                only saves work: while the registry is ill it is put off, and the registry's root asked instead.
            operation: What is asked for, where an upload would use another method for it.
            subject: The digest or URL that the operation is about, where there is no *span*.

        Raises:
            TransportError: There is no response.
            PushRejected: The registry does not let us in.
            ServerError: It was put off too often, or for too long.
        """
        count = 0
        while True:
            while (wait := self._pace.wait()) > 0:
                yield Sleep(wait)
                self.raise_if_interrupted()
            sent_at = self._pace.take_turn()
            try:
                response = yield from self._send(method, url, headers, body, span, kind=kind)
            except NotAsked:
                yield from self._knock()
                continue
            except ServerError as error:  # of the realm
                if error.status != _PUT_OFF:
                    raise
                put_off = error
            else:
                if response.status != _PUT_OFF:
                    self._pace.let_through()
                    return response
                what = operation or _UPLOADING.get(method, Operation.UPLOAD_STATUS)
                if span is not None and method == "PUT" and not span.offset:
                    what = Operation.SEND_BLOB
                refused = refusal(response, what, subject if span is None else span.digest)
                if not isinstance(refused, ServerError):  # it says that it is full
                    raise refused
                put_off = refused
            count += 1
            yield from self._put_off(put_off, sent_at, count)

    def _put_off(self, error: ServerError, sent_at: float, count: int) -> Flow[None]:
        """Let all requests of this push wait after *error*, the 429 number *count* of one of them."""
        wait = self._retry.put_off(error, count)
        self._authorizer.secrets.hide_in(error)
        if wait is None:
            error.attempts = count
            raise error
        self._pace.put_off(sent_at, wait)
        yield ReportRetry(error, self._pace.wait())

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: bytes,
        span: BlobSpan | None,
        *,
        kind: type[HttpRequest],
    ) -> Flow[BufferedResponse]:
        silence = self._body_timeout
        if method not in _SLOW_METHODS and kind is not BlobRequest:
            silence = min(silence, REQUEST_TIMEOUT_SECONDS)
        fields = {"User-Agent": USER_AGENT, **self.headers, **(headers or {})}
        try:
            response = yield from self._authorizer.send(kind(method, url, fields, body, silence), span)
            if isinstance(response, TransportError):
                raise response
            if url.startswith("http:") and wants_tls(response):
                raise ConnectFailed(origin_of(url), ConnectCause.WANTS_TLS)
        except ConnectFailed as error:
            error.peer = Peer.REGISTRY if self.endpoint.owns(error.address) else Peer.ELSEWHERE
            raise
        self._reached = True
        return response

    def _knock(self) -> Flow[None]:
        """Ask the root of the registry, without credentials: this waits while it is ill, and tries whether it is well.

        Source: distribution-spec v1.1.1, "Determining Support", ``GET /v2/``.
        """
        self.raise_if_interrupted()
        fields = {"User-Agent": USER_AGENT}
        request = HttpRequest("GET", self.endpoint.base, fields, b"", min(self._body_timeout, REQUEST_TIMEOUT_SECONDS))
        try:
            yield from self._authorizer.send_signed(request, None)
        except PushRejected:  # it redirects to where it must not lead: it responds
            return

    def once_signed(
        self, method: str, url: str, headers: Mapping[str, str], span: BlobSpan | None
    ) -> Flow[BufferedResponse]:
        """Send one request, once, to a URL that the registry has signed: without credentials, and headers of traces.

        Raises:
            TransportError: There is no response.
        """
        fields = {"User-Agent": USER_AGENT, **headers}
        request = HttpRequest(method, url, fields, b"", self._body_timeout)
        response = yield from self._authorizer.send_signed(request, span)
        if isinstance(response, ConnectFailed):
            response.peer = Peer.ELSEWHERE
        if isinstance(response, TransportError):
            raise response
        return response

    def ask(
        self,
        operation: Operation,
        method: str,
        url: str,
        accept: Collection[int],
        *,
        subject: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        kind: type[HttpRequest] = HttpRequest,
    ) -> Flow[BufferedResponse]:
        """Send a request that may be retried, until the response has a status in *accept*.

        Args:
            operation: What is asked for; an error carries it.
            method: HTTP method.
            url: Absolute URL.
            accept: Statuses to return; every other is an error.
            subject: The digest or URL that the operation is about; an error carries it.
            headers: Sent along.
            body: Small.
            kind: See ``once``.

        Raises:
            OllamaPushError: What it ended in.
        """
        patience = self.retry_budget()
        while True:
            try:
                response = yield from self.once(
                    method, url, headers, body, kind=kind, operation=operation, subject=subject
                )
                if response.status in accept:
                    return response
                raise refusal(response, operation, subject)
            except (TransportError, ServerError) as error:
                yield from self.wait(patience.after(error), error)

    def growing_wait(self, number: int) -> float:
        """Return the seconds to wait before look number *number* for what may take long."""
        return self._retry.growing_wait(number, self._random())

    def wait(self, seconds: float, error: OllamaPushError) -> Flow[None]:
        """Wait after *error*, before the same is tried again."""
        self._authorizer.secrets.hide_in(error)
        yield ReportRetry(error, seconds)
        yield Sleep(seconds)
        self.raise_if_interrupted()


@attrs.define
class RetryBudget:
    """Counts the failures of one thing that is to be done; progress makes it forget them."""

    _retry: RetryPolicy
    _random: Callable[[], float]
    _reached: Callable[[], bool]
    _failures: int = attrs.field(default=0, init=False)

    def after(self, error: OllamaPushError) -> float:
        """Return the seconds to wait after *error*; raise it when enough is enough, or it is for good."""
        if isinstance(error, ServerError) and error.status == _PUT_OFF and error.attempts:
            raise error  # it was tried again with a patience of its own
        self._failures += 1
        wait = self._retry.wait_after(error, self._failures, reached=self._reached(), random=self._random())
        if wait is None:
            error.attempts = self._failures
            raise error
        return wait

    def after_setback(self, error: OllamaPushError) -> float:
        """Return the seconds to wait after something that another way may get around; raise *error* in the end."""
        self._failures += 1
        wait = self._retry.backoff(self._failures, self._random())
        if wait is None:
            error.attempts = self._failures
            raise error
        return wait

    def progressed(self) -> None:
        """Take note that bytes were acknowledged which never were before."""
        self._failures = 0

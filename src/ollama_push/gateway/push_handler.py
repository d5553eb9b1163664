"""Serves ``POST /api/push``: reads the request, has the push carried out, and writes its progress to the client.

Two tasks a push: one pushes, one writes. They meet in a ``PushTask``, so that neither waits for the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Final

from aiohttp import web

from ollama_push.client import AsyncRegistryClient
from ollama_push.client._hooks import tell_early_end
from ollama_push.client._lanes import Lane
from ollama_push.core.errors import InvalidModelName, InvalidSetting, OllamaPushError
from ollama_push.core.events import TICK_SECONDS
from ollama_push.core.observations import PushOutcome
from ollama_push.core.ports import Hook
from ollama_push.core.registry.credentials import CredentialSource, GivenCredential, Login
from ollama_push.core.registry.endpoints import Endpoint, may_carry_secrets
from ollama_push.core.registry.flows.privacy import require_private_host
from ollama_push.gateway.egress.transport import forbidden_url
from ollama_push.gateway.messages import error_text, forbidden_text, name_text
from ollama_push.gateway.progress_lines import COULD_NOT_RETRIEVE_LINE, RETRIEVING_LINE, error_line
from ollama_push.gateway.push_history import PushHistory, RunningPush, log_refusal
from ollama_push.gateway.push_request import PushRequestBody
from ollama_push.gateway.push_task import PushTask, find_model
from ollama_push.gateway.replicas import Replicas
from ollama_push.gateway.responses import RequestRefused, json_response, read_body
from ollama_push.gateway.route import PushRoute, route_for
from ollama_push.gateway.settings import GatewaySettings
from ollama_push.gateway.shutdown import CancelledByShutdown, Shutdown
from ollama_push.gateway.stream import TimedStream, is_gone
from ollama_push.local import Credentials

__all__ = ["PushHandler"]

_JSON: Final = "application/json"
_STREAM_HEADERS: Final[Mapping[str, str]] = {"Content-Type": "application/x-ndjson"}
_CHECK_SECONDS: Final = 0.25
"""Time between two checks that a client without progress is still there."""


class PushHandler:
    """The pushes of one gateway.

    Args:
        settings: As for the gateway.
        history: Where the pushes are recorded.
        lane: Reads the store.
        credentials: The gateway's own logins.
        replicas: Which share the limit on pushes.
        hooks: Told of pushes that end before they begin; *client* tells of all others.

    Attributes:
        client: Carries the pushes out; set while the gateway runs.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        history: PushHistory,
        lane: Lane,
        credentials: CredentialSource,
        replicas: Replicas,
        *,
        hooks: Sequence[Hook],
    ) -> None:
        self.client: AsyncRegistryClient | None = None
        self._settings = settings
        self._history = history
        self._lane = lane
        self._own_credentials = credentials
        self._replicas = replicas
        self._hooks = hooks
        self._shutdown = Shutdown(settings.shutdown_grace)

    def shut_down(self) -> None:
        """Interrupt all pushes at the end of the parts they are sending, and take no new ones."""
        self._shutdown.begin()
        if self.client is not None:
            self.client.interrupt()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Respond to one ``POST /api/push``."""
        try:
            data = await self._read_body(request)
        except RequestRefused as exc:
            response = exc.response()
            response.force_close()  # the rest of the body would be taken for the next request
            return response
        except ConnectionError:
            return web.Response(status=HTTPStatus.BAD_REQUEST)  # for the log alone: the client is gone
        model = ""
        try:
            body = PushRequestBody.parse(data)
            model = body.model
            return await self._respond(request, body)
        except RequestRefused as exc:
            log_refusal(model, str(exc))
            return exc.response()

    async def _read_body(self, request: web.Request) -> bytes:
        """Read the body; not during a shutdown, when aiohttp no longer receives any of it."""
        try:
            async with self._shutdown.cancels_at_once():
                return await read_body(request, self._settings.max_body_bytes, self._settings.body_timeout)
        except CancelledByShutdown:
            raise _shutting_down() from None

    async def _respond(self, request: web.Request, body: PushRequestBody) -> web.StreamResponse:
        try:
            route = route_for(body.model, self._settings.default_registry, body.source)
        except InvalidModelName as exc:
            text = name_text(exc.name if body.source == exc.name else body.model, exc)
            log_refusal(body.model, text)
            self._history.add_refused(body.model, text)
            tell_early_end(self._hooks, body.model, "", exc)
            return await self._fail_early(request, text, stream=body.stream)
        if body.private:
            _require_private(route)
        plain_http = body.insecure or self._settings.plain_http
        registry = Endpoint.of(route.target.host, plain_http=plain_http)
        self._require_allowed(registry)
        if self.client is None or self._shutdown.has_begun:
            raise _shutting_down()
        async with self._replicas.admitted() as may_run:
            if not may_run:
                raise self._too_many()
            return await self._push(request, body, route, registry, plain_http=plain_http)

    async def _push(
        self, request: web.Request, body: PushRequestBody, route: PushRoute, registry: Endpoint, *, plain_http: bool
    ) -> web.StreamResponse:
        if self.client is None:
            raise _shutting_down()
        with self._begin(route, registry) as record:
            store = self._settings.store
            describe = partial(
                error_text,
                target=route.target,
                root=store.root,
                written=route.sources[0],
                withheld_login=self._withholds_login(registry),
            )
            try:
                model = await self._lane.run(find_model, store, route)
            except OllamaPushError as exc:
                record.finish(PushOutcome.FAILED, text := describe(exc))
                tell_early_end(self._hooks, route.target, registry.origin, exc)
                # Without a store, a real server fails before its first line; that is the only such failure.
                stream = body.stream and not isinstance(exc, InvalidSetting)
                return await self._fail_early(request, text, stream=stream)
            task = PushTask(
                self.client,
                route.target,
                model,
                self._credentials(body, registry),
                plain_http=plain_http,
                private=body.private,
                record=record,
                describe=describe,
                shutdown=self._shutdown,
            )
            return await (self._stream(request, task) if body.stream else self._wait(request, task))

    def _require_allowed(self, registry: Endpoint) -> None:
        if not self._settings.allows(registry):
            raise RequestRefused(HTTPStatus.FORBIDDEN, f"this gateway does not push to {registry.host}")
        if (facts := forbidden_url(self._settings.rules, registry.origin)) is not None:
            raise RequestRefused(HTTPStatus.FORBIDDEN, f"this gateway does not push there: {forbidden_text(facts)}")

    def _begin(self, route: PushRoute, registry: Endpoint) -> RunningPush:
        record = self._history.begin(str(route.target), registry.origin)
        if record is None:
            raise self._too_many()
        return record

    def _too_many(self) -> RequestRefused:
        return _unavailable(f"{self._history.limit} pushes are running, which is as many as may")

    def _credentials(self, body: PushRequestBody, registry: Endpoint) -> Login | CredentialSource | None:
        """Return the client's login, else ``None`` for the gateway's own.

        A client from elsewhere cannot make the gateway send its own login in the clear.
        """
        may_send_own = self._settings.loopback or self._settings.plain_http
        if body.login is not None or may_send_own or may_carry_secrets(registry.origin, plain_for=None):
            return body.login
        return GivenCredential(None)

    def _withholds_login(self, registry: Endpoint) -> bool:
        own = self._own_credentials
        return isinstance(own, Credentials) and own.withholds_login_from(registry.host)

    async def _stream(self, request: web.Request, task: PushTask) -> web.StreamResponse:
        """Respond with lines as they come."""
        stream = self._new_stream(request)
        async with task.running(), stream:
            await stream.write(RETRIEVING_LINE)
            await _write_progress(stream, task)
        return stream.response

    async def _wait(self, request: web.Request, task: PushTask) -> web.StreamResponse:
        """Respond when the push is over, and with nothing before."""
        loop = asyncio.get_running_loop()
        async with task.running():
            while not task.is_over and not is_gone(request):
                await task.wait_for_lines(loop.time() + _CHECK_SECONDS)
        if task.error:
            return _failure(task.error)
        return json_response(HTTPStatus.OK, {"status": "success"}, content_type=_JSON)

    async def _fail_early(self, request: web.Request, text: str, *, stream: bool) -> web.StreamResponse:
        """Respond to a push that fails before it begins."""
        if not stream:
            return _failure(text)
        async with self._new_stream(request) as lines:
            for line in (RETRIEVING_LINE, COULD_NOT_RETRIEVE_LINE, error_line(text)):
                await lines.write(line)
        return lines.response

    def _new_stream(self, request: web.Request) -> TimedStream:
        return TimedStream(request, _STREAM_HEADERS, self._settings.stall_timeout)


async def _write_progress(stream: TimedStream, task: PushTask) -> None:
    """Write lines until the push is over, and its error if it failed."""
    loop = asyncio.get_running_loop()
    due = loop.time() + TICK_SECONDS
    while not task.is_over:
        tick = await task.wait_for_lines(due)
        if tick:
            due = max(due + TICK_SECONDS, loop.time())
        stream.require_reader()
        for line in task.next_lines(tick=tick):
            await stream.write(line)
    # A failure comes after the latest counters.
    for line in task.next_lines(tick=bool(task.error)):
        await stream.write(line)
    if task.error:
        await stream.write(error_line(task.error))


def _require_private(route: PushRoute) -> None:
    """Refuse what would be published although it is to be private: a real server would do so without a word."""
    try:
        require_private_host(route.target)
    except InvalidSetting as exc:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, f"private: {exc.problem}") from None


def _failure(text: str) -> web.Response:
    return json_response(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": text}, content_type=_JSON)


def _unavailable(text: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, text)


def _shutting_down() -> RequestRefused:
    return _unavailable("the gateway is shutting down")

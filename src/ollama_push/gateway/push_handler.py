"""Serves ``POST /api/push``: takes the order, has it carried out, tells the client how it goes.

Two tasks a push: one pushes, one writes. They meet in a ``ProgressLines``, so that neither waits for the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from ollama_push.client import AsyncRegistryClient
from ollama_push.core.errors import InvalidModelName, InvalidSetting, OllamaPushError
from ollama_push.core.events import TICK_SECONDS
from ollama_push.core.registry.credentials import CredentialSource, Login
from ollama_push.core.registry.endpoints import Endpoint, may_carry_secrets
from ollama_push.gateway.egress.transport import forbidden_url
from ollama_push.gateway.messages import UNEXPECTED, name_text
from ollama_push.gateway.progress_lines import COULD_NOT_RETRIEVE, RETRIEVING, error_line
from ollama_push.gateway.push_history import PushHistory
from ollama_push.gateway.push_request import BadRequest, PushOrder, read_order
from ollama_push.gateway.push_task import PushTask, find_model
from ollama_push.gateway.responses import BodyRefused, json_answer, read_body
from ollama_push.gateway.route import Route, route_for
from ollama_push.gateway.settings import GatewaySettings
from ollama_push.gateway.stream import TimedStream, is_gone
from ollama_push.local import StoredModel

__all__ = ["PushService"]

_JSON: Final = "application/json"
_STREAM_HEADERS: Final[Mapping[str, str]] = {"Content-Type": "application/x-ndjson"}
_SILENT_TICK_SECONDS: Final = 0.25
"""How often an answer that is not streamed looks whether its client is still there."""
_UNAVAILABLE: Final = 503
_ENDING: Final = "the gateway is shutting down"
_RETRY_SECONDS: Final = 5
"""When to come again if there is no room: pushes take longer, but one may end any time."""


class PushService:
    """The pushes of one gateway.

    Args:
        settings: As for the gateway.
        book: Where they are noted.

    Attributes:
        client: Carries them out; set while the gateway runs.
    """

    def __init__(self, settings: GatewaySettings, book: PushHistory) -> None:
        self.client: AsyncRegistryClient | None = None
        self._settings = settings
        self._book = book
        self._works: set[PushTask] = set()
        self._ended = asyncio.Event()

    def close(self) -> None:
        """End all pushes at the end of the parts they are sending, and take no new ones."""
        self._ended.set()
        if self.client is not None:
            self.client.interrupt()
        for work in self._works:
            work.end_within(self._settings.shutdown_grace)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one ``POST /api/push``."""
        try:
            # Not on the loop: Go's JSON is read value by value.
            order = await asyncio.to_thread(read_order, await self._body(request))
        except BadRequest as exc:
            return json_answer(400, {"error": str(exc)})
        except BodyRefused as exc:
            response = (
                _come_again(str(exc)) if exc.status == _UNAVAILABLE else json_answer(exc.status, {"error": str(exc)})
            )
            response.force_close()  # what is left of the body would be taken for the next request
            return response
        except ConnectionError:
            return web.Response(status=400)  # for the log alone: the client hung up
        try:
            route = route_for(order.model, self._settings.default_registry)
        except InvalidModelName as exc:
            return await self._failed_at_once(request, order, name_text(order.model, exc))
        plain_http = order.insecure or self._settings.plain_http
        registry = Endpoint.of(route.target.host, plain_http=plain_http)
        if problem := self._forbidden(registry):
            return json_answer(403, {"error": problem})
        if self.client is None or self._ended.is_set():
            return _come_again(_ENDING)
        entry = self._book.begin(str(route.target), registry.origin)
        if entry is None:
            return _come_again(f"{self._book.limit} pushes are running, which is as many as may")
        root = self._settings.store.root
        credentials = self._credentials(order, registry)
        work = PushTask(self.client, route, credentials, plain_http=plain_http, root=root, entry=entry)
        self._works.add(work)
        try:
            return await self._answer(request, order, route, work)
        finally:
            work.leave()
            self._works.discard(work)

    async def _body(self, request: web.Request) -> bytes:
        """Read the body while the gateway runs: once it ends, aiohttp takes nothing more of it."""
        reading = asyncio.create_task(read_body(request, self._settings.max_body_bytes, self._settings.body_timeout))
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({reading, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise BodyRefused(_UNAVAILABLE, _ENDING)
            return reading.result()
        finally:
            reading.cancel()
            ended.cancel()
            await asyncio.gather(reading, ended, return_exceptions=True)

    def _credentials(self, order: PushOrder, registry: Endpoint) -> Login | CredentialSource | None:
        """Return who is pushing: whom the client names, else whoever we are.

        A client from elsewhere cannot make us send our own login in the clear.
        """
        is_ours_to_say = self._settings.loopback or self._settings.plain_http
        if order.login is not None or is_ours_to_say or may_carry_secrets(registry.origin, plain_for=None):
            return order.login
        return _Nobody()

    def _forbidden(self, registry: Endpoint) -> str:
        if not self._settings.allows(registry):
            return f"this gateway does not push to {registry.host}"
        problem = forbidden_url(self._settings.rules, registry.origin)
        return f"this gateway does not push there: {problem}" if problem else ""

    async def _answer(self, request: web.Request, order: PushOrder, route: Route, work: PushTask) -> web.StreamResponse:
        try:
            model = await asyncio.to_thread(find_model, self._settings.store, route)
        except InvalidSetting as exc:
            # The one failure that real servers know before their first line: no store to look into.
            work.fail(exc)
            return json_answer(500, {"error": work.error}, content_type=_JSON)
        except OllamaPushError as exc:
            work.fail(exc)
            return await self._failed_at_once(request, order, work.error)
        return await (self._streamed if order.stream else self._at_once)(request, work, model)

    async def _streamed(self, request: web.Request, work: PushTask, model: StoredModel) -> web.StreamResponse:
        lines = TimedStream(request, _STREAM_HEADERS, self._settings.stall_timeout)
        task = asyncio.create_task(work.run(model), name="ollama-push-gateway")
        try:
            await lines.begin()
            await lines.write(RETRIEVING)
            await self._tell(lines, work, task)
            await lines.end()
        except ConnectionError:
            pass  # the client hung up
        finally:
            await _stopped(task)
        return lines.response

    async def _tell(self, lines: TimedStream, work: PushTask, task: asyncio.Task[None]) -> None:
        """Write what is to be said until the push is over."""
        loop = asyncio.get_running_loop()
        due = loop.time() + TICK_SECONDS
        while not task.done():
            tick = await work.tick(due)
            if tick:
                due = max(due + TICK_SECONDS, loop.time())
            lines.require_reader()
            for line in work.next_lines(tick=tick):
                await lines.write(line)
        failure = _failure_of(work, task)
        # Before a failure once more how far it came.
        for line in work.next_lines(tick=bool(failure)):
            await lines.write(line)
        if failure:
            await lines.write(error_line(failure))

    async def _at_once(self, request: web.Request, work: PushTask, model: StoredModel) -> web.StreamResponse:
        """Answer when the push is over, and say nothing before."""
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(work.run(model), name="ollama-push-gateway")
        try:
            while not task.done() and not is_gone(request):
                await work.tick(loop.time() + _SILENT_TICK_SECONDS)
        finally:
            await _stopped(task)
        if failure := _failure_of(work, task):
            return json_answer(500, {"error": failure}, content_type=_JSON)
        return json_answer(200, {"status": "success"}, content_type=_JSON)

    async def _failed_at_once(self, request: web.Request, order: PushOrder, text: str) -> web.StreamResponse:
        """Answer for a push that ends before it begins."""
        if not order.stream:
            return json_answer(500, {"error": text}, content_type=_JSON)
        lines = TimedStream(request, _STREAM_HEADERS, self._settings.stall_timeout)
        try:
            await lines.begin()
            for line in (RETRIEVING, COULD_NOT_RETRIEVE, error_line(text)):
                await lines.write(line)
            await lines.end()
        except ConnectionError:
            pass  # the client hung up
        return lines.response


class _Nobody:
    """Has no login for any registry."""

    def find(self, _host: str, /) -> None:
        return None


def _failure_of(work: PushTask, task: asyncio.Task[None]) -> str:
    """Return why a push that is over failed; empty when it is known to have succeeded, and only then."""
    if work.succeeded:
        return ""
    return "context canceled" if task.cancelled() else work.error or UNEXPECTED


async def _stopped(task: asyncio.Task[None]) -> None:
    """End *task*, and with it the upload, and wait until nothing of it is left."""
    task.cancel()
    await asyncio.wait([task])


def _come_again(text: str) -> web.Response:
    return json_answer(_UNAVAILABLE, {"error": text}, headers={"Retry-After": str(_RETRY_SECONDS)})

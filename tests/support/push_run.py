"""A push driven by hand: a clock that is set, a chance that is known, hooks that record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tests.support.clocks import Clock
from tests.support.server_recordings import NDJSON

from ollama_push.core.errors import OllamaPushError
from ollama_push.core.events import PushEvent
from ollama_push.core.hooks import HookSet
from ollama_push.core.observations import Observation, PushContext
from ollama_push.core.ports import Hook
from ollama_push.core.retry import RetryPolicy
from ollama_push.core.server.request import PushRequest
from ollama_push.core.server.run import PushRun

__all__ = ["PUSH", "Driven", "tick"]

PUSH: Final = PushContext("myuser/my-llama:latest", "http://h:1")


class Mine:
    """A transport in name only: the driver's part is played by the test."""


class Driven:
    """A run with everything it is given within reach."""

    def __init__(
        self,
        *,
        retry: RetryPolicy | None = None,
        stall_timeout: float = 60.0,
        hooks: Iterable[Hook] = (),
        stream: bool = True,
        random: Callable[[], float] = lambda: 1.0,
        watched: bool = True,
        headers: Mapping[str, str] | None = None,
        read_timeout: float | None = None,
    ) -> None:
        self.clock = Clock()
        self.seen: list[Observation] = []
        self.reports: list[tuple[Hook, Exception]] = []
        self.request = PushRequest(PUSH.model, stream=stream).to_http(PUSH.target, headers or {}, read_timeout)
        watching = [self.seen.append] if watched else []
        self.run = PushRun(
            self.request,
            context=PUSH,
            stream=stream,
            retry=retry or RetryPolicy(),
            stall_timeout=stall_timeout,
            hooks=HookSet([*hooks, *watching], PUSH, lambda hook, exc: self.reports.append((hook, exc))),
            clock=self.clock,
            random=random,
            transport=Mine(),
        )

    def begin(self, status: int = 200, headers: Mapping[str, str] = NDJSON) -> None:
        """Begin an attempt and take the head of its answer."""
        self.run.begin_attempt()
        self.run.receive_head(status, headers)

    def feed(self, data: bytes) -> list[PushEvent]:
        """Take bytes and return all events in them."""
        return list(self.run.receive_data(data))

    def end(self) -> list[PushEvent]:
        """Take the end of the body and return the events it brings."""
        return list(self.run.receive_eof())

    def verdict(self, exc: Exception) -> OllamaPushError:
        """Fail the attempt by *exc* for good."""
        try:
            wait = self.run.attempt_failed(exc)
        except OllamaPushError as error:
            return error
        raise AssertionError(f"another attempt in {wait} s")

    def of(self, kind: type[Any]) -> list[Any]:
        """Return the observations of one kind."""
        return [seen for seen in self.seen if isinstance(seen, kind)]


def tick(completed: int, total: int = 100, digest: str = "sha256:a") -> bytes:
    """Return one line of a layer's progress."""
    return b'{"status":"p","digest":"%s","total":%d,"completed":%d}\n' % (digest.encode(), total, completed)

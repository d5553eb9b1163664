"""Checks the arguments of both push clients, and starts pushes from them. Neither sync nor async, no I/O.

One of the two places that read the environment: ``OLLAMA_HOST`` and ``OLLAMA_API_KEY``.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import attrs

from ollama_push.client._hooks import report_hook, telling_early_end
from ollama_push.core.arguments import checked_headers, checked_hooks, checked_stall_timeout
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.hooks import HookSet
from ollama_push.core.hosts import origin_of
from ollama_push.core.names import ModelName
from ollama_push.core.observations import PushContext
from ollama_push.core.ports import Hook
from ollama_push.core.redaction import hide_secret_headers
from ollama_push.core.retry import RetryPolicy
from ollama_push.core.server.address import base_url
from ollama_push.core.server.check import CheckFlow, PrivateFlow, check_flow, private_flow
from ollama_push.core.server.request import PushRequest, merged_headers
from ollama_push.core.server.run import PushRun

__all__ = ["ClientSettings"]


def _base_of(host: str | None) -> str:
    if host is None:
        return base_url(os.environ.get("OLLAMA_HOST"), setting="OLLAMA_HOST")
    if not isinstance(host, str):
        raise InvalidSetting("host", host, "expected a str")
    return base_url(host)


def _with_api_key(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Add ``OLLAMA_API_KEY`` as the official clients do; a header of the caller's own wins."""
    own = checked_headers(headers)
    key = os.environ.get("OLLAMA_API_KEY", "").strip()
    if not key:
        return own
    if not key.isascii() or not key.isprintable():
        # Sooner than by what checks headers: nobody gave one.
        problem = "it holds characters that no header can, such as typographic quotes, a line end or a byte order mark"
        raise InvalidSetting("OLLAMA_API_KEY", "<hidden>", problem)
    return merged_headers({"Authorization": f"Bearer {key}"}, own)


@attrs.frozen
class ClientSettings:
    """Settings of a client; they are checked, and what is not given comes from the environment.

    Attributes:
        base: The server's base URL, without a trailing slash.
        headers: Sent with every request.
        hooks: Called with every observation.
        retry: When to try again.
        stall_timeout: Seconds, ``math.inf`` for no limit.

    Raises:
        InvalidSetting: One of them cannot be used.
    """

    base: str = attrs.field(converter=_base_of)
    headers: Mapping[str, str] = attrs.field(converter=_with_api_key, repr=hide_secret_headers)
    hooks: Sequence[Hook] = attrs.field(converter=checked_hooks)
    retry: RetryPolicy
    stall_timeout: float = attrs.field(converter=checked_stall_timeout)

    def new_run(
        self, model: str | ModelName, transport: object, *, insecure: bool, stream: bool, private: bool
    ) -> PushRun:
        """Return the run of one push.

        Raises:
            InvalidModelName: *model* is none; hooks are told.
        """
        with telling_early_end(self.hooks, model, origin_of(self.base)):
            request = PushRequest(model, insecure, stream, private)
        context = PushContext(str(request.model), origin_of(self.base))
        return PushRun(
            request.to_http(self.base, self.headers, self.stall_timeout),
            context=context,
            stream=request.stream,
            retry=self.retry,
            stall_timeout=self.stall_timeout,
            hooks=HookSet(self.hooks, context, report_hook),
            clock=time.monotonic,
            random=random.random,
            transport=transport,
        )

    def telling(self, run: PushRun) -> AbstractContextManager[object]:
        """Return a block before *run* begins; hooks are told if it ends there."""
        return telling_early_end(self.hooks, run.context.model, run.context.target)

    def new_check(self, model: str | ModelName) -> CheckFlow:
        """Return the flow of one check."""
        return check_flow(model, self.base, self.headers)

    def new_private_check(self) -> PrivateFlow:
        """Return the flow that asks whether the server knows private pushes."""
        return private_flow(self.base, self.headers)

"""What both registry clients are told at construction, and how their work starts from it. No colour."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Self, TypeVar

import attrs

from ollama_push.client._flow_context import FlowContext
from ollama_push.client._hooks import checked_hooks, report_hook
from ollama_push.core.durations import checked_seconds
from ollama_push.core.errors import (
    InvalidSetting,
    PushRejected,
    RejectionReason,
)
from ollama_push.core.hooks import HookSet
from ollama_push.core.names import ModelName, is_registry_host
from ollama_push.core.observations import PushContext
from ollama_push.core.ports import Hook
from ollama_push.core.registry.authorizer import Authorizer
from ollama_push.core.registry.blob_upload.part_sizes import PartSizes
from ollama_push.core.registry.credentials import (
    AccessToken,
    Credential,
    CredentialSource,
    IdentityToken,
    Login,
    Signer,
)
from ollama_push.core.registry.effects import (
    Flow,
)
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.flows.login import login_flow
from ollama_push.core.registry.flows.plan import plan_flow
from ollama_push.core.registry.flows.push import Delivery, push_flow
from ollama_push.core.registry.flows.verify import verify_flow
from ollama_push.core.registry.plans import PushPlan, Verification
from ollama_push.core.registry.resume import ResumeStore
from ollama_push.core.registry.run import RegistryRun
from ollama_push.core.registry.target import direct_name, scopes_for
from ollama_push.core.retry import RetryPolicy
from ollama_push.local import Credentials, FileResumeStore, ModelStore, StoredModel

__all__ = ["AnyCredential", "RegistrySettings"]

T = TypeVar("T")

AnyCredential = Credential | CredentialSource | tuple[str, str] | None
"""Who we are, as callers may say it: ``None`` leaves it to the environment and docker's configuration."""

_MOST_AT_ONCE: Final = 64


@attrs.frozen
class RegistrySettings:
    """Checked settings of a registry client; what they mean is said at ``RegistryClient``."""

    store: ModelStore
    credentials: CredentialSource
    hooks: Sequence[Hook]
    retry: RetryPolicy
    concurrency: int
    plain_http: bool
    verify: bool
    resume: ResumeStore
    part_bytes: int | None
    stall_timeout: float

    @classmethod
    def from_arguments(
        cls,
        *,
        store: ModelStore | str | os.PathLike[str] | None,
        credentials: AnyCredential,
        hooks: Iterable[Hook],
        retry: RetryPolicy,
        concurrency: int,
        resume: ResumeStore | None,
        part_bytes: int | None,
        stall_timeout: float | None,
        plain_http: bool,
        verify: bool,
    ) -> Self:
        """Check a client's arguments.

        Raises:
            InvalidSetting: One of them cannot be used.
        """
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or not 1 <= concurrency <= _MOST_AT_ONCE:
            raise InvalidSetting("concurrency", concurrency, f"expected 1 to {_MOST_AT_ONCE}")
        if part_bytes is not None and (type(part_bytes) is not int or part_bytes < 1):
            raise InvalidSetting("part_bytes", part_bytes, "expected a number of bytes above 0, or None to adapt")
        return cls(
            store if isinstance(store, ModelStore) else ModelStore(store),
            _source_of(credentials),
            checked_hooks(hooks),
            retry,
            concurrency,
            plain_http,
            verify,
            FileResumeStore() if resume is None else resume,
            part_bytes,
            checked_seconds("stall_timeout", stall_timeout),
        )

    def evolved(self, credentials: AnyCredential, *, plain_http: bool | None) -> RegistrySettings:
        """Return these settings with what one call says otherwise."""
        return attrs.evolve(
            self,
            credentials=self.credentials if credentials is None else _source_of(credentials),
            plain_http=self.plain_http if plain_http is None else plain_http,
        )

    def new_push(
        self, model: str | ModelName, source: str | ModelName | None
    ) -> tuple[FlowContext[Delivery], RegistryRun]:
        """Return the job of one push. The local model is read and checked here, before anything is sent."""
        name, stored = self._find(model, source)
        sizes = PartSizes(name.host, self.part_bytes)

        def flow(exchange: Exchange) -> Flow[Delivery]:
            return push_flow(
                exchange, name, stored.manifest, sizes=sizes, concurrency=self.concurrency, verify=self.verify
            )

        job = self._job(name, stored, flow)
        context = PushContext(str(name), job.exchange.endpoint.origin)
        hooks = HookSet(self.hooks, context, report_hook)
        return job, RegistryRun(stored.manifest, context=context, hooks=hooks, clock=time.monotonic)

    def new_plan(self, model: str | ModelName, source: str | ModelName | None) -> FlowContext[PushPlan]:
        """Return the job of one dry run."""
        name, stored = self._find(model, source)

        def flow(exchange: Exchange) -> Flow[PushPlan]:
            return plan_flow(exchange, name, stored.manifest, concurrency=self.concurrency)

        return self._job(name, stored, flow)

    def new_verification(self, model: str | ModelName, source: str | ModelName | None) -> FlowContext[Verification]:
        """Return the job of one look at what a registry holds."""
        name = direct_name(model, plain_http=self.plain_http)
        try:
            stored = self.store.load(_local(name if source is None else source))
        except PushRejected as exc:
            if source is not None or exc.reason is not RejectionReason.MODEL_NOT_FOUND:
                raise
            stored = None
        except InvalidSetting:
            if source is not None:
                raise
            stored = None  # a machine without a store can still look at a registry
        expected = stored.manifest if stored else None

        def flow(exchange: Exchange) -> Flow[Verification]:
            return verify_flow(exchange, name, expected, concurrency=self.concurrency)

        return self._job(name, stored, flow)

    def _find(self, model: str | ModelName, source: str | ModelName | None) -> tuple[ModelName, StoredModel]:
        name = direct_name(model, plain_http=self.plain_http)
        return name, self.store.load(_local(name if source is None else source))

    def new_login(self, host: str) -> FlowContext[bool]:
        """Return the job of trying our credentials."""
        if not is_registry_host(host):
            raise InvalidSetting("registry", host, "expected host or host:port, without a scheme or a path")
        return self._started(Endpoint.of(host, plain_http=self.plain_http), (), None, login_flow)

    def _job(self, name: ModelName, stored: StoredModel | None, make: Callable[[Exchange], Flow[T]]) -> FlowContext[T]:
        endpoint = Endpoint.of(name.host, name.repository, plain_http=self.plain_http)
        return self._started(endpoint, scopes_for(name, stored.manifest if stored else None), stored, make)

    def _started(
        self, endpoint: Endpoint, scopes: Sequence[str], stored: StoredModel | None, make: Callable[[Exchange], Flow[T]]
    ) -> FlowContext[T]:
        authorizer = Authorizer(
            endpoint,
            scopes,
            plain_http=self.plain_http,
            clock=time.monotonic,
            now=time.time,
            nonce=os.urandom,
        )
        exchange = Exchange(
            endpoint,
            authorizer,
            retry=self.retry,
            random=random.random,
            clock=time.monotonic,
            # The job is made from the exchange; it is asked only once the flow runs.
            stopping=lambda: job.stopping,
            patience_seconds=self.stall_timeout,
        )
        job = FlowContext(make, exchange, self.credentials, self.resume, stored)
        return job


def _source_of(given: AnyCredential) -> CredentialSource:
    if given is None:
        return Credentials()
    if isinstance(given, tuple):
        if len(given) != 2 or not all(isinstance(text, str) for text in given):  # noqa: PLR2004 - a pair
            raise InvalidSetting("credentials", "<hidden>", "expected (username, password)")
        return Credentials(Login(*given))
    if isinstance(given, CredentialSource):
        return given
    if isinstance(given, Login | IdentityToken | AccessToken | Signer):
        return Credentials(given)
    raise InvalidSetting("credentials", "<hidden>", "expected a Login, (username, password) or Credentials")


def _local(name: str | ModelName) -> ModelName:
    return name if isinstance(name, ModelName) else ModelName.parse_local(name)

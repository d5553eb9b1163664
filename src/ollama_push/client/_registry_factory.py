"""Makes the flows of a registry client from its settings and a model. Neither sync nor async."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar

from ollama_push.client._flow_context import FileBlobs, FlowContext, StopSignal, StreamedBlobs
from ollama_push.client._hooks import report_hook, telling_early_end
from ollama_push.client._registry_arguments import AnyCredential, RegistrySettings, source_of
from ollama_push.core.errors import InvalidModelName, InvalidSetting, PushRejected, RejectionReason
from ollama_push.core.hooks import HookSet
from ollama_push.core.names import ModelName, is_registry_host
from ollama_push.core.observations import PushContext
from ollama_push.core.pullability import Pullability
from ollama_push.core.receipts import PushPlan, Verification
from ollama_push.core.registry.authorizer import Authorizer
from ollama_push.core.registry.blob_upload.part_sizes import PartSizes
from ollama_push.core.registry.effects import Flow
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.flows.attach import Attachment, attach_flow
from ollama_push.core.registry.flows.copy import copy_flow, copy_plan_flow
from ollama_push.core.registry.flows.login import login_flow
from ollama_push.core.registry.flows.plan import plan_flow
from ollama_push.core.registry.flows.privacy import require_private_host
from ollama_push.core.registry.flows.pullability import pullability_flow
from ollama_push.core.registry.flows.push import Delivery, push_flow
from ollama_push.core.registry.flows.verify import verify_flow
from ollama_push.core.registry.knowledge import LessonBook, knowledge_of
from ollama_push.core.registry.manifests import Manifest
from ollama_push.core.registry.places import AsyncModelTarget, ModelTarget
from ollama_push.core.registry.run import RegistryRun
from ollama_push.core.registry.target import RegistryModel, direct_name, reading_scope, scopes_for
from ollama_push.core.registry.tokens import REQUEST_TIMEOUT_SECONDS
from ollama_push.local import StoredModel

__all__ = ["FlowFactory"]

T = TypeVar("T")


class FlowFactory:
    """Makes the flows of one call. Names and the local model are checked here, before anything is sent.

    Args:
        settings: Of the client.
        credentials: Replace those of the client in this call.
        plain_http: Replaces that of the client in this call.
    """

    def __init__(
        self, settings: RegistrySettings, credentials: AnyCredential = None, *, plain_http: bool | None = None
    ) -> None:
        self._settings = settings
        self._credentials = settings.credentials if credentials is None else source_of(credentials)
        self._plain_http = settings.plain_http if plain_http is None else plain_http

    def push(
        self, model: str | ModelName, source: str | ModelName | None, *, private: bool = False
    ) -> tuple[FlowContext[Delivery], RegistryRun]:
        """Return a push, and its report. Where it ends here, ``telling`` tells hooks."""
        name = self._name(model)
        if private:
            require_private_host(name)
        stored = self._stored(name, source)
        return self._push(name, stored.manifest, stored, private=private)

    def telling(self, model: str | ModelName) -> AbstractContextManager[object]:
        """Return a block in which a push of *model* does not begin; hooks are told if it ends there."""
        try:
            origin = self._endpoint(self._name(model)).origin
        except InvalidModelName:
            origin = ""
        return telling_early_end(self._settings.hooks, model, origin)

    def copy(
        self,
        target: RegistryModel | ModelTarget | AsyncModelTarget,
        manifest: Manifest,
        blobs: FileBlobs | StreamedBlobs,
        mount_from: str = "",
        *,
        private: bool = False,
    ) -> tuple[FlowContext[Delivery], RegistryRun]:
        """Return a copy of what a source gives, and its report; into a registry it is a push."""
        if isinstance(target, RegistryModel):
            name = self._name(target.name)
            if private:
                require_private_host(name)
            return self._push(name, manifest, blobs, mount_from, private=private)
        if private:
            raise InvalidSetting("private", value=True, problem="only Ollama's own registry knows private models")
        stop = StopSignal()
        at_once = min(target.at_once, self._settings.concurrency)
        flow = copy_flow(manifest, at_once=at_once, interrupted=lambda: stop.interrupted)
        context = FlowContext(
            flow, None, stop, self._credentials, self._settings.resume, blobs, target, self._settings.guest.visit()
        )
        return context, self._run(PushContext(target.label, target.label), manifest)

    def plan_copy(
        self, target: RegistryModel | ModelTarget | AsyncModelTarget, manifest: Manifest
    ) -> FlowContext[PushPlan]:
        """Return the dry run of a copy."""
        if isinstance(target, RegistryModel):
            name = self._name(target.name)
            concurrency = self._settings.concurrency
            flow = partial(plan_flow, name=name, manifest=manifest, concurrency=concurrency, pullability=True)
            return self._context(name, flow)
        plan = copy_plan_flow(target.label, manifest)
        return FlowContext(plan, None, StopSignal(), self._credentials, self._settings.resume, None, target)

    def reading(self, model: RegistryModel) -> tuple[ModelName, Exchange, FlowContext[None]]:
        """Return what reads *model*: its name, its requests, and a flow that does nothing, for a runner of others."""
        name = self._name(model.name)
        exchange, stop = self._exchange(name, (reading_scope(name),))
        context = FlowContext(
            _nothing(),
            exchange,
            stop,
            self._credentials,
            self._settings.resume,
            None,
            visit=self._settings.guest.visit(),
        )
        return name, exchange, context

    def attach(
        self, model: str | ModelName, attachment: Attachment, files: FileBlobs
    ) -> tuple[FlowContext[Delivery], RegistryRun]:
        """Return a push of an artifact that refers to *model*, and its report."""
        name = attachment.name_beside(self._name(model))
        return self._push(name, attachment.manifest, files, attachment=attachment)

    def _push(
        self,
        name: ModelName,
        manifest: Manifest,
        blobs: FileBlobs | StreamedBlobs,
        mount_from: str = "",
        *,
        private: bool = False,
        attachment: Attachment | None = None,
    ) -> tuple[FlowContext[Delivery], RegistryRun]:
        settings = self._settings
        mount_from = settings.mount_from or mount_from
        knowledge, origin = knowledge_of(settings.resume), self._endpoint(name).origin
        sizes = PartSizes(name.host, settings.part_bytes, LessonBook(knowledge.lessons(origin)))
        known = knowledge.repositories(origin, [blob.digest for blob in manifest.blobs])
        flow = partial(
            push_flow,
            name=name,
            manifest=manifest,
            sizes=sizes,
            concurrency=settings.concurrency,
            verify=settings.verify,
            force=settings.force_upload,
            mount_from=mount_from,
            known=known,
            part_bytes=settings.part_bytes,
            side_by_side=isinstance(blobs, FileBlobs),
            private=private,
        )
        mounts = () if settings.force_upload else scopes_for(name, manifest, mount_from, known)[1:]
        make: Callable[[Exchange], Flow[Delivery]] = flow
        if attachment is not None:
            make = partial(_attached, flow, attachment)
        started = self._context(name, make, blobs, mounts)
        return started, self._run(PushContext(str(name), origin), manifest)

    def _run(self, context: PushContext, manifest: Manifest) -> RegistryRun:
        hooks = HookSet(self._settings.hooks, context, report_hook)
        return RegistryRun(manifest, context=context, hooks=hooks, clock=time.monotonic)

    def plan(self, model: str | ModelName, source: str | ModelName | None) -> FlowContext[PushPlan]:
        """Return a dry run."""
        name = self._name(model)
        stored = self._stored(name, source)
        concurrency = self._settings.concurrency
        flow = partial(plan_flow, name=name, manifest=stored.manifest, concurrency=concurrency, pullability=True)
        return self._context(name, flow, stored)

    def verification(self, model: str | ModelName, source: str | ModelName | None) -> FlowContext[Verification]:
        """Return a look at what a registry holds."""
        name = self._name(model)
        stored = self._stored_if_there(name, source)
        expected = stored.manifest if stored else None
        flow = partial(
            verify_flow, name=name, expected=expected, concurrency=self._settings.concurrency, pullability=True
        )
        return self._context(name, flow, stored)

    def pullability(self, model: str | ModelName, source: str | ModelName | None) -> FlowContext[Pullability]:
        """Return a look at a registry with the eyes of a stock pull."""
        name = self._name(model)
        stored = self._stored_if_there(name, source)
        manifest = stored.manifest if stored else None
        flow = partial(pullability_flow, name=name, manifest=manifest, concurrency=self._settings.concurrency)
        return self._context(name, flow, stored)

    def login(self, host: str) -> FlowContext[bool]:
        """Return a try of our credentials."""
        if not is_registry_host(host):
            raise InvalidSetting("registry", host, "expected host or host:port, without a scheme or a path")
        return self._context(host, login_flow)

    def _name(self, model: str | ModelName) -> ModelName:
        return direct_name(model, plain_http=self._plain_http)

    def _endpoint(self, name: ModelName) -> Endpoint:
        return Endpoint.of(name.host, name.repository, plain_http=self._plain_http)

    def _stored(self, name: ModelName, source: str | ModelName | None) -> StoredModel:
        local = name if source is None else source
        return self._settings.store.load(local if isinstance(local, ModelName) else ModelName.parse_local(local))

    def _stored_if_there(self, name: ModelName, source: str | ModelName | None) -> StoredModel | None:
        try:
            return self._stored(name, source)
        except (PushRejected, InvalidSetting) as exc:
            # A machine without the model, or without a store, can still look at a registry.
            missing = isinstance(exc, InvalidSetting) or exc.reason is RejectionReason.MODEL_NOT_FOUND
            if source is not None or not missing:
                raise
            return None

    def _context(
        self,
        where: ModelName | str,
        make: Callable[[Exchange], Flow[T]],
        blobs: FileBlobs | StreamedBlobs | None = None,
        mounts: Sequence[str] = (),
    ) -> FlowContext[T]:
        scopes = () if isinstance(where, str) else scopes_for(where)
        exchange, stop = self._exchange(where, scopes, mounts)
        flow = exchange.without_secrets(make(exchange))
        settings = self._settings
        return FlowContext(
            flow, exchange, stop, self._credentials, settings.resume, blobs, visit=settings.guest.visit()
        )

    def _exchange(
        self, where: ModelName | str, scopes: Sequence[str], mounts: Sequence[str] = ()
    ) -> tuple[Exchange, StopSignal]:
        settings, stop = self._settings, StopSignal()
        endpoint = Endpoint.of(where, plain_http=self._plain_http) if isinstance(where, str) else self._endpoint(where)
        authorizer = Authorizer(
            endpoint,
            scopes,
            self._plain_http,
            clock=time.monotonic,
            now=time.time,
            nonce=os.urandom,
            read_timeout=min(REQUEST_TIMEOUT_SECONDS, settings.stall_timeout),
            optional_scopes=mounts,
        )
        exchange = Exchange(
            endpoint,
            authorizer,
            retry=settings.retry,
            random=random.random,
            clock=time.monotonic,
            interrupted=lambda: stop.interrupted,
            body_timeout=settings.stall_timeout,
        )
        return exchange, stop


def _attached(push: Callable[[Exchange], Flow[Delivery]], attachment: Attachment, exchange: Exchange) -> Flow[Delivery]:
    return attach_flow(exchange, push(exchange), attachment)


def _nothing() -> Flow[None]:
    yield from ()

"""A whole push straight to a registry.

Order: look for what is there, send the missing blobs side by side (each opens a session first, so a missing permission
shows before any byte is sent), then the manifest, then read everything back. What was not sent because the registry
said that it has it, and turns out to be lost, is sent after all.

Source: distribution-spec v1.1.1, "Pushing manifests": a manifest comes after its blobs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import attrs

from ollama_push.core.errors import (
    OllamaPushError,
    PushInterrupted,
    PushRejected,
    RejectionReason,
    ServerError,
    TransportError,
)
from ollama_push.core.events import PushPlanned, StatusChanged
from ollama_push.core.facts import Operation, RefusedRequest
from ollama_push.core.hosts import is_ollama_cloud
from ollama_push.core.names import ModelName
from ollama_push.core.pullability import Pullability
from ollama_push.core.registry.blob_upload.machine import BlobUpload, SharedFindings
from ollama_push.core.registry.blob_upload.offers import PARTS_AT_ONCE, Redirects, part_spans
from ollama_push.core.registry.blob_upload.part_sizes import WHOLE, PartBytes, PartSizes
from ollama_push.core.registry.blob_upload.probe import (
    WRONG_KIND,
    Found,
    holds_manifest,
    layer_progress,
    look_around,
    require_kind_taken,
)
from ollama_push.core.registry.effects import EmitEvent, Flow, Gather, KeepStored, keep_news, result_of
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.flows.privacy import PRIVATE_QUERY, require_unread
from ollama_push.core.registry.flows.pullability import PullObservations
from ollama_push.core.registry.flows.verify import find_faults
from ollama_push.core.registry.manifests import Descriptor, Manifest
from ollama_push.core.registry.target import mount_sources

__all__ = ["Delivery", "push_flow"]

_NOTHING: Final[Mapping[str, Collection[str]]] = {}


@attrs.frozen
class Delivery:
    """What a push moved.

    Attributes:
        skipped_bytes: In blobs the registry had, mounted from another repository, or got from another push.
        resumed_bytes: In unfinished uploads of an earlier push.
        verified: Whether the registry was checked afterwards, and holds what it should.
        read_refused: Whether it was to be checked, and the registry does not let us read.
        pullability: Whether a stock pull gets it; ``None`` when nothing was read back.
    """

    skipped_bytes: int
    resumed_bytes: int
    verified: bool
    read_refused: bool = False
    pullability: Pullability | None = None


def push_flow(
    exchange: Exchange,
    name: ModelName,
    manifest: Manifest,
    *,
    sizes: PartSizes,
    concurrency: int,
    verify: bool,
    force: bool = False,
    mount_from: str = "",
    known: Mapping[str, Collection[str]] = _NOTHING,
    part_bytes: PartBytes = None,
    side_by_side: bool = True,
    private: bool = False,
) -> Flow[Delivery]:
    """Push *manifest* and its blobs to *name*; see the module docstring for the order.

    Args:
        exchange: The requests of this flow.
        name: Where to.
        manifest: What to push.
        sizes: How much goes into one request.
        concurrency: Blobs sent at the same time.
        verify: Whether everything is read back.
        force: Whether blobs are sent that the registry says it has.
        mount_from: Repository of the same registry that may have the blobs; empty when there is none.
        known: By digest, repositories of the same registry that earlier pushes have given the blob.
        part_bytes: Size of the parts that go to URLs that the registry signs; ``None`` for the size that ollama takes,
            ``WHOLE`` for none there.
        private: Whether nobody is to read the model without a login; only for Ollama's registry.
        side_by_side: Whether parts of one blob may be read at the same time; if not, none go to such URLs.

    Raises:
        OllamaPushError: The verdict, when it is not a success.
    """
    redirects = Redirects(
        part_bytes=None if part_bytes == WHOLE else part_bytes,
        asks_for_blobs=is_ollama_cloud(name.host),
        parts=side_by_side and part_bytes != WHOLE,
    )
    push = _Push(exchange, name, manifest, sizes, redirects, concurrency, mount_from, known, private=private)
    if private:
        yield from require_unread(exchange, name, manifest)
    delivery = yield from push.run(verify=verify, force=force)
    if private:
        yield from require_unread(exchange, name, manifest)
    return delivery


@attrs.define(eq=False)
class _Push:
    """The steps of one push; ``uploads`` are those that were begun, by digest."""

    exchange: Exchange
    name: ModelName
    manifest: Manifest
    sizes: PartSizes
    redirects: Redirects
    concurrency: int
    mount_from: str
    known: Mapping[str, Collection[str]]
    private: bool = attrs.field(kw_only=True)
    uploads: dict[str, BlobUpload] = attrs.field(factory=dict, init=False)
    present: set[str] = attrs.field(factory=set, init=False)
    pullability: Pullability | None = attrs.field(default=None, init=False)
    shared: SharedFindings = attrs.field(factory=SharedFindings, init=False)

    def run(self, *, verify: bool, force: bool) -> Flow[Delivery]:
        manifest, seen, read_refused = self.manifest, Found(), False
        try:
            yield EmitEvent(PushPlanned(manifest.total_bytes))
            if not force:
                seen = yield from look_around(self.exchange, self.name, manifest, self.concurrency)
                self.present.update(seen.present)
            for blob in manifest.blobs:
                if blob.digest in self.present:
                    yield EmitEvent(layer_progress(blob, blob.size))
            missing = [blob for blob in manifest.blobs if blob.digest not in self.present]
            if missing:
                yield from self._require_kind_taken(is_zot=seen.is_zot)
            yield from self._send(missing, force=force)
            self.exchange.raise_if_interrupted()
            yield EmitEvent(StatusChanged("pushing manifest"))
            is_stored = bool(missing) or not seen.is_current
            if is_stored:
                yield from self._store_manifest()
            if verify:
                yield EmitEvent(StatusChanged("verifying"))
                read_refused = yield from self._read_back(is_stored=is_stored)
        except PushInterrupted as stop:
            kept = self._skipped_bytes() + sum(upload.held_bytes for upload in self.uploads.values())
            lost = sum(upload.lost_bytes for upload in self.uploads.values())
            raise PushInterrupted(kept, manifest.total_bytes, lost) from stop
        if not read_refused:
            yield KeepStored(tuple(blob.digest for blob in manifest.blobs))
        shared = sum(upload.held_bytes for upload in self.uploads.values() if upload.mounted_or_shared)
        resumed = sum(upload.resumed_bytes for upload in self.uploads.values())
        skipped = self._skipped_bytes() + shared
        return Delivery(skipped, resumed, verify and not read_refused, read_refused, self.pullability)

    def _skipped_bytes(self) -> int:
        return sum(blob.size for blob in self.manifest.blobs if blob.digest in self.present - set(self.uploads))

    def _send(self, blobs: Collection[Descriptor], *, force: bool) -> Flow[None]:
        """Send *blobs* side by side; with *force* even those that the registry says it has."""
        large = sum(1 for blob in blobs if len(part_spans(0, blob.size, self.redirects.part_bytes)) > 1)
        self.redirects.parts_at_once = max(1, PARTS_AT_ONCE // max(1, min(large, self.concurrency)))
        begun = {
            blob.digest: BlobUpload(
                self.exchange,
                blob,
                self.sizes,
                self.redirects,
                () if force else self._mount_sources(blob),
                force=force,
                shared=self.shared,
            )
            for blob in blobs
        }
        self.uploads.update(begun)
        if begun:
            yield from result_of(Gather([upload.run() for upload in begun.values()], self.concurrency))

    def _mount_sources(self, blob: Descriptor) -> tuple[str, ...]:
        return mount_sources(blob, self.name, self.mount_from, self.known.get(blob.digest, ()))

    def _unsent(self) -> set[str]:
        """Return the digests that this push has not sent, because the registry said that it has them."""
        sent = {digest for digest, upload in self.uploads.items() if not upload.mounted_or_shared}
        return {blob.digest for blob in self.manifest.blobs} - sent

    def _require_kind_taken(self, *, is_zot: bool) -> Flow[None]:
        """Ask before the bytes where the registry may not take docker's manifests; raise when it does not."""
        lessons = self.sizes.lessons
        if not self.manifest.is_docker or not (is_zot or lessons.known.oci_only):
            return
        yield from require_kind_taken(self.exchange, self.manifest)
        lessons.learn(oci_only=False)

    def _store_manifest(self) -> Flow[None]:
        try:
            yield from self._put_manifest()
        except PushRejected as error:
            named = {digest for digest in self._unsent() if digest in error.words}
            lost = named or self._unsent()
            if error.reason is not RejectionReason.BLOB_UNKNOWN or not lost:
                raise
            yield from self._send([blob for blob in self.manifest.blobs if blob.digest in lost], force=True)
            yield from self._put_manifest()

    def _put_manifest(self) -> Flow[None]:
        """Store the manifest; blobs that were just stored may be unknown for a moment."""
        exchange, patience = self.exchange, self.exchange.retry_budget()
        url = exchange.endpoint.manifest(self.name.tag) + (PRIVATE_QUERY if self.private else "")
        kind, body = self.manifest.media_type, self.manifest.raw
        headers = {"Content-Type": kind}
        stored = (200, 201, 202, 204)
        while True:
            try:
                yield from exchange.ask(
                    Operation.PUSH_MANIFEST, "PUT", url, stored, subject=kind, headers=headers, body=body
                )
            except PushRejected as error:
                if isinstance(error.facts, RefusedRequest) and error.facts.status == WRONG_KIND:
                    self.sizes.lessons.learn(oci_only=self.manifest.is_docker)
                    yield from keep_news(self.sizes.lessons)
                if error.reason is not RejectionReason.BLOB_UNKNOWN:
                    raise
                yield from exchange.wait(patience.after_setback(error), error)
            except (TransportError, ServerError):
                # A gateway may have stopped waiting, while the registry has not.
                if not (yield from self._is_stored_after_all()):
                    raise
                return
            else:
                return

    def _is_stored_after_all(self) -> Flow[bool]:
        try:
            return (yield from holds_manifest(self.exchange, self.name, self.manifest))
        except (PushRejected, ServerError, TransportError):
            return False

    def _read_back(self, *, is_stored: bool) -> Flow[bool]:
        """Check what the registry holds, and send what it has lost; return whether it does not let us read.

        Raises:
            VerificationFailed: Something is missing or different, and sending it again does not help.
        """
        digest = self.manifest.digest
        unsent = self._unsent() | (set() if is_stored else {digest})
        faults = yield from self._find_faults(unsent)
        lost = unsent & {each for each, fault in faults.items() if not isinstance(fault, PushRejected)}
        if lost:
            yield from self._send([blob for blob in self.manifest.blobs if blob.digest in lost], force=True)
            yield from self._put_manifest()
            faults = yield from self._find_faults(set())
        for fault in faults.values():
            if not isinstance(fault, PushRejected):
                raise fault
        return bool(faults)

    def _find_faults(self, unsent: Collection[str]) -> Flow[dict[str, OllamaPushError]]:
        everything = {self.manifest.digest, *(blob.digest for blob in self.manifest.blobs)}
        observations = PullObservations(self.exchange.endpoint, self.manifest)
        faults = yield from find_faults(
            self.exchange,
            self.name,
            self.manifest,
            concurrency=self.concurrency,
            stored=everything.difference(unsent),
            repairable=unsent,
            observations=observations,
        )
        self.pullability = None if faults else observations.result_with_login(self.exchange.refusal)
        return faults

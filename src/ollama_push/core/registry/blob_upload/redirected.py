"""The upload of one blob past the registry, to URLs that it signs: whole, or in parts side by side.

No credential of ours goes there. What cannot be sent there goes to the registry itself after all: a session of its
own is opened, without asking for such URLs.
Source: ollama ``server/upload.go`` and ``x/transfer/upload.go`` at v0.32.15.
"""

from __future__ import annotations

import hashlib
from typing import Final, TypeVar

import attrs

from ollama_push.core.errors import OllamaPushError, PushRejected, RejectionReason, ServerError, TransportError
from ollama_push.core.facts import Operation, ResponseProblem, UnusableResponse
from ollama_push.core.registry.blob_upload.offers import (
    REDIRECT_PART,
    DirectOffer,
    Redirects,
    etag_of,
    is_redirect,
    part_spans,
)
from ollama_push.core.registry.blob_upload.probe import layer_progress, probe
from ollama_push.core.registry.blob_upload.responses import (
    AFTER_COMMIT,
    AFTER_PART,
    ANY_DEFINITE,
    ClaimLost,
    NextStep,
    RestartUpload,
)
from ollama_push.core.registry.effects import (
    EmitEvent,
    Exclusive,
    Flow,
    Gather,
    HoldsUpload,
    Rehash,
    SaveResumePoint,
    result_of,
)
from ollama_push.core.registry.error_responses import damaged_blob, refusal
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.manifests import Descriptor
from ollama_push.core.registry.resume import ResumePoint, SentPart, UploadKey
from ollama_push.core.responses import BlobSpan, BufferedResponse

__all__ = ["RedirectedUpload"]

T = TypeVar("T")

_OCTETS: Final = {"Content-Type": "application/octet-stream"}
_STORED: Final = frozenset({200, 201, 202, 204})
_HOLD_SECONDS: Final = 3.0
"""How long a redirect is waited for, once the registry has redirected a part, before a part is sent to it in vain."""
_FAILURES: Final = (PushRejected, ServerError, TransportError, RestartUpload, ClaimLost)


@attrs.define(eq=False)
class _Progress:
    """How much of each part was sent, by its offset. Threads that send different parts change different entries."""

    sent: dict[int, int] = attrs.field(factory=dict)

    @property
    def completed(self) -> int:
        return sum(list(self.sent.values()))


@attrs.define(eq=False)
class _Part:
    """One part, and the watch on its bytes.

    Attributes:
        begun: Whether somebody is at it.
        location: URL of the session that the signed one was asked for at; empty while it was not.
        url: The signed one.
        md5: Of all its bytes, once they are stored.
    """

    progress: _Progress
    digest: str
    offset: int
    size: int
    location: str = ""
    md5: str = ""
    begun: bool = False
    url: str = ""
    _hash: hashlib._Hash = attrs.field(init=False)

    @property
    def completed(self) -> int:
        return self.progress.completed

    @property
    def span(self) -> BlobSpan:
        return BlobSpan(self.digest, self.offset, self.size, self)

    def begin(self) -> None:
        # Object stores call a part by its MD5: it protects nothing.
        self._hash = hashlib.md5(usedforsecurity=False)
        self.progress.sent[self.offset] = 0

    def receive(self, buffer: memoryview, /) -> None:
        self._hash.update(buffer)
        self.progress.sent[self.offset] += len(buffer)

    def take_back(self) -> None:
        self.progress.sent[self.offset] = 0

    def finish(self) -> None:
        self.begun, self.md5 = True, self._hash.hexdigest()


class RedirectedUpload:
    """Brings one blob into the repository by signed URLs.

    Args:
        exchange: The requests of this push.
        blob: What to upload.
        key: Which upload this is.
        redirects: What the uploads of this push know of them.
        session: Where the registry takes up; with the parts that an earlier push has sent.
        offer: Where the whole blob may go; ``None`` for parts.
    """

    def __init__(
        self,
        exchange: Exchange,
        blob: Descriptor,
        key: UploadKey,
        redirects: Redirects,
        *,
        session: ResumePoint,
        offer: DirectOffer | None = None,
    ) -> None:
        self._exchange = exchange
        self._blob = blob
        self._key = key
        self._redirects = redirects
        self._next = session.location
        self._offer = offer
        self._failure: OllamaPushError | RestartUpload | ClaimLost | None = None
        progress = _Progress()
        self._parts = [
            _Part(progress, blob.digest, part.offset, part.size, part.location, part.md5, begun=bool(part.md5))
            for part in session.parts
        ]
        sent_to = sum(part.size for part in self._parts)
        size = session.parts[0].size if session.parts else redirects.part_bytes
        self._parts += [
            _Part(progress, blob.digest, offset, length) for offset, length in part_spans(sent_to, blob.size, size)
        ]
        # All entries from the start: threads must not add any while others add them up.
        progress.sent.update({part.offset: part.size if part.md5 else 0 for part in self._parts})

    @property
    def held_bytes(self) -> int:
        """Bytes of the blob that were stored."""
        return sum(part.size for part in self._parts if part.md5)

    def run(self) -> Flow[ResumePoint | None]:
        """Upload the blob; return ``None`` when the registry has it, or a session whose parts the registry takes.

        Raises:
            RestartUpload: Another session may help.
            OllamaPushError: It cannot be uploaded.
        """
        if self._offer is not None:
            yield from self._send_whole(self._offer)
            yield from self._commit(self._exchange.endpoint.finishing(self._next, self._blob.digest))
            return None
        session = yield from self._send_parts()
        if session is None:
            url = self._exchange.endpoint.finishing(self._next, self._blob.digest)
            yield from self._commit(f"{url}&etag={etag_of([part.md5 for part in self._parts])}")
        return session

    def _send_whole(self, offer: DirectOffer) -> Flow[None]:
        """Send all bytes in one request. A broken one begins again, in a session of its own."""
        url = self._exchange.endpoint.signed(offer.location, self._next)
        if url is None:
            self._redirects.whole = False
            raise RestartUpload(_no_location(), is_setback=False)
        span = BlobSpan(self._blob.digest, 0, self._blob.size) if self._blob.size else None
        try:
            response = yield from self._exchange.once_signed("PUT", url, {**_OCTETS, **offer.headers}, span)
        except TransportError as error:
            raise RestartUpload(error) from error
        if response.status not in _STORED:
            no = refusal(response, Operation.SEND_BLOB, self._blob.digest)
            if isinstance(no, ServerError):
                raise RestartUpload(no)
            self._redirects.whole = False
            raise RestartUpload(no, is_setback=False)

    def _send_parts(self) -> Flow[ResumePoint | None]:
        """Send the parts that are missing, side by side; return a session if the registry took the first one itself."""
        first = yield from self._begin_next()
        if first is None:
            return None
        if first.md5 and first.size == self.held_bytes and not first.offset:
            return ResumePoint(self._next, first.size)
        missing = sum(1 for part in self._parts if not part.begun)
        workers = min(self._redirects.parts_at_once, missing + 1)
        flows = [self._work(first if number == 0 else None) for number in range(workers)]
        yield from result_of(Gather(flows, workers))
        if self._failure is not None:
            raise self._failure
        return None

    def _work(self, part: _Part | None) -> Flow[None]:
        """Send parts, beginning with *part*, until all are begun or one has failed."""
        if part is None:
            part = yield from self._alone(self._begin_next())
        while part is not None:
            if not part.md5:
                yield from self._noting_failure(self._store(part))
            part = yield from self._alone(self._begin_next())

    def _alone(self, flow: Flow[T]) -> Flow[T | None]:
        """Run *flow* while no other part is asked for; return ``None`` when it failed."""
        return (yield from result_of(Exclusive(self._noting_failure(flow), self._blob.digest)))

    def _noting_failure(self, flow: Flow[T]) -> Flow[T | None]:
        """Run *flow*; a failure is noted: raised, it would interrupt the whole push, and another session may help."""
        try:
            return (yield from flow)
        except _FAILURES as failure:
            held = yield from result_of(HoldsUpload(self._key))
            self._failure = self._failure or (failure if held else ClaimLost())
            return None

    def _begin_next(self) -> Flow[_Part | None]:
        """Ask for the URL of the next part. The response names the session of the one after it: one asks at a time."""
        part = next((part for part in self._parts if not part.begun), None)
        if part is None or self._failure is not None:
            return None
        self._exchange.raise_if_interrupted()
        if not (yield from result_of(HoldsUpload(self._key))):
            raise ClaimLost
        part.begun = True
        yield from self._open(part)
        return part

    def _open(self, part: _Part) -> Flow[None]:
        """Ask for the signed URL of *part*; its bytes are sent along, in case the registry takes them itself."""
        is_new, asked = not part.location, part.location or self._next
        budget = self._exchange.retry_budget()
        headers = {
            **_OCTETS,
            "Content-Range": f"{part.offset}-{part.offset + part.size - 1}",
            **REDIRECT_PART,
        }
        while True:
            response: BufferedResponse | None = None
            try:
                span = attrs.evolve(part.span, hold_seconds=_HOLD_SECONDS if self._redirects.offered else 0.0)
                response = yield from self._exchange.once("PATCH", asked, headers, span=span)
                if not is_redirect(response) and response.status not in _STORED:
                    raise refusal(response, Operation.SEND_PART, self._blob.digest)
                break
            except (TransportError, ServerError) as error:
                yield from self._take_back(part)
                yield from self._exchange.wait(budget.after(error), error)
            except PushRejected as no:
                yield from self._take_back(part)
                # Without a response it is not the registry that refuses: the blob cannot be read, or there is no login.
                if response is None:
                    raise
                raise self._after_refused_part(response, no) from no
        part.location = asked
        located = self._exchange.endpoint.located(response.headers, asked)
        if is_new and located is not None:
            self._next = located
        if not is_redirect(response):
            part.finish()
            yield from self._save()
            return
        yield from self._take_back(part)
        part.url = self._exchange.endpoint.signed(response.headers.get("location", ""), asked) or ""
        self._redirects.offered = True
        if not part.url:
            raise RestartUpload(_no_location())

    def _after_refused_part(self, response: BufferedResponse, no: PushRejected) -> OllamaPushError | RestartUpload:
        """Return what the refusal *no* of a part comes to."""
        match AFTER_PART.get(response.status):
            case NextStep.RESTART | NextStep.ASK_STATUS:
                return RestartUpload(no)
            case NextStep.SEND_LESS | NextStep.SEND_WHOLE:
                self._redirects.parts = False
                return RestartUpload(no, is_setback=False)
        return no

    def _store(self, part: _Part) -> Flow[None]:
        """Send *part* to its signed URL; one that has run out is replaced."""
        budget = self._exchange.retry_budget()
        while True:
            try:
                response = yield from self._exchange.once_signed("PUT", part.url, _OCTETS, part.span)
                if response.status in _STORED:
                    break
                raise refusal(response, Operation.SEND_PART, self._blob.digest)
            except (PushRejected, ServerError, TransportError) as error:
                yield from self._take_back(part)
                try:
                    wait = budget.after_setback(error) if isinstance(error, PushRejected) else budget.after(error)
                except OllamaPushError:
                    # The registry may be reached where what it has led to is not.
                    self._redirects.parts = False
                    raise RestartUpload(error, is_setback=False) from error
                yield from self._exchange.wait(wait, error)
                if isinstance(error, PushRejected):
                    yield from self._alone(self._open(part))
                    if part.md5 or self._failure is not None:
                        return
        part.finish()
        yield from result_of(Exclusive(self._save(), f"{self._blob.digest} kept"))

    def _commit(self, url: str) -> Flow[None]:
        """End the upload by *url*; a lost response is no failure when the registry has the blob."""
        try:
            response = yield from self._exchange.ask(
                Operation.COMMIT_BLOB, "PUT", url, ANY_DEFINITE, subject=self._blob.digest, headers=_OCTETS
            )
        except (ServerError, TransportError):
            if not (yield from probe(self._exchange, self._blob)):
                raise
            return
        if response.status in _STORED:
            return
        no = refusal(response, Operation.COMMIT_BLOB, self._blob.digest)
        if isinstance(no, PushRejected) and no.reason is RejectionReason.DIGEST_INVALID:
            if not (yield from result_of(Rehash(self._blob.digest))):
                raise damaged_blob(self._blob.digest) from no
        elif (yield from probe(self._exchange, self._blob)):
            return
        elif response.status not in AFTER_COMMIT:
            raise no
        raise RestartUpload(no)

    def _take_back(self, part: _Part) -> Flow[None]:
        """Forget the bytes of *part* that were sent in vain."""
        part.take_back()
        yield EmitEvent(layer_progress(self._blob, part.completed))

    def _save(self) -> Flow[None]:
        """Keep which parts are stored, and where those that were begun may be asked for again."""
        parts = tuple(
            SentPart(part.location, part.offset, part.size, part.md5) for part in self._parts if part.location
        )
        yield SaveResumePoint(self._key, ResumePoint(self._next, self.held_bytes, parts))


def _no_location() -> PushRejected:
    facts = UnusableResponse(Operation.OPEN_UPLOAD, ResponseProblem.NO_LOCATION)
    return PushRejected("", RejectionReason.REGISTRY_REFUSED, facts)

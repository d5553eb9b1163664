"""One blob's upload: opened or resumed, sent in parts, committed, and continued after every kind of failure.

The registry's ``Range`` sets the next offset, never our own counter. Version headers are not trusted: a session
is asked for its status, and one without a usable status is replaced by a new one.
Source: distribution-spec v1.1.1, "Pushing blobs" and "Mounting a blob from another repository".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from ollama_push.core.errors import (
    ConnectFailed,
    OllamaPushError,
    PushInterrupted,
    PushRejected,
    RejectionReason,
    ServerError,
    TransportError,
    TransportTimeout,
)
from ollama_push.core.events import StatusChanged
from ollama_push.core.facts import Operation, ResponseProblem, UnusableResponse
from ollama_push.core.registry.blob_upload.offers import DirectOffer, Redirects, follow_each_other, is_redirect
from ollama_push.core.registry.blob_upload.part_sizes import PartSizes
from ollama_push.core.registry.blob_upload.probe import layer_progress, probe
from ollama_push.core.registry.blob_upload.redirected import RedirectedUpload
from ollama_push.core.registry.blob_upload.responses import (
    AFTER_COMMIT,
    AFTER_PART,
    ANY_DEFINITE,
    GATEWAY_STATUSES,
    NO_LAST_PART,
    NO_STATUS,
    TIMEOUT_STATUSES,
    ClaimLost,
    NextStep,
    RestartUpload,
    bytes_arrived,
    denies,
    is_decided,
    refuses_parts,
    smallest_part,
)
from ollama_push.core.registry.effects import (
    ClaimUpload,
    EmitEvent,
    Flow,
    ForgetResumePoint,
    ForgetStored,
    HoldsUpload,
    Rehash,
    ReleaseUpload,
    SaveResumePoint,
    Sleep,
    keep_news,
    result_of,
)
from ollama_push.core.registry.error_responses import damaged_blob, refusal
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.manifests import Descriptor, short_digest
from ollama_push.core.registry.resume import FinishedElsewhere, InUseElsewhere, ResumePoint, UploadKey
from ollama_push.core.responses import BlobSpan, BufferedResponse, OptionalRequest, is_unread

__all__ = ["BlobUpload", "SharedFindings"]

_OCTETS: Final = {"Content-Type": "application/octet-stream"}
_REFUSED: Final = RejectionReason.REGISTRY_REFUSED
_MOST_MOUNTS: Final = 3
"""Repositories that are asked for a blob. Each may cost a request, and one that has it is usually the first."""
_COMMIT_LOOKS: Final = 7
"""How often a blob is looked for that may still be committed: for one to two minutes with the default policy."""


@attrs.define
class SharedFindings:
    """What the uploads of one push find out for one another.

    Attributes:
        unreadable: Repositories that this login has turned out not to read.
        in_company: Whether another process uploads blobs of this push: any of them may be stored by now.
    """

    unreadable: set[str] = attrs.field(factory=set)
    in_company: bool = False


class BlobUpload:
    """Brings one blob into the repository.

    Args:
        exchange: The requests of this push.
        blob: What to upload; the registry does not have it.
        sizes: How much goes into one request.
        redirects: What the uploads of this push know of URLs that the registry signs.
        sources: Repositories of the same registry that may have the blob, the likeliest first.
        force: Send it even where the registry says that it has it.
        shared: What the uploads of a push find out for one another.

    Attributes:
        resumed_bytes: How much of it an earlier push had left in the registry.
        lost_bytes: How much of it had arrived when the push was interrupted, and will be sent again: the registry
            cannot tell how far an upload is.
        mounted_or_shared: Whether it came from another repository, or from another push meanwhile.
    """

    def __init__(
        self,
        exchange: Exchange,
        blob: Descriptor,
        sizes: PartSizes,
        redirects: Redirects,
        sources: Sequence[str] = (),
        *,
        force: bool = False,
        shared: SharedFindings | None = None,
    ) -> None:
        self._exchange = exchange
        self._blob = blob
        self._sizes = sizes
        self._redirects = redirects
        self._sources = sources[:_MOST_MOUNTS]
        self._shared = SharedFindings() if shared is None else shared
        self._force = force
        self._opening = exchange.endpoint.uploads(digest=blob.digest if redirects.asks_for_blobs and not force else "")
        self._key = UploadKey(exchange.endpoint.origin, exchange.endpoint.repository, blob.digest)
        self._session: ResumePoint | None = None
        self._redirected: RedirectedUpload | None = None
        self._budget = exchange.retry_budget()
        self._farthest = 0
        self._claimed = False
        self._stored = False
        self._committing = False
        self._lost_commits = 0
        self._broken: BlobSpan | None = None
        # Whether the registry has acknowledged all that was sent; None before anything was.
        self._settled: bool | None = None
        self.resumed_bytes: int = 0
        self.lost_bytes: int = 0
        self.mounted_or_shared: bool = False

    @property
    def held_bytes(self) -> int:
        """Bytes of the blob that the registry holds now."""
        if self._stored:
            return self._blob.size
        if self._redirected is not None:
            return self._redirected.held_bytes
        return self._session.offset if self._session else 0

    def _begin(self) -> Flow[None]:
        """Resume what an earlier push left, mount the blob, or open a session: each shows that we may write."""
        self._exchange.raise_if_interrupted()
        others, saved = yield from self._claim()
        if others and not self._force and (yield from probe(self._exchange, self._blob, kind=OptionalRequest)):
            self._stored = self.mounted_or_shared = True
            return
        if saved is not None and self._may_resume(saved):
            if saved.parts:
                self._resume_parts(saved)
            else:
                yield from self._resume(saved)
        if self._session is None:
            yield from self._mount()
        if self._session is not None:
            self.resumed_bytes = self._session.offset
        elif not self._stored:
            response = yield from self._exchange.ask(
                Operation.OPEN_UPLOAD, "POST", self._opening, ANY_DEFINITE, headers=self._opening_headers()
            )
            yield from self._receive_session(response)

    def _claim(self) -> Flow[tuple[bool, ResumePoint | None]]:
        """Claim the upload; return whether others have had it, and where it can be resumed.

        While another machine has it, it is asked for again and again: that machine finishes it, or dies.
        """
        is_told = False
        while True:
            others, found = yield from result_of(ClaimUpload(self._key))
            self._claimed = True
            if not isinstance(found, InUseElsewhere):
                break
            self._claimed = False
            yield ReleaseUpload(self._key)
            if not is_told:
                is_told = True
                status = f"waiting for another machine's upload of {short_digest(self._blob.digest)}"
                yield EmitEvent(StatusChanged(status))
            yield Sleep(found.retry_in)
            self._exchange.raise_if_interrupted()
            self._shared.in_company = True
        others = others or self._shared.in_company or isinstance(found, FinishedElsewhere)
        return others, found if isinstance(found, ResumePoint) else None

    def _mount(self) -> Flow[None]:
        """Ask for the blob of other repositories, once each; any refusal leaves the upload to do."""
        for source in self._sources:
            if source in self._shared.unreadable:
                continue
            url = self._exchange.endpoint.uploads(mount=self._blob.digest, source=source)
            try:
                response = yield from self._exchange.once("POST", url, kind=OptionalRequest)
            except TransportError:
                return
            except (PushRejected, ServerError):  # a token cannot be had for that repository
                self._shared.unreadable.add(source)
                continue
            match response.status:
                case 201:  # "Created": mounted
                    self._stored = self.mounted_or_shared = True
                    return
                case 202:  # "Accepted": a session instead
                    yield ForgetStored(source, self._blob.digest)
                    yield from self._receive_session(response)
                    return
                case 401 | 403:
                    self._shared.unreadable.add(source)
                case _:
                    yield ForgetStored(source, self._blob.digest)

    def _may_resume(self, saved: ResumePoint) -> bool:
        places = [saved.location, *(part.location for part in saved.parts)]
        try:
            return all(self._exchange.endpoint.located({"location": place}, place) is not None for place in places)
        except PushRejected:  # kept before the rules were these, or by somebody else
            return False

    def _opening_headers(self) -> dict[str, str]:
        return self._redirects.opening_headers(self._blob.size)

    def _resume_parts(self, saved: ResumePoint) -> None:
        """Go on with the parts that go past the registry. Nobody is asked for their state: the next request tells."""
        if self._redirects.parts and follow_each_other(saved.parts, self._blob.size):
            self._session = saved
            self._redirected = self._redirected_by(saved)

    def _redirected_by(self, session: ResumePoint, offer: DirectOffer | None = None) -> RedirectedUpload:
        return RedirectedUpload(self._exchange, self._blob, self._key, self._redirects, session=session, offer=offer)

    def _resume(self, saved: ResumePoint) -> Flow[None]:
        self._session = saved
        try:
            yield from self._ask_status(first=True)
        except (PushRejected, ServerError, TransportError):
            # The registry itself has just responded; only the place where it kept this session does not.
            if self._exchange.endpoint.owns(saved.location):
                raise
            yield from self._drop_session()

    def run(self) -> Flow[None]:
        """Upload the blob; returns when the registry has it.

        Raises:
            PushInterrupted: The push was interrupted; the session is kept.
            OllamaPushError: It cannot be uploaded.
        """
        try:
            yield from self._begin()
            yield EmitEvent(layer_progress(self._blob, self.held_bytes))
            while not self._stored:
                yield from self._send_and_recover()
            yield ForgetResumePoint(self._key)
            yield EmitEvent(layer_progress(self._blob, self._blob.size))
        except OllamaPushError as error:
            if isinstance(error, PushInterrupted):
                yield from self._find_out_what_is_kept()
            yield from keep_news(self._sizes.lessons)
            # A server says nothing of a layer whose upload the registry did not open.
            if self._session is not None:
                yield EmitEvent(layer_progress(self._blob, self.held_bytes))
            if self._claimed:
                yield ReleaseUpload(self._key)
            raise
        yield from keep_news(self._sizes.lessons)
        yield ReleaseUpload(self._key)

    def _find_out_what_is_kept(self) -> Flow[None]:
        """Drop the session of an interrupted upload where the registry cannot tell how far it is.

        It is asked unless that is known: what an interrupted push says to be kept, the next one must be able to use.
        """
        session, lessons = self._session, self._sizes.lessons
        if session is None or not session.offset or self._stored or self._settled is None or self._redirected:
            return
        if lessons.known.has_status is None:
            try:
                response = yield from self._exchange.once("GET", session.location)
            except (PushRejected, ServerError, TransportError):
                return
            if _offset_in(response) is not None:
                lessons.learn(has_status=True)
                return
            if response.status in NO_STATUS and self._settled:
                lessons.learn(has_status=False)
            elif response.status not in ANY_DEFINITE:
                return
        elif lessons.known.has_status:
            return
        self.lost_bytes = session.offset
        yield from self._drop_session()

    def _send_and_recover(self) -> Flow[None]:
        """Send until the blob is stored or a request fails, and recover from the failure."""
        try:
            yield from self._require_claim()
            if self._session is None:
                response = yield from self._exchange.once("POST", self._opening, self._opening_headers())
                yield from self._receive_session(response)
            if self._redirected is not None:
                yield from self._send_elsewhere(self._redirected)
            yield from self._send_rest()
        except (TransportError, ServerError) as error:
            if not (yield from result_of(HoldsUpload(self._key))):
                # Nobody's failure: the body ended because the claim had.
                yield from self._exchange.wait(0.0, error)
                yield from self._claim_again()
                return
            if self._redirected is not None:  # it has tried again itself
                raise
            yield from self._find_out_after(error)
        except ClaimLost:
            yield from self._claim_again()
        except RestartUpload as restart:
            yield from self._drop_session()
            if restart.is_setback:
                yield from self._exchange.wait(self._budget.after_setback(restart.reason), restart.reason)
        yield from keep_news(self._sizes.lessons)

    def _find_out_after(self, error: TransportError | ServerError) -> Flow[None]:
        """Wait after *error*, and find out what the registry has."""
        if not self._committing:
            self._send_less_after(error)
        wait = 0.0 if is_unread(error) else self._budget.after(error)
        yield EmitEvent(layer_progress(self._blob, self.held_bytes))
        yield from self._exchange.wait(wait, error)
        if self._committing:
            yield from self._find_commit(error)
            self._send_less_after(error)
        else:
            yield from self._ask_status()

    def _send_less_after(self, error: OllamaPushError) -> None:
        """Let later parts be smaller than the one that *error* broke, if it did not arrive after all."""
        broken, self._broken = self._broken, None
        if broken is not None and not self._stored:
            self._sizes.broke(broken.size, refused=isinstance(error, ServerError))

    def _require_claim(self) -> Flow[None]:
        """Raise unless the upload is still ours: if not, a request could break what another machine sends now."""
        if not (yield from result_of(HoldsUpload(self._key))):
            raise ClaimLost

    def _claim_again(self) -> Flow[None]:
        """Leave the session to the machine that has taken it over, and begin again behind it."""
        self._session = self._redirected = self._broken = None
        self._committing = False
        self.resumed_bytes = 0
        self._shared.in_company = True
        self._claimed = False
        yield ReleaseUpload(self._key)
        yield from self._begin()
        yield EmitEvent(layer_progress(self._blob, self.held_bytes))

    def _receive_session(self, response: BufferedResponse) -> Flow[None]:
        self._committing = False
        if response.status not in (201, 202):
            raise refusal(response, Operation.OPEN_UPLOAD)
        if response.status == 201 and "digest=" in self._opening:  # noqa: PLR2004 - "Created": it has the blob already
            self._stored = self.mounted_or_shared = True
            return
        if self._exchange.endpoint.located(response.headers, self._opening) is None:
            facts = UnusableResponse(Operation.OPEN_UPLOAD, ResponseProblem.NO_LOCATION)
            raise PushRejected("", _REFUSED, facts)
        self._sizes.require_at_least(smallest_part(response))
        yield from self._save_session(0, response, self._opening)
        offer = DirectOffer.of(response) if self._redirects.whole else None
        if self._session is not None and (offer is not None or self._redirects.are_offered(response)):
            self._redirected = self._redirected_by(self._session, offer)

    def _send_elsewhere(self, upload: RedirectedUpload) -> Flow[None]:
        """Send the blob to URLs that the registry signs; a session remains where it takes the parts itself."""
        session = yield from upload.run()
        self._redirected = None
        self._stored = session is None
        if session is not None:
            self._session = session
            yield SaveResumePoint(self._key, session)
            self._note_progress(session.offset)

    def _send_rest(self) -> Flow[None]:
        while not self._stored and self._session is not None:
            yield from self._require_claim()
            left = self._blob.size - self._session.offset
            if self._session.offset and left and self._sizes.whole_only:
                yield from self._drop_session()
                return
            if left:
                self._exchange.raise_if_interrupted()
            span = BlobSpan(self._blob.digest, self._session.offset, left)
            is_whole = span.offset == 0 and self._sizes.fits_whole(left)
            if is_whole or not left or self._sizes.is_last_part(left):
                yield from self._finish(self._session, span, is_part=not is_whole and left > 0)
            else:
                yield from self._send_part(self._session, self._sizes.next_size(left))

    def _send_part(self, session: ResumePoint, size: int) -> Flow[None]:
        span = BlobSpan(self._blob.digest, session.offset, size)
        began = self._exchange.clock()
        headers = {**_part_headers(span), **self._redirects.part_headers()}
        response = yield from self._send_span("PATCH", session.location, headers, span)
        if is_redirect(response) and self._redirects.parts:
            # Its session was not opened for that: the next one is.
            self._redirects.offered = True
            raise RestartUpload(refusal(response, Operation.SEND_PART), is_setback=False)
        after = AFTER_PART.get(response.status)
        if refuses_parts(response):
            after = NextStep.SEND_WHOLE
        if after in (NextStep.CONTINUE, NextStep.CONTINUE_HERE):
            self._sizes.took(size, self._exchange.clock() - began)
        elif span.offset == 0 and not denies(response) and self._sizes.may_go_whole(response.status):
            after = NextStep.SEND_WHOLE
        yield from self._handle(after, response, Operation.SEND_PART, session, span)

    def _finish(self, session: ResumePoint, span: BlobSpan, *, is_part: bool) -> Flow[None]:
        """End the upload with *span*: the whole blob, its last part, or nothing behind the last part.

        Source: distribution-spec v1.1.1, "Pushing a blob in chunks": the last part may come with the ``PUT``.
        """
        url = self._exchange.endpoint.finishing(session.location, self._blob.digest)
        self._committing = True
        headers = _part_headers(span) if is_part and span.offset else _OCTETS
        response = yield from self._send_span("PUT", url, headers, span)
        after = AFTER_COMMIT.get(response.status)
        if is_part and response.status in NO_LAST_PART and not is_decided(response):
            self._sizes.refuse_last_part()
            self._committing = False
            yield from self._ask_status()
        else:
            operation = Operation.SEND_BLOB if span.size and not span.offset else Operation.COMMIT_BLOB
            yield from self._handle(after, response, operation, session, span)

    def _send_span(self, method: str, url: str, headers: Mapping[str, str], span: BlobSpan) -> Flow[BufferedResponse]:
        """Send *span*, and keep in mind when that breaks: it may have been too much for one request."""
        # An empty body is no body: nothing is read from the store for it.
        body = span if span.size else None
        self._broken, self._settled = body, False
        try:
            response = yield from self._exchange.once(method, url, headers, span=body)
        except TransportError as error:
            if isinstance(error, ConnectFailed) or is_unread(error):
                self._broken = None
            raise
        if response.status not in GATEWAY_STATUSES:
            self._broken = None
        return response

    def _find_commit(self, error: OllamaPushError) -> Flow[None]:
        """Find out what a commit came to whose response was lost, before anything is sent again.

        A gateway may have stopped waiting while the registry is still at work, for minutes where it copies what it
        has (goharbor/harbor#15729). So the blob is looked for with growing waits.
        """
        session, look = self._session, 0
        self._lost_commits += 1
        while True:
            look += 1
            self._stored = yield from probe(self._exchange, self._blob)
            if self._stored or session is None:
                return
            response = yield from self._status_of(session)
            offset = _offset_in(response)
            if offset is None:
                may_be_at_work = _may_be_at_work(error) or session.offset > 0
            else:
                may_be_at_work = offset >= self._blob.size and (_may_be_at_work(error) or self._lost_commits > 1)
            if not may_be_at_work or look == _COMMIT_LOOKS:
                yield from self._take_status(response, session)
                return
            yield from self._exchange.wait(self._exchange.growing_wait(look + 1), error)

    def _handle(
        self,
        after: NextStep | None,
        response: BufferedResponse,
        operation: Operation,
        session: ResumePoint,
        span: BlobSpan,
    ) -> Flow[None]:
        """Take *response* to *span* and do what *after* says."""
        if after is NextStep.CONTINUE:
            yield from self._advance(response, session, span)
        elif after is NextStep.CONTINUE_HERE:
            self._stored = yield from probe(self._exchange, self._blob)
            if not self._stored:
                # The headers of a "Created" describe the blob, not the session: they are left out.
                yield from self._advance(BufferedResponse(response.status, {}, b""), session, span)
        elif after is NextStep.STORED:
            self._stored = True
            self._sizes.took_last(span.size)
        else:
            no = refusal(response, operation, self._blob.digest)
            if isinstance(no, PushRejected) and no.reason is RejectionReason.REGISTRY_FULL:
                raise no  # no other way of sending makes room
            if isinstance(no, PushRejected) and no.reason is RejectionReason.DIGEST_INVALID:
                yield from self._raise_wrong_digest(no)
            yield from self._recover(after, no, span)

    def _recover(self, after: NextStep | None, no: OllamaPushError, span: BlobSpan) -> Flow[None]:
        """Try another way after the refusal *no*, or raise it."""
        match after:
            case NextStep.ASK_STATUS:
                yield from self._exchange.wait(self._budget.after_setback(no), no)
                yield from self._ask_status(refused=span.offset)
            case NextStep.PROBE:
                self._stored = yield from probe(self._exchange, self._blob)
                if not self._stored:
                    raise RestartUpload(no)
            case NextStep.RESTART:
                raise RestartUpload(no)
            case NextStep.SEND_WHOLE:
                self._sizes.refuse_parts()
                raise RestartUpload(no, is_setback=False)
            case NextStep.SEND_LESS if self._sizes.too_large(span.size):
                yield from self._ask_status()
            case _:
                raise no

    def _advance(self, response: BufferedResponse, session: ResumePoint, span: BlobSpan) -> Flow[None]:
        """Take the offset of the session from the registry's *response*."""
        sent_to = span.offset + span.size
        offset = bytes_arrived(response)
        if offset is None or offset == 1:
            # Not said, or ambiguous: an accepted part is a whole one.
            offset = sent_to
        if offset <= span.offset or offset in (span.size, sent_to + 1):
            # Some count the last part alone, or one byte too many. The digest of the whole is the proof.
            offset = sent_to
        if offset > sent_to:
            facts = UnusableResponse(
                Operation.SEND_PART, ResponseProblem.WRONG_COUNT, counted_bytes=offset, sent_bytes=sent_to
            )
            raise RestartUpload(PushRejected("", _REFUSED, facts))
        yield from self._save_session(offset, response, session.location)
        self._settled = True
        yield from keep_news(self._sizes.lessons)
        if offset < sent_to:
            yield EmitEvent(layer_progress(self._blob, offset))
        self._note_progress(offset)

    def _raise_wrong_digest(self, no: PushRejected) -> Flow[None]:
        """Raise the error of a wrong digest: the local file is damaged, or else sending it again may help."""
        if not (yield from result_of(Rehash(self._blob.digest))):
            raise damaged_blob(self._blob.digest) from no
        raise RestartUpload(no)

    def _ask_status(self, *, first: bool = False, refused: int | None = None) -> Flow[None]:
        """Ask for the offset of the session; drop the session when the response cannot be used.

        Args:
            first: Whether an earlier push left the session.
            refused: Offset that the registry has just refused.
        """
        session = self._session
        if session is None:
            return
        if self._sizes.lessons.known.has_status is False:
            yield from self._drop_session()
            return
        response = yield from self._status_of(session)
        yield from self._take_status(response, session, first=first, refused=refused)

    def _status_of(self, session: ResumePoint) -> Flow[BufferedResponse]:
        return self._exchange.ask(Operation.UPLOAD_STATUS, "GET", session.location, ANY_DEFINITE)

    def _take_status(
        self, response: BufferedResponse, session: ResumePoint, *, first: bool = False, refused: int | None = None
    ) -> Flow[None]:
        # 400: crane's registry, which has no status. 404: a dead session. Both start from the beginning.
        offset = _offset_in(response)
        if offset is not None:
            self._sizes.lessons.learn(has_status=True)
        if offset == 1 and session.offset != 1:
            offset = 0
        elif offset == self._blob.size + 1 and not first:
            offset = self._blob.size
        # An empty session, or one that stays at the refused offset, is no better than a new one.
        if offset is None or offset > self._blob.size or offset == refused or (first and not offset):
            yield from self._drop_session()
            return
        yield from self._save_session(offset, response, session.location)
        yield EmitEvent(layer_progress(self._blob, offset))
        self._note_progress(offset)

    def _note_progress(self, offset: int) -> None:
        if offset > self._farthest and not self._sizes.whole_only:
            self._farthest = offset
            self._budget.progressed()

    def _save_session(self, offset: int, response: BufferedResponse, before: str) -> Flow[None]:
        """Save the session as *response* describes it; where it names no URL, the one *before* stays."""
        self._session = ResumePoint(self._exchange.endpoint.located(response.headers, before) or before, offset)
        yield SaveResumePoint(self._key, self._session)

    def _drop_session(self) -> Flow[None]:
        self._session = None
        self._redirected = None
        self._committing = False
        self.resumed_bytes = 0
        yield ForgetResumePoint(self._key)
        yield EmitEvent(layer_progress(self._blob, 0))


def _part_headers(span: BlobSpan) -> dict[str, str]:
    # Without "bytes", unlike RFC 9110: distribution-spec, "Pushing a blob in chunks".
    return {**_OCTETS, "Content-Range": f"{span.offset}-{span.offset + span.size - 1}"}


def _offset_in(response: BufferedResponse) -> int | None:
    """Return the offset of a session, from the response to its status; ``None`` when it does not say."""
    return bytes_arrived(response) if response.status in (200, 202, 204) else None


def _may_be_at_work(error: OllamaPushError) -> bool:
    """Say whether *error* ended the waiting for a response, and perhaps not the work."""
    return isinstance(error, TransportTimeout) or (isinstance(error, ServerError) and error.status in TIMEOUT_STATUSES)

"""One blob's upload: opened or resumed, sent in parts, committed, and picked up again whatever breaks.

The registry's word counts, never our own counter: its ``Range`` sets the next offset. Nobody's version header
is believed either; a session is asked for its status, and what does not answer is begun anew.
Source: distribution-spec v1.1.1, "Pushing blobs" and "Mounting a blob from another repository".
"""

from __future__ import annotations

from typing import Final

from ollama_push.core.effects import BlobSpan
from ollama_push.core.errors import OllamaPushError, PushRejected, RejectionReason, ServerError, TransportError
from ollama_push.core.registry.blob_upload.part_sizes import PartSizes
from ollama_push.core.registry.blob_upload.probe import layer_progress, probe
from ollama_push.core.registry.blob_upload.responses import (
    AFTER_COMMIT,
    AFTER_PART,
    ANY_DEFINITE,
    Next,
    RestartUpload,
    bytes_arrived,
    refuses_parts,
    smallest_part,
)
from ollama_push.core.registry.effects import (
    EmitEvent,
    Flow,
    ForgetResumePoint,
    ReleaseUpload,
    SaveResumePoint,
    claim,
    rehash,
)
from ollama_push.core.registry.error_responses import damaged_blob, refusal
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.manifests import Descriptor
from ollama_push.core.registry.resume import ResumePoint, UploadKey
from ollama_push.core.responses import BufferedResponse

__all__ = ["BlobUpload"]

_OCTETS: Final = {"Content-Type": "application/octet-stream"}
_REFUSED: Final = RejectionReason.REGISTRY_REFUSED


class BlobUpload:
    """Brings one blob into the repository.

    Args:
        exchange: The push's conversation.
        blob: What to upload; the registry does not have it.
        sizes: How much goes into one request.
        mount_from: Repository of the same registry that may have it; empty when there is none.

    Attributes:
        resumed_bytes: How much of it an earlier push had left in the registry.
        borrowed: Whether another repository's blob was mounted, or another push uploaded it meanwhile.
    """

    def __init__(self, exchange: Exchange, blob: Descriptor, sizes: PartSizes, mount_from: str = "") -> None:
        self._exchange = exchange
        self._blob = blob
        self._sizes = sizes
        self._mount_from = mount_from
        mount = {"mount": blob.digest, "source": mount_from} if mount_from else {}
        self._opening = exchange.endpoint.uploads(**mount)
        self._key = UploadKey(exchange.endpoint.origin, exchange.endpoint.repository, blob.digest)
        self._session: ResumePoint | None = None
        self._patience = exchange.retry_budget()
        self._farthest = 0
        self._claimed = False
        self._stored = False
        self._committing = False
        self.resumed_bytes: int = 0
        self.borrowed: bool = False

    @property
    def kept_bytes(self) -> int:
        """Bytes the registry holds of it now."""
        if self._stored:
            return self._blob.size
        return self._session.offset if self._session else 0

    def begin(self) -> Flow[None]:
        """Take up what an earlier push left, or open a session: from then on we know that we may write.

        Raises:
            OllamaPushError: We may not, or the registry cannot be asked.
        """
        if self._claimed:
            return
        self._exchange.raise_if_interrupted()
        others, saved = yield from claim(self._key)
        self._claimed = True
        if others and (yield from probe(self._exchange, self._blob)):
            self._stored = self.borrowed = True
            return
        if saved is not None and self._exchange.endpoint.located({"location": saved.location}, saved.location):
            yield from self._take_up(saved)
        if self._session is None:
            response = yield from self._exchange.ask("opening an upload", "POST", self._opening, ANY_DEFINITE)
            yield from self._opened(response)
        else:
            self.resumed_bytes = self._session.offset

    def _take_up(self, saved: ResumePoint) -> Flow[None]:
        self._session = saved
        try:
            yield from self._ask_status(first=True)
        except (PushRejected, ServerError, TransportError):
            # The registry itself has just answered: where it kept its sessions then is out of reach now.
            if self._exchange.endpoint.owns(saved.location):
                raise
            yield from self._drop_session()

    def run(self) -> Flow[None]:
        """Upload the blob; returns when the registry has it.

        Raises:
            PushInterrupted: The push was asked to stop; the session is kept.
            OllamaPushError: It cannot be uploaded.
        """
        try:
            yield from self.begin()
            yield EmitEvent(layer_progress(self._blob, self.kept_bytes))
            while not self._stored:
                yield from self._go_on()
            yield ForgetResumePoint(self._key)
            yield EmitEvent(layer_progress(self._blob, self._blob.size))
        except OllamaPushError:
            yield EmitEvent(layer_progress(self._blob, self.kept_bytes))
            if self._claimed:
                yield ReleaseUpload(self._key)
            raise
        yield ReleaseUpload(self._key)

    def _go_on(self) -> Flow[None]:
        """Get on until the blob is stored or something breaks, a new session included, and recover from that."""
        try:
            if self._session is None:
                yield from self._opened((yield from self._exchange.once("POST", self._opening)))
            yield from self._send()
        except (TransportError, ServerError) as error:
            wait = self._patience.after(error)
            yield EmitEvent(layer_progress(self._blob, self.kept_bytes))
            yield from self._exchange.wait(wait, error)
            if self._committing and (yield from probe(self._exchange, self._blob)):
                self._stored = True
            else:
                yield from self._ask_status()
        except RestartUpload as end:
            yield from self._drop_session()
            if end.is_setback:
                yield from self._exchange.wait(self._patience.after_setback(end.reason), end.reason)

    def _opened(self, response: BufferedResponse) -> Flow[None]:
        self._committing = False
        if response.status == 201 and self._mount_from:  # noqa: PLR2004 - "Created": mounted
            self._stored = self.borrowed = True
            return
        if response.status not in (201, 202):
            raise refusal(response, "opening an upload")
        if self._exchange.endpoint.located(response.headers, self._opening) is None:
            raise PushRejected("opening an upload: the registry answered without a Location", _REFUSED)
        self._sizes.require_at_least(smallest_part(response))
        yield from self._keep(0, response, self._opening)

    def _send(self) -> Flow[None]:
        while not self._stored and self._session is not None:
            left = self._blob.size - self._session.offset
            if left:
                self._exchange.raise_if_interrupted()
            if self._session.offset == 0 and self._sizes.fits_whole(left):
                yield from self._send_whole(self._session)
            elif left:
                yield from self._send_part(self._session, self._sizes.next_size(left))
            else:
                yield from self._commit(self._session)

    def _send_part(self, session: ResumePoint, size: int) -> Flow[None]:
        span = BlobSpan(self._blob.digest, session.offset, size)
        # Without "bytes", unlike RFC 9110: distribution-spec, "Pushing a blob in chunks".
        headers = {**_OCTETS, "Content-Range": f"{span.offset}-{span.offset + size - 1}"}
        began = self._exchange.clock()
        response = yield from self._exchange.once("PATCH", session.location, headers, span=span)
        after = AFTER_PART.get(response.status)
        if refuses_parts(response):
            after = Next.SEND_WHOLE
        if after is Next.GO_ON:
            self._sizes.took(size, self._exchange.clock() - began)
        yield from self._follow(after, response, "sending a part", session, span)

    def _send_whole(self, session: ResumePoint) -> Flow[None]:
        span = BlobSpan(self._blob.digest, 0, self._blob.size)
        url = self._exchange.endpoint.finishing(session.location, self._blob.digest)
        self._committing = True
        # An empty body is no body: nothing is read from the store for it.
        response = yield from self._exchange.once("PUT", url, _OCTETS, span=span if span.size else None)
        yield from self._follow(AFTER_COMMIT.get(response.status), response, "sending the blob", session, span)

    def _commit(self, session: ResumePoint) -> Flow[None]:
        url = self._exchange.endpoint.finishing(session.location, self._blob.digest)
        self._committing = True
        response = yield from self._exchange.once("PUT", url, _OCTETS)
        span = BlobSpan(self._blob.digest, self._blob.size, 0)
        yield from self._follow(AFTER_COMMIT.get(response.status), response, "committing the blob", session, span)

    def _follow(
        self, after: Next | None, response: BufferedResponse, doing: str, session: ResumePoint, span: BlobSpan
    ) -> Flow[None]:
        """Do what *response* to *span* calls for."""
        if after is Next.GO_ON:
            yield from self._advance(response, session, span)
        elif after is Next.STORED:
            yield from self._believe(response.status, session, span)
        else:
            no = refusal(response, f"{doing} of {self._blob.digest}")
            if isinstance(no, PushRejected) and no.reason is RejectionReason.DIGEST_INVALID:
                yield from self._blame(no)
            yield from self._get_around(after, no, span)

    def _get_around(self, after: Next | None, no: OllamaPushError, span: BlobSpan) -> Flow[None]:
        """Try what may help against the registry's *no*, or raise it."""
        match after:
            case Next.ASK_STATUS:
                yield from self._exchange.wait(self._patience.after_setback(no), no)
                yield from self._ask_status(refused=span.offset)
            case Next.LOOK_WHETHER_STORED:
                self._stored = yield from probe(self._exchange, self._blob)
                if not self._stored:
                    raise RestartUpload(no)
            case Next.BEGIN_ANEW:
                raise RestartUpload(no)
            case Next.SEND_WHOLE:
                self._sizes.refuse_parts()
                raise RestartUpload(no, is_setback=False)
            case Next.SEND_LESS if self._sizes.too_large(span.size):
                yield from self._ask_status()
            case _:
                raise no

    def _advance(self, response: BufferedResponse, session: ResumePoint, span: BlobSpan) -> Flow[None]:
        """Take the registry's word for how far the session is."""
        sent_to = span.offset + span.size
        offset = bytes_arrived(response)
        if offset is None or offset == 1:
            # Not said, or ambiguous: an accepted part is a whole one.
            offset = sent_to
        if not span.offset < offset <= sent_to:
            raise RestartUpload(PushRejected(f"the registry counts {offset} bytes of {sent_to} sent", _REFUSED))
        yield from self._keep(offset, response, session.location)
        if offset < sent_to:
            yield EmitEvent(layer_progress(self._blob, offset))
        self._note_progress(offset)

    def _believe(self, status: int, session: ResumePoint, span: BlobSpan) -> Flow[None]:
        """Take "Created" for the end where it can be; in mid-upload look whether it is true."""
        self._stored = span.offset + span.size == self._blob.size or (yield from probe(self._exchange, self._blob))
        if not self._stored:
            # Its headers would speak of the blob, not of the session.
            yield from self._advance(BufferedResponse(status, {}, b""), session, span)

    def _blame(self, no: PushRejected) -> Flow[None]:
        """Raise the error that says whose fault a wrong digest is; return when sending it again may help."""
        if not (yield from rehash(self._blob.digest)):
            raise damaged_blob(self._blob.digest) from no
        raise RestartUpload(no)

    def _ask_status(self, *, first: bool = False, refused: int | None = None) -> Flow[None]:
        """Ask how far the session is; without an answer to rely on, drop it.

        Args:
            first: Whether this is about what an earlier push left.
            refused: Offset that the registry has just refused.
        """
        session = self._session
        if session is None:
            return
        # 400 is crane's registry, which has no status; 404 a dead session: both begin anew.
        response = yield from self._exchange.ask("asking how far an upload is", "GET", session.location, ANY_DEFINITE)
        offset = bytes_arrived(response) if response.status in (200, 202, 204) else None
        if offset == 1 and session.offset != 1:
            offset = 0
        # An empty session, and one that does not move past what it refuses, are no better than new ones.
        if offset is None or offset > self._blob.size or offset == refused or (first and not offset):
            yield from self._drop_session()
            return
        yield from self._keep(offset, response, session.location)
        yield EmitEvent(layer_progress(self._blob, offset))
        self._note_progress(offset)

    def _note_progress(self, offset: int) -> None:
        if offset > self._farthest:
            self._farthest = offset
            self._patience.progressed()

    def _keep(self, offset: int, response: BufferedResponse, before: str) -> Flow[None]:
        """Take note of the session as *response* describes it; where it names no URL, the one *before* stays."""
        self._session = ResumePoint(self._exchange.endpoint.located(response.headers, before) or before, offset)
        yield SaveResumePoint(self._key, self._session)

    def _drop_session(self) -> Flow[None]:
        self._session = None
        self._committing = False
        self.resumed_bytes = 0
        yield ForgetResumePoint(self._key)
        yield EmitEvent(layer_progress(self._blob, 0))

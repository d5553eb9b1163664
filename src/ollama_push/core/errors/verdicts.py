"""The peer understood the request and the push still did not happen."""

from __future__ import annotations

import attrs

from ollama_push.core.errors.root import OllamaPushError
from ollama_push.core.facts import (
    Advice,
    ForbiddenAddress,
    ModelMissing,
    Operation,
    Peer,
    RefusalFacts,
    RefusedRequest,
    RejectionReason,
    StoreDamaged,
    UnusableResponse,
    VerificationProblem,
)
from ollama_push.core.messages import PYTHON, Messages
from ollama_push.core.redaction import redact

__all__ = [
    "PushInterrupted",
    "PushRejected",
    "PushStalled",
    "ServerError",
    "VerificationFailed",
]


@attrs.define(eq=False, slots=False)
class ServerError(OllamaPushError):
    """An Ollama server responded with HTTP status 300 or above, or a registry with one that may pass.

    With ``stream=False`` a real server reports every failure as status 500, so the
    status alone says little: read ``reason``.

    Attributes:
        status: The HTTP status.
        words: The peer's own words: the ``error`` text of a JSON body, or the readable part of any other body.
        signin_url: Where to sign in, when the server says so.
        retry_after: Seconds the peer asks to wait, or ``None``.
        reason: What the words mean, as for ``PushRejected``.
        request: What a registry was asked for; ``None`` for an Ollama server.
        location: Where an Ollama server redirects to; empty when it does not.

    Source: ollama ``api/client.go`` ``checkError``; contract of ``POST /api/push``, statuses.
    """

    status: int
    words: str = attrs.field(default="", converter=redact)
    # A sign-in URL is meant to be opened by the user; it holds a *public* key.
    signin_url: str | None = None
    retry_after: float | None = None
    reason: RejectionReason = RejectionReason.UNKNOWN
    request: RefusedRequest | None = None
    location: str = attrs.field(default="", converter=redact)

    @property
    def peer(self) -> Peer:
        """Who responded."""
        return Peer.SERVER if self.request is None else Peer.REGISTRY

    @property
    def operation(self) -> Operation:
        """What was asked for."""
        return Operation.PUSH if self.request is None else self.request.operation

    @property
    def codes(self) -> tuple[str, ...]:
        """The registry's error codes."""
        return () if self.request is None else self.request.codes

    @property
    def advice(self) -> Advice | None:
        """What may help."""
        if self.signin_url:
            return Advice.SIGN_IN
        if self.words or self.request is not None:
            return None
        if self.location:
            return Advice.FINAL_ADDRESS
        return Advice.ALLOW_HOST if self.status == 403 else None  # noqa: PLR2004 - the one status Ollama sends alone

    @property
    def message(self) -> str:
        """What was said, without the status: the peer's words, or what its silence means."""
        return PYTHON.server_words(self.words, self.request, self.location, self.advice)

    def render(self, messages: Messages) -> str:
        return messages.server_error(
            self.status,
            self.words,
            self.request,
            location=self.location,
            signin_url=self.signin_url,
            advice=self.advice,
        )


@attrs.define(eq=False, slots=False)
class PushRejected(OllamaPushError):
    """The push was refused: by an ``error`` line, by the registry, or because this side has nothing to push.

    Attributes:
        words: The peer's own words, redacted; empty when it has none.
        reason: What the refusal means; ``UNKNOWN`` rather than a guess.
        facts: What else is known; ``None`` for an ``error`` line of an Ollama server, which holds only words.

    Source: ollama ``server/routes.go`` ``streamResponse``.
    """

    words: str = attrs.field(default="", converter=redact)
    reason: RejectionReason = RejectionReason.UNKNOWN
    facts: RefusalFacts | None = None

    @property
    def peer(self) -> Peer | None:
        """Who refused; ``None`` when this side found out that there is nothing to push."""
        if self.facts is None:
            return Peer.SERVER
        return None if isinstance(self.facts, ModelMissing | StoreDamaged | ForbiddenAddress) else Peer.REGISTRY

    @property
    def status(self) -> int | None:
        """The HTTP status of the registry's response, where the refusal is one."""
        return self.facts.status if isinstance(self.facts, RefusedRequest) else None

    @property
    def operation(self) -> Operation | None:
        """What was asked for; ``None`` when no single request was refused."""
        if self.facts is None:
            return Operation.PUSH
        return self.facts.operation if isinstance(self.facts, RefusedRequest | UnusableResponse) else None

    @property
    def codes(self) -> tuple[str, ...]:
        """The registry's error codes."""
        return self.facts.codes if isinstance(self.facts, RefusedRequest) else ()

    @property
    def advice(self) -> Advice | None:
        """What may help."""
        return None if self.facts is None else self.facts.advice

    @property
    def message(self) -> str:
        """The refusal as it stands in ``str``, without what introduces it."""
        return PYTHON.refusal(self.words, self.facts)

    def render(self, messages: Messages) -> str:
        return messages.rejected(self.words, self.facts, by_peer=self.peer is not None)


@attrs.define(eq=False, slots=False)
class PushStalled(OllamaPushError, TimeoutError):
    """No *bytes* moved for too long, although the server keeps sending lines.

    Attributes:
        seconds: How long nothing had moved.

    Source: ollama ``server/upload.go`` ``Wait`` repeats a line every 60 ms while an upload hangs.
    """

    seconds: float

    def render(self, messages: Messages) -> str:
        return messages.stalled(self.seconds)


@attrs.define(eq=False, slots=False)
class VerificationFailed(OllamaPushError):
    """The registry does not hold what was sent.

    Attributes:
        digest: Digest of the manifest or blob that is wrong; the name, where no digest is known.
        problem: What is wrong.
        found: What the registry holds instead: a digest, or a size in bytes; ``None`` when it holds nothing.
        expected: What it should hold: the name of a manifest, the size of a blob.
        words: What the parser said of a manifest that is none.
    """

    digest: str
    problem: VerificationProblem
    found: str | int | None = None
    expected: str | int | None = None
    words: str = attrs.field(default="", converter=redact)

    def render(self, messages: Messages) -> str:
        return messages.verification_failed(self.digest, self.problem, self.found, self.expected, self.words)


@attrs.define(eq=False, slots=False)
class PushInterrupted(OllamaPushError):
    """The push was asked to stop, and stopped at the end of what it had under way.

    Attributes:
        kept_bytes: Bytes the registry holds or keeps for this push, so that the next one need not send them.
        total_bytes: Size of the whole push.
    """

    kept_bytes: int = 0
    total_bytes: int = 0

    def render(self, messages: Messages) -> str:
        return messages.interrupted(self.kept_bytes, self.total_bytes)

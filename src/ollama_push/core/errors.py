"""Every way a push can end without a receipt, and every misuse of the SDK.

::

    OllamaPushError
    ├── InvalidModelName (ValueError)      refused before any I/O
    ├── InvalidSetting (ValueError)        an argument or environment value nobody could use
    ├── UsedAfterClose (RuntimeError)      a client or transport used after close()
    ├── MachineMisuse (RuntimeError)       a state machine driven against its rules
    ├── TransportMisbehaved (RuntimeError) a transport raised something its contract forbids
    ├── TransportError
    │   ├── ConnectFailed                  never reached the peer
    │   ├── ConnectionLost                 the connection broke before the response was complete
    │   └── TransportTimeout (TimeoutError)
    ├── ServerError                        HTTP status 300 or above
    ├── PushRejected                       the server's or the registry's no
    ├── ProtocolError
    │   ├── MalformedLine
    │   ├── LineTooLong
    │   ├── UnexpectedContent
    │   └── StreamTruncated
    ├── PushStalled (TimeoutError)         lines keep coming, bytes do not
    ├── PushInterrupted                    stopped on request, resumable
    └── VerificationFailed                 the registry does not hold what was sent

Errors carry facts (:mod:`ollama_push.core.facts`) as positional fields, so that all of them pickle, copy and
chain. ``str(error)`` is rendered by :mod:`ollama_push.core.messages`; the command and the gateway render the same
facts for their own readers. Texts that come from a peer are cut and redacted when the error is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Self

import attrs

from ollama_push.core.facts import (
    Advice,
    ConnectCause,
    ForbiddenAddress,
    ModelMissing,
    Operation,
    Peer,
    PlaceFailed,
    RefusalFacts,
    RefusedRequest,
    RejectionReason,
    StoreDamaged,
    UnusableResponse,
    VerificationProblem,
)
from ollama_push.core.messages import PYTHON, Messages, shorten
from ollama_push.core.peer_text import clean

if TYPE_CHECKING:
    from ollama_push.core.events import PushEvent

__all__ = [
    "Advice",
    "ConnectCause",
    "ConnectFailed",
    "ConnectionLost",
    "InvalidModelName",
    "InvalidSetting",
    "LineTooLong",
    "MachineMisuse",
    "MalformedLine",
    "OllamaPushError",
    "Operation",
    "Peer",
    "ProtocolError",
    "PushInterrupted",
    "PushRejected",
    "PushStalled",
    "RejectionReason",
    "ServerError",
    "StreamTruncated",
    "TransportError",
    "TransportMisbehaved",
    "TransportTimeout",
    "UnexpectedContent",
    "UsedAfterClose",
    "VerificationFailed",
    "VerificationProblem",
]


@attrs.define(eq=False, slots=False)
class OllamaPushError(Exception):
    """Root of everything this package raises on purpose.

    Attributes:
        last_event: The last event seen before the failure, if any.
        attempts: How many times was tried what failed: the push through a server, or one request to a registry;
            0 when nothing was sent.
        bytes_moved: Bytes that moved in this push, as ``PushProgress.moved_bytes`` counts them: layers that were
            complete at first sight do not count, and bytes that were sent again count once.
    """

    last_event: PushEvent | None = attrs.field(default=None, init=False, repr=False)
    attempts: int = attrs.field(default=0, init=False, repr=False)
    bytes_moved: int = attrs.field(default=0, init=False, repr=False)

    def render(self, messages: Messages) -> str:
        """Return the text of this error in the words of *messages*."""
        return messages.other(*self.args)

    def __str__(self) -> str:
        return self.render(PYTHON)


@attrs.define(eq=False, slots=False)
class InvalidModelName(OllamaPushError, ValueError):
    """The name cannot be pushed; nothing was sent.

    Attributes:
        name: The text as given.
        problem: What is wrong with it and what would be right.
        advice: What may help beyond that.
    """

    name: str
    problem: str
    advice: Advice | None = None

    def render(self, messages: Messages) -> str:
        return messages.invalid_name(self.name, self.problem, self.advice)


@attrs.define(eq=False, slots=False)
class InvalidSetting(OllamaPushError, ValueError):
    """An argument or an environment variable holds a value nobody could use.

    Attributes:
        setting: Name of the argument or variable.
        value: Its value, shown unless *secret*.
        problem: What was expected instead.
        advice: What may help beyond that.
    """

    setting: str
    value: object = attrs.field(repr=shorten)
    problem: str
    advice: Advice | None = None

    def render(self, messages: Messages) -> str:
        return messages.invalid_setting(self.setting, self.value, self.problem, self.advice)


@attrs.define(eq=False, slots=False)
class UsedAfterClose(OllamaPushError, RuntimeError):
    """Something was asked of a client or transport that is closed.

    Attributes:
        what: Class name of the closed object.
    """

    what: str

    def render(self, messages: Messages) -> str:
        return messages.used_after_close(self.what)


@attrs.define(eq=False, slots=False)
class MachineMisuse(OllamaPushError, RuntimeError):
    """A state machine was driven against its rules: a bug in the caller, never the peer's.

    Attributes:
        problem: The broken rule.
    """

    problem: str


@attrs.define(eq=False, slots=False)
class TransportMisbehaved(OllamaPushError, RuntimeError):
    """A transport raised an exception of its own that is no ``TransportError`` (clause T7).

    A response that is none counts as one. The exception itself is the ``__cause__``.

    Attributes:
        transport: Class name of the transport.
        raised: ``repr`` of what it raised, redacted and cut.
    """

    transport: str
    raised: str = attrs.field(converter=clean)

    @classmethod
    def by(cls, transport: object, exc: Exception) -> Self:
        """Return the error for *exc*, which *transport* raised, chained."""
        error = cls(type(transport).__name__, clean(repr(exc), 200))
        error.__cause__ = exc
        return error

    def render(self, messages: Messages) -> str:
        return messages.transport_misbehaved(self.transport, self.raised)


@attrs.define(eq=False, slots=False)
class TransportError(OllamaPushError):
    """The bytes could not be moved. Transports raise its kinds and nothing else."""


_ADVICE: Final[Mapping[tuple[Peer, ConnectCause], Advice]] = {
    (Peer.SERVER, ConnectCause.REFUSED): Advice.START_SERVER,
    (Peer.SERVER, ConnectCause.UNKNOWN_HOST): Advice.CHECK_SERVER_ADDRESS,
    (Peer.SERVER, ConnectCause.NOT_TLS): Advice.USE_HTTP_ADDRESS,
    (Peer.REGISTRY, ConnectCause.REFUSED): Advice.START_REGISTRY,
    (Peer.REGISTRY, ConnectCause.UNKNOWN_HOST): Advice.CHECK_NAME,
    (Peer.REGISTRY, ConnectCause.NOT_TLS): Advice.ASK_PLAIN_HTTP,
    (Peer.REGISTRY, ConnectCause.WANTS_TLS): Advice.DROP_PLAIN_HTTP,
    (Peer.REGISTRY, ConnectCause.TLS): Advice.TRY_PLAIN_HTTP,
    (Peer.ELSEWHERE, ConnectCause.REFUSED): Advice.REACH_ELSEWHERE,
    (Peer.ELSEWHERE, ConnectCause.UNKNOWN_HOST): Advice.REACH_ELSEWHERE,
    (Peer.ELSEWHERE, ConnectCause.UNREACHABLE): Advice.REACH_ELSEWHERE,
    (Peer.ELSEWHERE, ConnectCause.NOT_TLS): Advice.REACH_ELSEWHERE,
    (Peer.ELSEWHERE, ConnectCause.TLS): Advice.REACH_ELSEWHERE,
}
_ADVICE_OF_ANY_PEER: Final[Mapping[ConnectCause, Advice]] = {
    ConnectCause.UNREACHABLE: Advice.CHECK_NETWORK,
    ConnectCause.UNTRUSTED_CERTIFICATE: Advice.TRUST_CA,
    ConnectCause.EXPIRED_CERTIFICATE: Advice.RENEW_CERTIFICATE,
    ConnectCause.CERTIFICATE_OF_ANOTHER_HOST: Advice.USE_NAME_IN_CERTIFICATE,
    ConnectCause.CLIENT_CERTIFICATE: Advice.SHOW_CERTIFICATE,
    ConnectCause.PROXY: Advice.CHECK_PROXY,
}


@attrs.define(eq=False, slots=False)
class ConnectFailed(TransportError):
    """The peer was never reached; no byte of the request got a response.

    Attributes:
        address: Scheme, host and port that was tried, without credentials.
        cause: Why, as far as the adapter can tell.
        detail: The library's own words; may be empty.
        peer: The kind of peer. A transport need not know it: the client that sent the request does.
    """

    address: str = attrs.field(converter=clean)
    cause: ConnectCause = ConnectCause.OTHER
    detail: str = attrs.field(default="", converter=clean)
    peer: Peer = Peer.SERVER

    @property
    def advice(self) -> Advice | None:
        return _ADVICE.get((self.peer, self.cause), _ADVICE_OF_ANY_PEER.get(self.cause))

    def render(self, messages: Messages) -> str:
        return messages.connect_failed(self.address, self.cause, self.detail, self.peer, self.advice)


@attrs.define(eq=False, slots=False)
class ConnectionLost(TransportError):
    """The connection broke before the response was whole.

    Attributes:
        address: Scheme, host and port of the peer, without credentials.
        detail: The library's own words; may be empty.
        unread: Whether a connection that had served other requests was closed before its peer read this one: no byte
            of a response came, soon after it was sent. It is sent again at once, and that counts as no attempt.
        status: Of the response whose body broke off, where the client knows it; ``None`` when there was no response.
    """

    address: str = attrs.field(converter=clean)
    detail: str = attrs.field(default="", converter=clean)
    unread: bool = False
    status: int | None = None

    def render(self, messages: Messages) -> str:
        return messages.connection_lost(self.address, self.detail)


@attrs.define(eq=False, slots=False)
class TransportTimeout(TransportError, TimeoutError):
    """Connecting, one wait for the peer, or a whole response took too long.

    Attributes:
        address: Scheme, host and port of the peer, without credentials.
        phase: ``"connect"``, ``"read"``, ``"write"`` or ``"response"``.
        seconds: The limit that was passed.
    """

    address: str = attrs.field(converter=clean)
    phase: str
    seconds: float

    def render(self, messages: Messages) -> str:
        return messages.transport_timeout(self.address, self.phase, self.seconds)


@attrs.define(eq=False, slots=False)
class ProtocolError(OllamaPushError):
    """The peer does not speak the protocol of ``POST /api/push``."""


@attrs.define(eq=False, slots=False)
class MalformedLine(ProtocolError):
    """A line is no JSON object of the protocol.

    Attributes:
        line: The beginning of the line, as received.
        problem: What is wrong with it.
    """

    line: str = attrs.field(converter=clean)
    problem: str

    def render(self, messages: Messages) -> str:
        return messages.malformed_line(self.line, self.problem)


@attrs.define(eq=False, slots=False)
class LineTooLong(ProtocolError):
    """A line outgrew the buffer before its newline arrived.

    Attributes:
        limit: Configured ceiling, in bytes.
        buffered: Bytes held when the ceiling was crossed.
    """

    limit: int
    buffered: int

    def render(self, messages: Messages) -> str:
        return messages.line_too_long(self.limit, self.buffered)


@attrs.define(eq=False, slots=False)
class UnexpectedContent(ProtocolError):
    """A successful status came with a body that cannot be the response to a push.

    Attributes:
        status: The HTTP status.
        content_type: The body's media type, or the encoding nobody asked for.
        excerpt: The readable beginning of the body.
    """

    status: int
    content_type: str = attrs.field(converter=clean)
    excerpt: str = attrs.field(default="", converter=clean)

    def render(self, messages: Messages) -> str:
        return messages.unexpected_content(self.status, self.content_type, self.excerpt)


@attrs.define(eq=False, slots=False)
class StreamTruncated(ProtocolError):
    """The response ended without success or error. This is *not* a success.

    Attributes:
        last_status: The last status text seen, empty when there was none.

    Source: ollama ``api/client.go`` returns nil here; ``server/routes.go`` sends status 200 before it knows.
    """

    last_status: str = attrs.field(default="", converter=clean)

    def render(self, messages: Messages) -> str:
        return messages.stream_truncated(self.last_status)


_NOT_SERVED: Final = frozenset({404, 405})
# "404 page not found" of Go's mux reads like a status that a server quotes.
_OF_NO_REGISTRY: Final = frozenset({RejectionReason.UNKNOWN, RejectionReason.REGISTRY_REFUSED})


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
        path: The path in the address of an Ollama server, such as ``"/v1"``; empty when it has none.
        longest_wait: Seconds that would have been waited at most, when *retry_after* is longer than that.

    Source: ollama ``api/client.go`` ``checkError``; contract of ``POST /api/push``, statuses.
    """

    status: int
    words: str = attrs.field(default="", converter=clean)
    # A sign-in URL is meant to be opened by the user; it holds a *public* key.
    signin_url: str | None = None
    retry_after: float | None = None
    reason: RejectionReason = RejectionReason.UNKNOWN
    request: RefusedRequest | None = None
    location: str = attrs.field(default="", converter=clean)
    path: str = attrs.field(default="", converter=clean)
    longest_wait: float | None = attrs.field(default=None, init=False, repr=False)

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
        if self.signin_url:
            return Advice.SIGN_IN
        # Ollama itself has no such response to a push: it is of another program, or of another path of Ollama's.
        if self.request is None and self.status in _NOT_SERVED and self.reason in _OF_NO_REGISTRY:
            return Advice.DROP_PATH if self.path else Advice.PUSH_DIRECTLY
        if self.words or self.request is not None:
            return None
        if self.location:
            return Advice.FINAL_ADDRESS
        return Advice.ALLOW_HOST if self.status == 403 else None  # noqa: PLR2004 - the one status Ollama sends alone

    @property
    def message(self) -> str:
        """What was said, without the status: the peer's words, or what its silence means."""
        return PYTHON.server_words(self.words, self.request, self.location, self.advice, self.path)

    def render(self, messages: Messages) -> str:
        return messages.server_error(
            self.status,
            self.words,
            self.request,
            location=self.location,
            signin_url=self.signin_url,
            advice=self.advice,
            path=self.path,
            asked=None if self.longest_wait is None else (self.retry_after or 0.0, self.longest_wait),
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

    words: str = attrs.field(default="", converter=clean)
    reason: RejectionReason = RejectionReason.UNKNOWN
    facts: RefusalFacts | None = None

    @property
    def peer(self) -> Peer | None:
        """Who refused; ``None`` when this side found out that there is nothing to push, or no place for it."""
        if self.facts is None:
            return Peer.SERVER
        here = ModelMissing | StoreDamaged | ForbiddenAddress | PlaceFailed
        return None if isinstance(self.facts, here) else Peer.REGISTRY

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
    words: str = attrs.field(default="", converter=clean)

    def render(self, messages: Messages) -> str:
        return messages.verification_failed(self.digest, self.problem, self.found, self.expected, self.words)


@attrs.define(eq=False, slots=False)
class PushInterrupted(OllamaPushError):
    """The push was asked to stop, and stopped at the end of what it had under way.

    Attributes:
        kept_bytes: Bytes the registry holds or keeps for this push, so that the next one need not send them.
        total_bytes: Size of the whole push.
        lost_bytes: Bytes that had arrived beside them, and that the next push sends again: the registry cannot tell
            how far an upload is.
    """

    kept_bytes: int = 0
    total_bytes: int = 0
    lost_bytes: int = 0

    def render(self, messages: Messages) -> str:
        return messages.interrupted(self.kept_bytes, self.total_bytes, self.lost_bytes)

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
    │   ├── ConnectionLost                 the connection broke before the answer was whole
    │   └── TransportTimeout (TimeoutError)
    ├── ServerError                        HTTP status 300 or above
    ├── PushRejected                       the server's or the registry's no
    ├── ProtocolError
    │   ├── MalformedLine
    │   ├── LineTooLong
    │   ├── UnexpectedContent
    │   └── StreamTruncated
    ├── PushStalled (TimeoutError)         lines keep coming, bytes do not
    └── VerificationFailed                 the registry does not hold what was sent

Errors carry facts as positional fields and build their text late, so that all of them
pickle, copy and chain. Texts that come from a peer are redacted on the way in.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs

from ollama_push.core.reasons import RejectionReason, reason_for
from ollama_push.core.redaction import redact

if TYPE_CHECKING:
    from ollama_push.core.events import PushEvent

__all__ = [
    "ConnectCause",
    "ConnectFailed",
    "ConnectionLost",
    "InvalidModelName",
    "InvalidSetting",
    "LineTooLong",
    "MachineMisuse",
    "MalformedLine",
    "OllamaPushError",
    "ProtocolError",
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
]

_SHOWN = 80


def shorten(value: object, limit: int = _SHOWN) -> str:
    """Return ``repr(value)``, cut to *limit* characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _redacted(text: str | None) -> str | None:
    return None if text is None else redact(text)


@attrs.define(eq=False, slots=False)
class OllamaPushError(Exception):
    """Root of everything this package raises on purpose.

    Attributes:
        last_event: The last event seen before the failure, if any.
        attempts: How many times the push was tried; 0 when nothing was sent.
        bytes_moved: Bytes the peer had reported as done in the last attempt.
    """

    last_event: PushEvent | None = attrs.field(default=None, init=False, repr=False)
    attempts: int = attrs.field(default=0, init=False, repr=False)
    bytes_moved: int = attrs.field(default=0, init=False, repr=False)


@attrs.define(eq=False, slots=False)
class InvalidModelName(OllamaPushError, ValueError):
    """The name cannot be pushed; nothing was sent.

    Attributes:
        name: The text as given.
        problem: What is wrong with it and what would be right.
    """

    name: str
    problem: str

    def __str__(self) -> str:
        return f"{shorten(self.name)}: {self.problem}"


@attrs.define(eq=False, slots=False)
class InvalidSetting(OllamaPushError, ValueError):
    """An argument or an environment variable holds a value nobody could use.

    Attributes:
        setting: Name of the argument or variable.
        value: Its value, shown unless *secret*.
        problem: What was expected instead.
    """

    setting: str
    value: object = attrs.field(repr=shorten)
    problem: str

    def __str__(self) -> str:
        return f"{self.setting}={shorten(self.value)}: {self.problem}"


@attrs.define(eq=False, slots=False)
class UsedAfterClose(OllamaPushError, RuntimeError):
    """Something was asked of a client or transport that is closed.

    Attributes:
        what: Class name of the closed object.
    """

    what: str

    def __str__(self) -> str:
        return f"this {self.what} is closed; build a new one"


@attrs.define(eq=False, slots=False)
class MachineMisuse(OllamaPushError, RuntimeError):
    """A state machine was driven against its rules: a bug in the caller, never the peer's.

    Attributes:
        problem: The broken rule.
    """

    problem: str

    def __str__(self) -> str:
        return self.problem


@attrs.define(eq=False, slots=False)
class TransportMisbehaved(OllamaPushError, RuntimeError):
    """A transport raised an exception that is no ``TransportError`` (clause T7).

    The exception itself is the ``__cause__``.

    Attributes:
        transport: Class name of the transport.
        raised: ``repr`` of what it raised, redacted and cut.
    """

    transport: str
    raised: str = attrs.field(converter=redact)

    def __str__(self) -> str:
        return f"{self.transport} raised {self.raised}; a transport may raise only TransportError kinds"


@attrs.define(eq=False, slots=False)
class TransportError(OllamaPushError):
    """The bytes could not be moved. Transports raise its kinds and nothing else."""


class ConnectCause(enum.Enum):
    """Why a peer could not be reached, as far as the adapter can tell."""

    REFUSED = "refused"
    UNKNOWN_HOST = "unknown-host"
    UNREACHABLE = "unreachable"
    UNTRUSTED_CERTIFICATE = "untrusted-certificate"
    CLIENT_CERTIFICATE = "client-certificate"
    NOT_TLS = "not-tls"
    TLS = "tls"
    PROXY = "proxy"
    OTHER = "other"


# What happened, and what to try. "{address}" is the scheme, host and port that was tried.
_CONNECT_TEXT: Final[Mapping[ConnectCause, str]] = {
    ConnectCause.REFUSED: (
        "nothing listens at {address}; is it running? start `ollama serve`, or `ollama-push serve`,"
        " or point OLLAMA_HOST at the right address"
    ),
    ConnectCause.UNKNOWN_HOST: "the host of {address} is unknown; check its spelling, OLLAMA_HOST and DNS",
    ConnectCause.UNREACHABLE: "no route to {address}; check the network, a VPN or a firewall",
    ConnectCause.UNTRUSTED_CERTIFICATE: (
        "the certificate of {address} is not trusted; pass the CA that signed it (`ca_file=`, `--ca`, or SSL_CERT_FILE)"
    ),
    ConnectCause.CLIENT_CERTIFICATE: "{address} wants a client certificate, or refused the one given",
    ConnectCause.NOT_TLS: "{address} does not speak TLS; use http:// instead of https://",
    ConnectCause.TLS: "the TLS handshake with {address} failed",
    ConnectCause.PROXY: (
        "the proxy in the way of {address} failed; check HTTP_PROXY and HTTPS_PROXY, or list the host in NO_PROXY"
    ),
    ConnectCause.OTHER: "cannot connect to {address}",
}


@attrs.define(eq=False, slots=False)
class ConnectFailed(TransportError):
    """The peer was never reached; no byte of the request was answered.

    Attributes:
        address: Scheme, host and port that was tried, without credentials.
        cause: Why, as far as the adapter can tell.
        detail: The library's own words; may be empty.
    """

    address: str = attrs.field(converter=redact)
    cause: ConnectCause = ConnectCause.OTHER
    detail: str = attrs.field(default="", converter=redact)

    def __str__(self) -> str:
        text = _CONNECT_TEXT[self.cause].format(address=self.address)
        return f"{text} ({self.detail})" if self.detail else text


@attrs.define(eq=False, slots=False)
class ConnectionLost(TransportError):
    """The connection broke before the answer was whole.

    Attributes:
        address: Scheme, host and port of the peer, without credentials.
        detail: The library's own words; may be empty.
    """

    address: str = attrs.field(converter=redact)
    detail: str = attrs.field(default="", converter=redact)

    def __str__(self) -> str:
        text = f"the connection to {self.address} broke before the answer was complete"
        return f"{text} ({self.detail})" if self.detail else text


@attrs.define(eq=False, slots=False)
class TransportTimeout(TransportError, TimeoutError):
    """Connecting, or one silence between two reads, took too long.

    Attributes:
        address: Scheme, host and port of the peer, without credentials.
        phase: ``"connect"``, ``"read"`` or ``"write"``.
        seconds: The limit that was passed.
    """

    address: str = attrs.field(converter=redact)
    phase: str
    seconds: float

    def __str__(self) -> str:
        if self.phase == "connect":
            return f"no connection to {self.address} within {self.seconds:g} s"
        return f"{self.address} was silent for {self.seconds:g} s ({self.phase})"


@attrs.define(eq=False, slots=False)
class ServerError(OllamaPushError):
    """The server answered with HTTP status 300 or above.

    With ``stream=False`` a real server reports every failure as status 500, so the
    status alone says little: read ``reason``.

    Attributes:
        status: The HTTP status.
        message: The ``error`` text of a JSON body, or the readable part of any other body.
        signin_url: Where to sign in, when the server says so.
        retry_after: Seconds the server asks to wait, or ``None``.

    Source: ollama ``api/client.go`` ``checkError``; contract of ``POST /api/push``, statuses.
    """

    status: int
    message: str = attrs.field(default="", converter=redact)
    # A sign-in URL is meant to be opened by the user; it holds a *public* key.
    signin_url: str | None = None
    retry_after: float | None = None

    @property
    def reason(self) -> RejectionReason:
        """The reason the message names, by the same table as ``PushRejected.reason``."""
        return reason_for(self.message)

    def __str__(self) -> str:
        text = f"the server answered HTTP {self.status}"
        if self.message:
            text = f"{text}: {self.message}"
        return f"{text} (sign in at {self.signin_url})" if self.signin_url else text


@attrs.define(eq=False, slots=False)
class PushRejected(OllamaPushError):
    """The push was refused in words: an ``error`` line, or the registry's own no.

    Attributes:
        message: The peer's text, redacted.
        reason: What the text means by :mod:`ollama_push.core.reasons`; ``UNKNOWN`` rather than a guess.

    Source: ollama ``server/routes.go`` ``streamResponse``.
    """

    message: str = attrs.field(converter=redact)
    reason: RejectionReason = attrs.field(default=attrs.Factory(lambda self: reason_for(self.message), takes_self=True))

    def __str__(self) -> str:
        return f"the push was refused: {self.message or '(the server gave no text)'}"


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

    line: str = attrs.field(converter=redact)
    problem: str

    def __str__(self) -> str:
        return f"malformed line {shorten(self.line)}: {self.problem}"


@attrs.define(eq=False, slots=False)
class LineTooLong(ProtocolError):
    """A line outgrew the buffer before its newline arrived.

    Attributes:
        limit: Configured ceiling, in bytes.
        buffered: Bytes held when the ceiling was crossed.
    """

    limit: int
    buffered: int

    def __str__(self) -> str:
        return f"{self.buffered} bytes without a newline; the limit is {self.limit}"


@attrs.define(eq=False, slots=False)
class UnexpectedContent(ProtocolError):
    """A successful status came with a body that cannot be a push's answer.

    Attributes:
        status: The HTTP status.
        content_type: The body's media type, or the encoding nobody asked for.
        excerpt: The readable beginning of the body.
    """

    status: int
    content_type: str
    excerpt: str = attrs.field(default="", converter=redact)

    def __str__(self) -> str:
        text = (
            f"HTTP {self.status} with {self.content_type or 'no content type'}; is this an Ollama server, or a proxy?"
        )
        return f"{text} It says: {shorten(self.excerpt, 200)}" if self.excerpt else text


@attrs.define(eq=False, slots=False)
class StreamTruncated(ProtocolError):
    """The answer ended without success or error. This is *not* a success.

    Attributes:
        last_status: The last status text seen, empty when there was none.

    Source: ollama ``api/client.go`` returns nil here; ``server/routes.go`` answers 200 before it knows.
    """

    last_status: str = attrs.field(default="", converter=redact)

    def __str__(self) -> str:
        seen = f"after {shorten(self.last_status)}" if self.last_status else "before any status"
        return f"the answer ended {seen} with neither success nor error; the push may not have happened"


@attrs.define(eq=False, slots=False)
class PushStalled(OllamaPushError, TimeoutError):
    """No *bytes* moved for too long, although the server keeps sending lines.

    Attributes:
        seconds: How long nothing had moved.

    Source: ollama ``server/upload.go`` ``Wait`` repeats a line every 60 ms while an upload hangs.
    """

    seconds: float

    def __str__(self) -> str:
        return f"no bytes moved for {self.seconds:g} s although the server keeps answering"


@attrs.define(eq=False, slots=False)
class VerificationFailed(OllamaPushError):
    """The registry does not hold what was sent.

    Attributes:
        digest: Digest of the manifest or blob that is wrong.
        problem: What the registry holds instead.
    """

    digest: str
    problem: str = attrs.field(converter=redact)

    def __str__(self) -> str:
        return f"verification failed for {self.digest}: {self.problem}"

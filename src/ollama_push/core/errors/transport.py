"""The bytes could not be moved: the only errors a transport may raise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from ollama_push.core.errors.root import OllamaPushError
from ollama_push.core.facts import Advice, ConnectCause, Peer
from ollama_push.core.messages import Messages
from ollama_push.core.redaction import redact

__all__ = ["ConnectFailed", "ConnectionLost", "TransportError", "TransportTimeout"]


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
    (Peer.REGISTRY, ConnectCause.TLS): Advice.TRY_PLAIN_HTTP,
    **{
        (peer, cause): advice
        for peer in Peer
        for cause, advice in (
            (ConnectCause.UNREACHABLE, Advice.CHECK_NETWORK),
            (ConnectCause.UNTRUSTED_CERTIFICATE, Advice.TRUST_CA),
            (ConnectCause.PROXY, Advice.CHECK_PROXY),
        )
    },
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

    address: str = attrs.field(converter=redact)
    cause: ConnectCause = ConnectCause.OTHER
    detail: str = attrs.field(default="", converter=redact)
    peer: Peer = Peer.SERVER

    @property
    def advice(self) -> Advice | None:
        """What may help."""
        return _ADVICE.get((self.peer, self.cause))

    def render(self, messages: Messages) -> str:
        return messages.connect_failed(self.address, self.cause, self.detail, self.peer, self.advice)


@attrs.define(eq=False, slots=False)
class ConnectionLost(TransportError):
    """The connection broke before the response was whole.

    Attributes:
        address: Scheme, host and port of the peer, without credentials.
        detail: The library's own words; may be empty.
    """

    address: str = attrs.field(converter=redact)
    detail: str = attrs.field(default="", converter=redact)

    def render(self, messages: Messages) -> str:
        return messages.connection_lost(self.address, self.detail)


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

    def render(self, messages: Messages) -> str:
        return messages.transport_timeout(self.address, self.phase, self.seconds)

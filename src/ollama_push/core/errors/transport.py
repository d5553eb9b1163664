"""The bytes could not be moved: the only errors a transport may raise."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import attrs

from ollama_push.core.errors.root import OllamaPushError, plain_words
from ollama_push.core.redaction import redact

__all__ = [
    "ConnectCause",
    "ConnectFailed",
    "ConnectionLost",
    "Peer",
    "TransportError",
    "TransportTimeout",
]


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


# What happened, and what to try. "{address}" is the scheme, host and port that was tried. Where a setting has an
# option of the command, it stands behind it in parentheses: the command shows the option alone.
_CONNECT_TEXT: Final[Mapping[ConnectCause, str]] = {
    ConnectCause.REFUSED: (
        "nothing listens at {address}; is it running? start `ollama serve`, or `ollama-push serve`,"
        " or point OLLAMA_HOST at the right address"
    ),
    ConnectCause.UNKNOWN_HOST: "the host of {address} is unknown; check its spelling, OLLAMA_HOST and DNS",
    ConnectCause.UNREACHABLE: "no route to {address}; check the network, a VPN or a firewall",
    ConnectCause.UNTRUSTED_CERTIFICATE: (
        "the certificate of {address} is not trusted; pass the CA that signed it with ca_file= (--ca), or SSL_CERT_FILE"
    ),
    ConnectCause.CLIENT_CERTIFICATE: "{address} wants a client certificate, or refused the one given",
    ConnectCause.NOT_TLS: "{address} does not speak TLS; use http:// instead of https://",
    ConnectCause.TLS: "the TLS handshake with {address} failed",
    ConnectCause.PROXY: (
        "the proxy in the way of {address} failed; check HTTP_PROXY and HTTPS_PROXY, or list the host in NO_PROXY"
    ),
    ConnectCause.OTHER: "cannot connect to {address}",
}

# A registry is not started with `ollama serve` and not named by OLLAMA_HOST.
_REGISTRY_TEXT: Final[Mapping[ConnectCause, str]] = {
    ConnectCause.REFUSED: "nothing listens at {address}; is the registry running, and is the port in the name right?",
    ConnectCause.UNKNOWN_HOST: "the host of {address} is unknown; check the spelling of the name, and DNS",
    ConnectCause.NOT_TLS: (
        "the registry at {address} does not speak TLS; plain HTTP must be asked for with plain_http=True (--plain-http)"
    ),
    ConnectCause.TLS: (
        "the TLS handshake with the registry at {address} failed; if it speaks plain HTTP, ask for that with"
        " plain_http=True (--plain-http)"
    ),
}


class Peer(enum.Enum):
    """Whom a connection was meant for; decides what to advise when there is none."""

    SERVER = "server"
    REGISTRY = "registry"


@attrs.define(eq=False, slots=False)
class ConnectFailed(TransportError):
    """The peer was never reached; no byte of the request was answered.

    Attributes:
        address: Scheme, host and port that was tried, without credentials.
        cause: Why, as far as the adapter can tell.
        detail: The library's own words; may be empty.
        peer: Whom it was meant for. A transport need not know: who asked it does.
    """

    address: str = attrs.field(converter=redact)
    cause: ConnectCause = ConnectCause.OTHER
    detail: str = attrs.field(default="", converter=redact)
    peer: Peer = Peer.SERVER

    def __str__(self) -> str:
        texts = _CONNECT_TEXT if self.peer is Peer.SERVER else {**_CONNECT_TEXT, **_REGISTRY_TEXT}
        text = texts[self.cause].format(address=self.address)
        # What OpenSSL makes of an answer that is not TLS says less than the text does.
        detail = "" if self.cause is ConnectCause.NOT_TLS else plain_words(self.detail)
        return f"{text} ({detail})" if detail else text


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
        return f"{text} ({plain_words(self.detail)})" if self.detail else text


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

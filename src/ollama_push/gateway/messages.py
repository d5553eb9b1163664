"""Our errors in a real server's words, so that whoever reads Ollama's texts understands ours.

Every text is read back by :mod:`ollama_push.core.server.reasons` as the reason it was made from, as far as the table
knows one. What a real server does not say, such as what to do about it, stands in parentheses behind.

Source: ollama at fb3076099: ``server/images.go``, ``server/upload.go``, ``manifest/manifest.go``; Go ``net``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import attrs

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    ConnectionLost,
    InvalidModelName,
    OllamaPushError,
    PushInterrupted,
    PushRejected,
    PushStalled,
    RejectionReason,
    ServerError,
    TransportTimeout,
)
from ollama_push.core.names import ModelName
from ollama_push.core.redaction import redact
from ollama_push.core.registry.authorizer import OR_BY_ENVIRONMENT
from ollama_push.core.server.reasons import reason_for
from ollama_push.gateway.route import as_ollama_shows

__all__ = ["BROKEN_OFF", "UNEXPECTED", "error_text", "name_text"]

BROKEN_OFF: Final = (
    "the gateway is shutting down (stopped at once; push again, it goes on with what the registry kept):"
    " context canceled"
)
UNEXPECTED: Final = "internal error: the gateway failed in a way it does not know; its log says more"

_OR_BY_CLIENT: Final = ' where the gateway runs, or send "username" and "password"'

_R = RejectionReason

# As core.registry.refusals words a registry's no.
_BY_STATUS: Final = re.compile(r"(?P<doing>.*?): HTTP (?P<status>\d{3})(?:: (?P<words>.*))?", re.DOTALL)
_DIGEST: Final = re.compile(r"\bsha256[:-](?P<hex>[0-9a-f]{64})\b")
# Not urlsplit: what a registry calls a URL need not be one.
_QUOTED_PLACE: Final = re.compile(r"'[a-z]+://(?P<place>[^'/?#]*)[^']*'")

# What a real server says, and nothing else fits.
_REAL: Final[Mapping[RejectionReason, str]] = {
    _R.UNAUTHORIZED: "unauthorized: access denied",
    _R.REPOSITORY_NOT_FOUND: "file does not exist",
    _R.BLOB_UNKNOWN: "400: MANIFEST_BLOB_UNKNOWN",
    _R.DIGEST_INVALID: "400: DIGEST_INVALID",
    _R.TOO_LARGE: "413: ",
    _R.REGISTRY_FULL: "507: no space left",
    _R.REGISTRY_FAILED: "max retries exceeded",
    _R.REGISTRY_REFUSED: "refused by the registry",
    _R.REGISTRY_NOT_TLS: "tls: first record does not look like a TLS handshake",
    _R.CERTIFICATE: "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    _R.REGISTRY_UNREACHABLE: "dial tcp: i/o timeout",
    _R.CANCELLED: "context canceled",
}
_CONNECT: Final[Mapping[ConnectCause, str]] = {
    ConnectCause.REFUSED: "dial tcp {host}: connect: connection refused",
    ConnectCause.UNKNOWN_HOST: "dial tcp: lookup {host}: no such host",
    ConnectCause.UNREACHABLE: "dial tcp {host}: connect: network is unreachable",
    ConnectCause.UNTRUSTED_CERTIFICATE: _REAL[_R.CERTIFICATE],
    ConnectCause.NOT_TLS: _REAL[_R.REGISTRY_NOT_TLS],
}


def name_text(text: str, error: InvalidModelName) -> str:
    """Return what is said about the name *text*; where only we refuse it, with our reason."""
    # Before it is completed: "passwd" with a tag reads as a secret.
    shown = f"unqualified name: {as_ollama_shows(redact(text))}"
    try:
        ModelName.parse_local(text)
    except InvalidModelName:
        return shown
    return f"{shown} ({redact(error.problem)})"


def error_text(error: OllamaPushError, target: ModelName, root: Path, written: ModelName | None = None) -> str:
    """Return the text of an error line.

    Args:
        error: What a push ended in.
        target: Name in the registry.
        root: Of the model store.
        written: Name in the store, where it is another.
    """
    if isinstance(error, PushRejected) and error.reason is _R.MODEL_NOT_FOUND:
        return redact(_rejected(error, written or target, root))
    return redact(_text(error, target, root)).replace(OR_BY_ENVIRONMENT, _OR_BY_CLIENT)


def _text(error: OllamaPushError, target: ModelName, root: Path) -> str:
    match error:
        case InvalidModelName():
            return name_text(str(target), error)
        case PushRejected():
            return _rejected(error, target, root)
        case ConnectFailed():
            return _unreachable(error)
        case TransportTimeout(phase="connect", address=address):
            return f"dial tcp {urlsplit(address).netloc}: i/o timeout ({error})"
        case ServerError(status=status, message=message):
            real = f"http status {status} {_phrase_of(status)}: {message}"
            return f"max retries exceeded: {real}" if error.attempts > 1 else f"{status}: {message}"
        case ConnectionLost() | TransportTimeout() | PushStalled():
            return f"max retries exceeded: {error}"
        case PushInterrupted():
            return f"the gateway is shutting down ({error}): context canceled"
        case _:
            return str(error)


def _rejected(error: PushRejected, target: ModelName, root: Path) -> str:
    """Return the first wording that is read as the error's reason; our own words when none is."""
    wordings = list(_wordings(error, target, root))
    return next((text for text in wordings if reason_for(text) is error.reason), error.message)


def _wordings(error: PushRejected, target: ModelName, root: Path) -> Iterator[str]:
    words = error.message
    match error.reason:
        case _R.MODEL_NOT_FOUND:
            place = root.joinpath("manifests", target.host, target.namespace, target.model, target.tag)
            yield f"open {place}: no such file or directory ({words})"
        case _R.INVALID_NAME:
            yield f"unqualified name: {as_ollama_shows(str(target))} ({words})"
        case _R.STORE_DAMAGED:
            yield words
            if digest := _DIGEST.search(words):
                yield f"open {root / 'blobs'}/sha256-{digest['hex']}: no such file as the manifest describes ({words})"
        case _R.REALM_MISMATCH:
            yield words
            found = _QUOTED_PLACE.search(words)
            realm = found["place"] if found else ""
            yield f'realm host "{realm}" does not match original host "{target.host}" ({words})'
    if by_status := _BY_STATUS.fullmatch(words):
        said = by_status["words"] or _phrase_of(int(by_status["status"]))
        yield f"{by_status['status']}: {said} ({by_status['doing']})"
    if real := _REAL.get(error.reason):
        yield f"{real} ({words})"
        yield real


def _phrase_of(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else ""


def _unreachable(error: ConnectFailed) -> str:
    host = urlsplit(error.address).netloc
    # What the operating system said is said in a real server's words.
    words = str(attrs.evolve(error, detail="") if error.cause in _CONNECT else error)
    if error.cause is ConnectCause.NOT_TLS:
        words = f'{host} does not speak TLS; plain HTTP must be asked for with "insecure": true'
    real = _CONNECT.get(error.cause, "dial tcp {host}").format(host=host)
    return f"{real} ({words})"

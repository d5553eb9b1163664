"""Facts of errors in words for clients of the gateway: what a real server says, then what is known beyond that.

Clients read a real server's texts; what such a server does not say stands behind in parentheses. What a registry
said is quoted and never decides which words are chosen.

Source: ollama at fb3076099: ``server/images.go``, ``server/upload.go``, ``manifest/manifest.go``; Go ``net``.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import ClassVar, Final
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
from ollama_push.core.facts import (
    Advice,
    ForbiddenAddress,
    LoginRefused,
    ModelMissing,
    PlaceFailed,
    RealmProblem,
    RealmRefused,
    RefusedRequest,
    StoreDamaged,
    StoreProblem,
)
from ollama_push.core.hosts import AddressProblem
from ollama_push.core.messages import Messages, joined
from ollama_push.core.names import MAX_NAME_CHARACTERS, ModelName
from ollama_push.core.peer_text import clean
from ollama_push.core.pullability import Pullability, PullAdvice
from ollama_push.core.redaction import redact
from ollama_push.core.registry.manifests import blob_path, manifest_path
from ollama_push.gateway.route import as_ollama_shows

__all__ = [
    "CANCELLED_BY_SHUTDOWN",
    "INTERNAL_ERROR",
    "error_text",
    "forbidden_text",
    "name_text",
    "pull_text",
    "pullability_text",
]

CANCELLED_BY_SHUTDOWN: Final = (
    "the gateway is shutting down (cancelled; push again, the push resumes with what the registry kept):"
    " context canceled"
)
INTERNAL_ERROR: Final = "internal error: the gateway failed in a way it does not know; its log says more"

_R = RejectionReason

# What a real server says for a reason that no status or name in the text says.
_REAL: Final[Mapping[RejectionReason, str]] = {
    _R.UNAUTHORIZED: "unauthorized: access denied",
    _R.REPOSITORY_NOT_FOUND: "file does not exist",
    _R.TOO_LARGE: "413: ",
    _R.REGISTRY_FULL: "507: no space left",
    _R.REGISTRY_FAILED: "max retries exceeded",
    _R.REGISTRY_REFUSED: "refused by the registry",
    _R.REGISTRY_NOT_TLS: "tls: first record does not look like a TLS handshake",
    _R.CERTIFICATE: "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    _R.REGISTRY_UNREACHABLE: "dial tcp: i/o timeout",
    _R.CANCELLED: "context canceled",
}
# The registry's code names them, and stands in its words.
_NAMED_BY_CODE: Final = frozenset({_R.BLOB_UNKNOWN, _R.DIGEST_INVALID})
_CONNECT: Final[Mapping[ConnectCause, str]] = {
    ConnectCause.REFUSED: "dial tcp {host}: connect: connection refused",
    ConnectCause.UNKNOWN_HOST: "dial tcp: lookup {host}: no such host",
    ConnectCause.UNREACHABLE: "dial tcp {host}: connect: network is unreachable",
    ConnectCause.UNTRUSTED_CERTIFICATE: _REAL[_R.CERTIFICATE],
    ConnectCause.EXPIRED_CERTIFICATE: (
        "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"
    ),
    ConnectCause.CERTIFICATE_OF_ANOTHER_HOST: (
        "tls: failed to verify certificate: x509: certificate is valid for another name, not {host}"
    ),
    ConnectCause.NOT_TLS: _REAL[_R.REGISTRY_NOT_TLS],
    ConnectCause.WANTS_TLS: "400: Client sent an HTTP request to an HTTPS server.",
}
_WITHHELD: Final = (
    "the gateway's OLLAMA_USERNAME and OLLAMA_PASSWORD were not used: they are for the registries of --default-registry"
    " and --allow"
)
_ADVICE: Final[Mapping[Advice, str]] = {
    Advice.DROP_PLAIN_HTTP: 'leave out "insecure": true',
    Advice.ASK_PLAIN_HTTP: 'plain HTTP must be asked for with "insecure": true',
    Advice.TRY_PLAIN_HTTP: 'if it speaks plain HTTP, ask for that with "insecure": true',
    Advice.TRUST_CA: "the gateway must trust the CA that signed it: --ca, or SSL_CERT_FILE",
    Advice.SHOW_CERTIFICATE: "the gateway has none to show",
    Advice.CHOOSE_SOURCE: 'the gateway\'s store has {twin!r}; to push that under this name, send "from": "{twin}"',
    Advice.LOG_IN: "run {login} where the gateway runs, or {send_login}",
    Advice.LOG_IN_AGAIN: "run {login} again where the gateway runs",
}
_PULL_ADVICE: Final[Mapping[PullAdvice, str]] = {
    PullAdvice.PULL_INSECURE: "say `ollama pull --insecure`",
    PullAdvice.ADD_KEY: "make the key of the pulling machine known there, or pull through this gateway",
    PullAdvice.PULL_THROUGH_GATEWAY: "pull through this gateway",
}


class _GatewayMessages(Messages):
    """Advice for a client of the gateway, and for the operator of the gateway."""

    send_login: ClassVar[str] = 'send "username" and "password"'

    def advise(self, advice: Advice | None, **facts: object) -> str:
        if advice is None or advice not in _ADVICE:
            return super().advise(advice, **facts)
        login = f"`ollama-push login {facts.get('host')}{' --plain-http' if facts.get('plain_http') else ''}`"
        return _ADVICE[advice].format(login=login, send_login=self.send_login, **facts)

    def pull_advice(self, advice: PullAdvice) -> str:
        return _PULL_ADVICE.get(advice) or super().pull_advice(advice)

    def forbidden_address(self, facts: ForbiddenAddress) -> str:
        return f"this gateway does not go there: {facts.host} is {self.address(facts.problem)}"

    def address(self, problem: AddressProblem) -> str:
        if problem is AddressProblem.LOOPBACK:
            return "an address of the gateway's own machine"
        return super().address(problem)


class _PullMessages(_GatewayMessages):
    """Advice for a client that pulls."""

    send_login: ClassVar[str] = "send a user name and a password (Basic)"


_MESSAGES: Final = _GatewayMessages()
_PULL_MESSAGES: Final = _PullMessages()


def forbidden_text(facts: ForbiddenAddress) -> str:
    """Return which address the gateway does not reach, and why."""
    return f"{facts.host} is {_MESSAGES.address(facts.problem)}"


def name_text(text: str, error: InvalidModelName) -> str:
    """Return what is said about the name *text*; where only we refuse it, with our reason."""
    # Redacted before it is completed: "passwd" with a tag reads as a secret.
    shown = f"unqualified name: {as_ollama_shows(clean(text, MAX_NAME_CHARACTERS))}"
    try:
        ModelName.parse_local(text)
    except InvalidModelName:
        return shown
    return _with(shown, redact(joined(error.problem, _MESSAGES.advise(error.advice))))


def error_text(
    error: OllamaPushError,
    target: ModelName,
    root: Path,
    written: ModelName | None = None,
    *,
    withheld_login: bool = False,
) -> str:
    """Return the text of an error line.

    Args:
        error: What a push ended in.
        target: Name in the registry.
        root: Of the model store.
        written: Name in the store, where it is another.
        withheld_login: Whether the gateway has a login in its environment that is not for this registry.
    """
    text = _text(error, target, root, written or target)
    if withheld_login and isinstance(error, PushRejected) and isinstance(error.facts, LoginRefused):
        text = f"{text}; {_WITHHELD}"
    return redact(text)


def pullability_text(found: Pullability) -> str:
    """Return whether a stock pull gets a model from the registry."""
    return f"can a stock `ollama pull` get it from there? {_MESSAGES.pullability(found)}"


def pull_text(error: OllamaPushError) -> str:
    """Return why something could not be pulled."""
    if isinstance(error, PushRejected):
        return redact(_PULL_MESSAGES.refusal(error.words, error.facts))
    return redact(error.render(_PULL_MESSAGES))


def _text(error: OllamaPushError, target: ModelName, root: Path, written: ModelName) -> str:
    said = error.render(_MESSAGES)
    match error:
        case InvalidModelName():
            return name_text(str(target), error)
        case PushRejected():
            return _rejected(error, target, root, written)
        case ConnectFailed():
            return _unreachable(error)
        case TransportTimeout(phase="connect", address=address):
            return f"dial tcp {urlsplit(address).netloc}: i/o timeout ({said})"
        case ServerError(status=status):
            words = _MESSAGES.server_words(error.words, error.request, error.location, error.advice)
            if error.longest_wait is not None:
                words = joined(words, f"it asks to wait {error.retry_after or 0.0:.0f} s")
            real = f"http status {status} {_phrase_of(status)}: {words}"
            return f"max retries exceeded: {real}" if error.attempts > 1 else f"{status}: {words}"
        case ConnectionLost() | TransportTimeout() | PushStalled():
            return f"max retries exceeded: {said}"
        case PushInterrupted():
            return f"the gateway is shutting down ({said}): context canceled"
        case _:
            return said


def _rejected(error: PushRejected, target: ModelName, root: Path, written: ModelName) -> str:
    facts, said = error.facts, _MESSAGES.refusal(error.words, error.facts)
    match facts:
        case ModelMissing():
            return f"open {root / manifest_path(written)}: no such file or directory ({said})"
        case StoreDamaged(digest=digest) if digest:
            return f"open {root / blob_path(digest)}: no such file as the manifest describes ({said})"
        case StoreDamaged(problem=StoreProblem.MANIFEST_UNREADABLE):
            return f"unexpected end of JSON input ({said})"
        case StoreDamaged() | ForbiddenAddress() | PlaceFailed():
            return said
        case RealmRefused(problem=RealmProblem.OTHER_HOST):
            return said
        case RealmRefused():
            return _with(_MESSAGES.realm_mismatch(facts), said)
        case RefusedRequest(status=status) if (
            error.reason in _NAMED_BY_CODE or RejectionReason.of_status(status) is error.reason
        ):
            return _with(
                f"{status}: {_MESSAGES.said(error.words, facts) or _phrase_of(status)}", _MESSAGES.operation(facts)
            )
    if error.reason is _R.INVALID_NAME:
        return _with(f"unqualified name: {as_ollama_shows(str(target))}", said)
    return _with(_REAL[error.reason], said) if error.reason in _REAL else said


def _with(real: str, said: str) -> str:
    return f"{real} ({said})" if said else real


def _phrase_of(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else ""


def _unreachable(error: ConnectFailed) -> str:
    host = urlsplit(error.address).netloc
    # What the operating system said is said in a real server's words.
    told = attrs.evolve(error, detail="") if error.cause in _CONNECT else error
    real = _CONNECT.get(error.cause, "dial tcp {host}").format(host=host)
    return f"{real} ({told.render(_MESSAGES)})"

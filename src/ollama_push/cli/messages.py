"""Facts of errors in words for people at a terminal: settings are options, advice is a command to type.

The only place that puts option names and commands into the texts of errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    InvalidModelName,
    InvalidSetting,
    OllamaPushError,
    Peer,
    PushInterrupted,
)
from ollama_push.core.facts import Advice
from ollama_push.core.messages import Messages
from ollama_push.core.pullability import Pullability, PullAdvice

__all__ = ["SERVER_STOPS", "USUAL", "MessageFormatter", "failure_line", "pullability_line"]

SERVER_STOPS: Final = (
    "cancelled: the connection is closed, so the server stops too. Layers that were complete stay in the registry;"
    " run the same command again to send the others."
)
_AGAIN: Final = "blobs that were complete stay in the registry; the same command again sends all others from the start"
_MAYBE_KEPT: Final = (
    "blobs that were complete stay in the registry. Of the others it keeps what arrived, or nothing, as registries"
    " differ: the same command again asks, and sends what is missing"
)

_SLASHES_WITH_HOST: Final = 2

_OPTIONS: Final[Mapping[str, str]] = {
    "allow": "--allow",
    "cache": "--cache",
    "ca_file": "--ca",
    "client_cert": "--cert",
    "concurrency": "--concurrency",
    "connect_timeout": "--timeout",
    "default_registry": "--default-registry",
    "headers": "--header",
    "file": "FILE",
    "host": "--host",
    "jobs": "--jobs",
    "list": "--list",
    "media_type": "--type",
    "models": "--models",
    "mount_from": "--mount-from",
    "max_bytes_per_second": "--limit-rate",
    "origins": "OLLAMA_ORIGINS",
    "part_bytes": "--part-size",
    "public_host": "--public-host",
    "registry": "REGISTRY",
    "retry_after_cap": "--max-wait",
    "resume": "--resume",
    "shard": "--shard",
    "source": "SOURCE",
    "stall_timeout": "--stall-timeout",
    "target": "TARGET",
    "token": "--token",
    "username": "--user",
}
_ADVICE: Final[Mapping[Advice, str]] = {
    Advice.START_SERVER: (
        "is it running? start `ollama serve`, or `ollama-push serve`, or point OLLAMA_HOST at the right address"
    ),
    Advice.TRUST_CA: "pass the CA that signed it with --ca, or SSL_CERT_FILE",
    Advice.SHOW_CERTIFICATE: "pass the right one with --cert and --key",
    Advice.DROP_PLAIN_HTTP: "leave out --plain-http",
    Advice.ASK_PLAIN_HTTP: "plain HTTP must be asked for with --plain-http",
    Advice.TRY_PLAIN_HTTP: "if it speaks plain HTTP, ask for that with --plain-http",
    Advice.PASS_HEADERS: "pass --header",
    Advice.LOG_IN: "run {login}, or set OLLAMA_USERNAME and OLLAMA_PASSWORD",
    Advice.LOG_IN_AGAIN: "run {login} again",
    Advice.CHOOSE_SOURCE: "to push {twin!r} under this name, say --from {twin}",
    Advice.COPY_ON_SERVER: "`ollama cp {twin} {model}` gives it this name",
    Advice.PUSH_DIRECTLY: "it does not push, so is it an Ollama server? --direct pushes without one",
}
_GATEWAY: Final = "pull through the gateway, `ollama-push serve`"
_PULL_ADVICE: Final[Mapping[PullAdvice, str]] = {
    PullAdvice.PULL_INSECURE: "say `ollama pull --insecure`",
    PullAdvice.ADD_KEY: f"make the key of the pulling machine known there, or {_GATEWAY}",
    PullAdvice.PULL_THROUGH_GATEWAY: _GATEWAY,
}


class _CommandMessages(Messages):
    """Settings as options, advice as commands."""

    def setting(self, name: str) -> str:
        return _OPTIONS.get(name, name)

    def advise(self, advice: Advice | None, **facts: object) -> str:
        if advice is None or advice not in _ADVICE:
            return super().advise(advice, **facts)
        login = f"`ollama-push login {facts.get('host')}{' --plain-http' if facts.get('plain_http') else ''}`"
        return _ADVICE[advice].format(login=login, **facts)

    def pull_advice(self, advice: PullAdvice) -> str:
        return _PULL_ADVICE.get(advice) or super().pull_advice(advice)


@attrs.frozen
class MessageFormatter:
    """Renders errors for one run of the command.

    Attributes:
        resumes: Whether an unfinished upload is kept for the next push.
    """

    resumes: bool = True

    def format(self, error: OllamaPushError, model: str = "") -> str:
        """Return the text of *error*, which ended a push of *model*."""
        text = error.render(_MESSAGES)
        match error:
            case PushInterrupted() if not self.resumes:
                return f"interrupted; {_AGAIN}"
            case ConnectFailed(cause=ConnectCause.REFUSED, peer=Peer.SERVER) if _names_a_registry(model):
                registry = model.partition("/")[0]
                return f"{text}; --direct needs no server and pushes straight to {registry}"
            case _:
                return text

    @property
    def cancelled(self) -> str:
        """What a direct push that was cancelled left behind."""
        return f"cancelled: {_MAYBE_KEPT if self.resumes else _AGAIN}."


_MESSAGES: Final = _CommandMessages()
USUAL: Final = MessageFormatter()


def pullability_line(found: Pullability) -> str:
    """Return whether a stock pull gets the model, in one line."""
    return f"can a stock `ollama pull` get it? {_MESSAGES.pullability(found)}"


def failure_line(model: str, error: OllamaPushError, formatter: MessageFormatter) -> str:
    """Return a failure in one line; an interrupted push is none."""
    text = formatter.format(error, model)
    if isinstance(error, InvalidModelName | InvalidSetting):
        # A wrong name is quoted in the text; a wrong setting is not about the model.
        return f"error: {text}"
    if isinstance(error, PushInterrupted):
        return f"{model}: {text}"
    tried = f" (after {error.attempts} attempts)" if error.attempts > 1 else ""
    return f"error: {model}: {text}{tried}"


def _names_a_registry(model: str) -> bool:
    # Canonical names leave Ollama's registry out.
    return model.count("/") == _SLASHES_WITH_HOST and "//" not in model

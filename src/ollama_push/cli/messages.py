"""How an error reads on the command line: its settings as options, its advice as one that a command can take.

The texts of errors are written for Python. Where a setting has an option, the text names that behind it in
parentheses, ``plain_http=True (--plain-http)``, and the command shows the option alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    InvalidSetting,
    OllamaPushError,
    Peer,
    PushInterrupted,
)

__all__ = ["SERVER_STOPS", "USUAL", "MessageFormatter", "option_for"]

SERVER_STOPS: Final = (
    "stopped: the connection is closed, so the server stops too. Layers that were complete stay in the registry;"
    " run the same command again to send the others."
)
_AGAIN: Final = "blobs that were complete stay in the registry; the same command again sends all others from the start"
_MAYBE_KEPT: Final = (
    "blobs that were complete stay in the registry. Of the others it keeps what arrived, or nothing, as registries"
    " differ: the same command again asks, and sends what is missing"
)

# As in the module docstring; the value may be quoted or missing.
_WITH_OPTION: Final = re.compile(r"`?\b[a-z_]+=(?:'[^']*'|\"[^\"]*\"|\w*)`? \((--[^)]+)\)")

_SLASHES_WITH_HOST: Final = 2

_OPTIONS: Final[Mapping[str, str]] = {
    "allow": "--allow",
    "ca_file": "--ca",
    "concurrency": "--concurrency",
    "connect_timeout": "--timeout",
    "default_registry": "--default-registry",
    "headers": "--header",
    "host": "--host",
    "models": "--models",
    "origins": "OLLAMA_ORIGINS",
    "part_bytes": "--part-size",
    "registry": "REGISTRY",
    "stall_timeout": "--stall-timeout",
    "token": "--token",
    "username": "--user",
}


@attrs.frozen
class MessageFormatter:
    """Puts errors into the words of one run of the command.

    Attributes:
        resumes: Whether an unfinished upload is kept for the next push.
    """

    resumes: bool = True

    def of(self, error: OllamaPushError, model: str = "") -> str:
        """Return the text of *error*, which ended a push of *model*."""
        match error:
            case InvalidSetting(setting=setting, value=value, problem=problem):
                return option_for(str(InvalidSetting(_OPTIONS.get(setting, setting), value, problem)))
            case PushInterrupted() if not self.resumes:
                return f"stopped on request; {_AGAIN}"
            case ConnectFailed(cause=ConnectCause.REFUSED, peer=Peer.SERVER) if _names_a_registry(model):
                registry = model.partition("/")[0]
                return f"{error}; --direct needs no server and pushes straight to {registry}"
            case _:
                return option_for(str(error))

    @property
    def hung_up(self) -> str:
        """What a direct push that was stopped at once left behind."""
        return f"stopped at once: {_MAYBE_KEPT if self.resumes else _AGAIN}."


USUAL: Final = MessageFormatter()


def option_for(text: str) -> str:
    """Return *text*, written for Python and the command alike, with the command's half alone."""
    return _WITH_OPTION.sub(r"\1", text)


def _names_a_registry(model: str) -> bool:
    # Canonical names leave Ollama's registry out.
    return model.count("/") == _SLASHES_WITH_HOST and "//" not in model

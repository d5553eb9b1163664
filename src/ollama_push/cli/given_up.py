"""Which registries a run of many pushes asks no more: those that fail every model for the same reason."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

import attrs

from ollama_push.core.batch import PushVerdict
from ollama_push.core.errors import ConnectFailed, InvalidModelName, PushRejected
from ollama_push.core.facts import LoginRefused
from ollama_push.core.registry.target import direct_name

__all__ = ["GivenUp"]

_IN_A_ROW: Final = 3
"""A login that is tried for each of many models may be locked."""

_NOT_REACHED: Final = "it was not reached for {count} models in a row"
_NO_LOGIN: Final = "it wants a login, or does not accept the one there is, for {count} models in a row"


@attrs.define
class GivenUp:
    """Counts verdicts that are not about their models. A success, or any other failure, begins again.

    Attributes:
        left_out: Models that were left out, by registry.
    """

    left_out: dict[str, list[str]] = attrs.field(factory=dict)
    _in_a_row: dict[str, tuple[Hashable, int]] = attrs.field(factory=dict)

    def take(self, verdict: PushVerdict) -> None:
        """Count *verdict*."""
        host, cause = _host_of(verdict.item.model), _cause_of(verdict.error)
        if cause is None:
            self._in_a_row.pop(host, None)
            return
        before, count = self._in_a_row.get(host, (cause, 0))
        self._in_a_row[host] = cause, count + 1 if before == cause else 1

    def leaves_out(self, model: str) -> bool:
        """Say whether *model* need not be tried; it is counted then."""
        host = _host_of(model)
        if self._in_a_row.get(host, (None, 0))[1] < _IN_A_ROW:
            return False
        self.left_out.setdefault(host, []).append(model)
        return True

    def texts(self) -> list[str]:
        """Return a line for each registry, for people."""
        return [
            f"not begun: {len(models)} models of {host}: {_words_of(self._in_a_row[host][0])}"
            for host, models in self.left_out.items()
        ]


def _host_of(model: str) -> str:
    """Return the registry of a canonical name; of one that is illegal nothing is counted."""
    try:
        return direct_name(model, plain_http=False).host
    except InvalidModelName:
        return ""


def _cause_of(error: Exception | None) -> Hashable:
    """Return what is the same for every model of that registry; ``None`` if nothing is."""
    match error:
        case ConnectFailed():
            return _NOT_REACHED
        # A login that is known lacks the right to that repository.
        case PushRejected(facts=LoginRefused(is_known=False, shown=shown, username=username)):
            return shown, username
        case _:
            return None


def _words_of(cause: Hashable) -> str:
    return (_NOT_REACHED if cause == _NOT_REACHED else _NO_LOGIN).format(count=_IN_A_ROW)

"""The transport contract, clause by clause, for any transport, with or without pytest.

The clauses are the promises T1 to T13 of :mod:`ollama_push.core.ports`. Each one talks to a scripted
server on loopback. With pytest::

    @pytest.mark.parametrize("clause", CLAUSES, ids=str)
    def test_my_transport_keeps(clause: Clause) -> None:
        clause.check(lambda read_timeout: MyTransport(read_timeout=read_timeout))

Without it, ``run_contract(make)``, or ``python -m ollama_push.testing.contract my_module:MyTransport``.
An async transport goes in as ``lambda seconds: Blocking(lambda: MyAsyncTransport(seconds))``.
"""

from __future__ import annotations

from typing import Final

from ollama_push.testing.contract import _bodies, _failures, _lifetimes, _requests, _responses, _timeouts
from ollama_push.testing.contract._clauses import Clause, ClauseResult, MakeTransport, Rig, run_clauses

__all__ = ["CLAUSES", "Clause", "ClauseResult", "MakeTransport", "Rig", "run_contract"]


def _order(clause: Clause) -> int:
    return int(clause.number.removeprefix("T"))


CLAUSES: Final[tuple[Clause, ...]] = tuple(
    sorted(
        [
            *_requests.CLAUSES,
            *_responses.CLAUSES,
            *_lifetimes.CLAUSES,
            *_bodies.CLAUSES,
            *_failures.CLAUSES,
            *_timeouts.CLAUSES,
        ],
        key=_order,
    )
)
"""Every clause, by number; several may share one."""


def run_contract(make: MakeTransport, *, patience: float = 5.0) -> list[ClauseResult]:
    """Check every clause and return what came of each, in order.

    Args:
        make: Builds the transport; called with its default read timeout in seconds.
        patience: Seconds to wait for what a sound transport does at once.
    """
    return list(run_clauses(CLAUSES, make, patience))

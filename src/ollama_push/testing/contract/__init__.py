"""The transport contract, clause by clause, for any transport, with or without pytest.

The clauses are the promises T1 to T13 of :mod:`ollama_push.core.ports`. Each one runs the transport
against a scripted server on loopback. With pytest::

    @pytest.mark.parametrize("clause", CLAUSES, ids=str)
    def test_my_transport_keeps(clause: Clause) -> None:
        clause.check(lambda read_timeout: MyTransport(read_timeout=read_timeout))

Without it, ``run_contract(make)``, or ``python -m ollama_push.testing.contract my_module:MyTransport``.
Pass an async transport as ``lambda seconds: Blocking(lambda: MyAsyncTransport(seconds))``.

Resume stores have a contract of their own, the promises R1 to R8 of
:class:`ollama_push.core.registry.resume.ResumeStore`::

    @pytest.mark.parametrize("clause", RESUME_CLAUSES, ids=str)
    def test_my_store_keeps(clause: ResumeClause) -> None:
        clause.check(lambda: MyStore(SHARED_PLACE), lambda: MyStore(NO_PLACE))

So have stores that keep which registries are ill, the promises B1 to B6 of
:class:`ollama_push.core.registry.breaker.BreakerStore`::

    @pytest.mark.parametrize("clause", BREAKER_CLAUSES, ids=str)
    def test_my_store_keeps(clause: PlaceClause[BreakerStores]) -> None:
        clause.check(BreakerStores(lambda: MyBreakers(SHARED_PLACE), lambda: MyBreakers(NO_PLACE)))

And so have sources and targets of models, the promises S1 to S8 and D1 to D11 of
:mod:`ollama_push.core.registry.places`::

    @pytest.mark.parametrize("clause", SOURCE_CLAUSES, ids=str)
    def test_my_source_keeps(clause: PlaceClause[MakeSource]) -> None:
        clause.check(lambda model: MySource(uploaded(model)))
"""

from __future__ import annotations

from typing import Final

from ollama_push.testing.contract._breakers import BREAKER_CLAUSES, BreakerStores, run_breaker_contract
from ollama_push.testing.contract._clauses import Clause, ClauseResult, MakeTransport, Rig, run_clauses
from ollama_push.testing.contract._lifetimes import LIFETIME_CLAUSES
from ollama_push.testing.contract._places import (
    SOURCE_CLAUSES,
    TARGET_CLAUSES,
    MakeSource,
    MakeTargetPlace,
    PlaceClause,
    TargetPlace,
    run_source_contract,
    run_target_contract,
)
from ollama_push.testing.contract._responses import RESPONSE_CLAUSES
from ollama_push.testing.contract._resume import (
    RESUME_CLAUSES,
    MakeResumeStore,
    ResumeClause,
    ResumeClauseResult,
    run_resume_contract,
)
from ollama_push.testing.contract._sample_models import SampleModel
from ollama_push.testing.contract._sending import SENDING_CLAUSES

__all__ = [
    "BREAKER_CLAUSES",
    "CLAUSES",
    "RESUME_CLAUSES",
    "SOURCE_CLAUSES",
    "TARGET_CLAUSES",
    "BreakerStores",
    "Clause",
    "ClauseResult",
    "MakeResumeStore",
    "MakeSource",
    "MakeTargetPlace",
    "MakeTransport",
    "PlaceClause",
    "ResumeClause",
    "ResumeClauseResult",
    "Rig",
    "SampleModel",
    "TargetPlace",
    "run_breaker_contract",
    "run_contract",
    "run_resume_contract",
    "run_source_contract",
    "run_target_contract",
]


CLAUSES: Final[tuple[Clause, ...]] = tuple(
    sorted(
        [*SENDING_CLAUSES, *RESPONSE_CLAUSES, *LIFETIME_CLAUSES],
        key=lambda clause: int(clause.number.removeprefix("T")),
    )
)
"""Every clause, by number; several may share one."""


def run_contract(make: MakeTransport, *, patience: float = 5.0) -> list[ClauseResult]:
    """Check every clause and return the results in order.

    Args:
        make: Builds the transport; called with its default read timeout in seconds.
        patience: Seconds to wait for what a sound transport does at once.
    """
    return list(run_clauses(CLAUSES, make, patience))

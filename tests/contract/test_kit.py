"""The contract as others use it: its numbering, its results, its command line."""

from __future__ import annotations

import re

import attrs
import pytest
from tests.contract.plain import Plain

from ollama_push.core import ports
from ollama_push.testing.contract import CLAUSES, Clause, Rig, run_contract

_NUMBERS = [clause.number for clause in CLAUSES]


def test_every_promise_of_the_port_has_a_clause() -> None:
    promised = re.findall(r"^(T\d+) ", ports.__doc__ or "", re.MULTILINE)
    assert list(dict.fromkeys(_NUMBERS)) == promised


def test_no_two_clauses_have_one_name() -> None:
    assert len({str(clause) for clause in CLAUSES}) == len(CLAUSES)


def _clause(seen: BaseException | None) -> Clause:
    def proof(_rig: Rig) -> None:
        if seen is not None:
            raise seen

    return Clause("T0", "", "nothing", proof)


def test_a_kept_promise_raises_nothing() -> None:
    _clause(None).check(Plain)


def test_a_finding_is_raised_as_it_is() -> None:
    finding = AssertionError("the server saw two requests")
    with pytest.raises(AssertionError) as caught:
        _clause(finding).check(Plain)
    assert caught.value is finding


def test_any_other_error_is_a_finding_with_its_cause() -> None:
    error = LookupError("oops")
    with pytest.raises(AssertionError, match=r"LookupError\('oops'\) was raised") as caught:
        _clause(error).check(Plain)
    assert caught.value.__cause__ is error


def test_a_transport_that_hangs_for_good_is_a_finding() -> None:
    import threading

    for_good = threading.Event()
    clause = Clause("T0", "", "nothing", lambda _rig: attrs.evolve(_rig) and for_good.wait() and None)
    with pytest.raises(AssertionError, match="still busy after 0.06 s"):
        clause.check(Plain, patience=0.01)
    for_good.set()


def test_the_results_tell_kept_from_broken() -> None:
    results = run_contract(Plain)
    assert [result.clause for result in results] == list(CLAUSES)
    assert {str(result.clause): result.failure for result in results if result.failure} == {}

"""The contract as others use it: its numbering, its results, its command line."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.support.broken_transports import LastHeaderWins
from tests.support.plain_transports import Plain

from ollama_push.core import ports
from ollama_push.testing.contract import CLAUSES, Clause, Rig, run_contract
from ollama_push.testing.contract.__main__ import run_command

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def test_every_promise_of_the_port_has_a_clause() -> None:
    promised = re.findall(r"^(T\d+) ", ports.__doc__ or "", re.MULTILINE)
    assert list(dict.fromkeys(clause.number for clause in CLAUSES)) == promised


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


def test_an_interrupt_is_no_finding() -> None:
    with pytest.raises(KeyboardInterrupt):
        _clause(KeyboardInterrupt()).check(Plain)


def test_a_transport_that_hangs_for_good_is_a_finding() -> None:
    for_good = threading.Event()

    def proof(_rig: Rig) -> None:
        for_good.wait()

    with pytest.raises(AssertionError, match=r"still busy after 0\.06 s"):
        Clause("T0", "", "nothing", proof).check(Plain, patience=0.01)
    for_good.set()


def test_the_results_tell_kept_from_broken() -> None:
    results = run_contract(LastHeaderWins)
    assert [result.clause for result in results] == list(CLAUSES)
    broken = {str(result.clause): result.failure for result in results if result.failure}
    assert list(broken) == ["T2 header names"]
    assert "'www-authenticate': 'Bearer realm=x'" in str(broken["T2 header names"])


def test_the_command_prints_a_table_and_fails_with_the_transport(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["tests.support.broken_transports:LastHeaderWins"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CLAUSES) + 1
    assert [line.split()[:2] for line in lines if line.startswith("BROKEN")] == [["BROKEN", "T2"]]
    assert lines[-1] == f"{len(CLAUSES) - 1} of {len(CLAUSES)} clauses kept"


def test_the_command_takes_async_transports(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["examples.httpx_transport:AsyncHttpxTransport", "--async", "--patience", "3"]) == 0
    assert capsys.readouterr().out.endswith(f"{len(CLAUSES)} of {len(CLAUSES)} clauses kept\n")


def test_the_command_sees_by_itself_what_is_async(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["examples.httpx_transport:AsyncHttpxTransport", "--patience", "3"]) == 0
    assert capsys.readouterr().out.endswith(f"{len(CLAUSES)} of {len(CLAUSES)} clauses kept\n")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "json:JSONDecoder",
            "it is called with one argument, the read timeout in seconds, and returns a new transport: ",
        ),
        ("builtins:float", "it returned float, which has no open()"),
        ("json:decoder", "expected MODULE:FACTORY"),
    ],
)
def test_the_command_says_what_a_factory_takes(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_command([name])
    assert f"error: {name}: {said}" in capsys.readouterr().err


@pytest.mark.process
def test_the_command_ends_quietly_when_its_reader_has_enough() -> None:
    words = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "ollama_push.testing.contract",
        "tests.support.plain_transports:Plain",
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(60) == 1
    assert first.startswith("kept")
    assert said == ""


@pytest.mark.parametrize("name", ["json", "no_such_module:X", "json:no_such_name"])
def test_the_command_says_what_it_cannot_load(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_command([name])
    assert f"error: {name}: " in capsys.readouterr().err

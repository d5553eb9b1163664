"""Every clause can fail: a transport that breaks its promise is caught, for the reason given."""

from __future__ import annotations

from typing import Final

import pytest
from tests.support import broken_transports as broken
from tests.support import naive_transports as traps
from tests.support.plain_transports import Plain

from ollama_push.testing.blocking import Blocking
from ollama_push.testing.contract import CLAUSES, Clause, MakeTransport

pytestmark = pytest.mark.slow

_PATIENCE: Final = 0.3

# Clause, who breaks it, and what is seen.
_CAUGHT: Final[list[tuple[str, MakeTransport, str]]] = [
    ("T1 as given", broken.UnquotesTheTarget, "the target arrived as"),
    ("T1 sized body", broken.CollectsTheBuffers, "a buffer was used after the next one was asked for"),
    ("T1 empty body", broken.SendsNothingInChunks, "sent in chunks"),
    ("T1 no codings", broken.AsksForGzip, "Accept-Encoding: gzip, deflate"),
    ("T1 no memory", broken.KeepsCookies, "cookie"),
    ("T1 once", broken.TriesAgain, "2 requests arrived"),
    ("T1 once", broken.DropsTheCause, "without the library's error"),
    ("T1 once, kept connection", broken.TriesAgain, "3 requests arrived"),
    ("T2 head first", broken.ReadsTheBodyFirst, "TransportTimeout"),
    ("T2 header names", broken.LastHeaderWins, "'www-authenticate': 'Bearer realm=x'"),
    ("T2 header names", broken.NamesAsSent, "X-Once"),
    ("T3 chunked", broken.FillsABuffer, "TransportTimeout"),
    ("T3 part of a chunk", broken.FillsABuffer, "TransportTimeout"),
    ("T3 part of a chunk", traps.StreamingUrllib3, "TransportTimeout"),
    ("T3 content-length", broken.FillsABuffer, "TransportTimeout"),
    ("T3 content-length", traps.StreamingUrllib3, "TransportTimeout"),
    ("T3 close-delimited", broken.FillsABuffer, "TransportTimeout"),
    ("T3 close-delimited", traps.StreamingUrllib3, "TransportTimeout"),
    ("T4 after a chunk", broken.LetsConnectionsBe, "never saw the connection close"),
    ("T4 before a chunk", broken.LetsConnectionsBe, "never saw the connection close"),
    ("T4 before a chunk", traps.ReleasingUrllib3, "never saw the connection close"),
    ("T4 in a flood", broken.ReadsTheRest, "never saw the connection close"),
    ("T4 next request", broken.ReusesAnything, "stale"),
    ("T5 gzip", broken.Decodes, "was handed over as"),
    ("T5 any bytes", broken.ReadsText, "was handed over as"),
    ("T6 any status", broken.RaisesOnStatus, "status 400"),
    ("T6 redirects", broken.FollowsRedirects, "led to requests for /, /elsewhere"),
    ("T6 redirects", lambda _seconds: Blocking(traps.WillingAiohttp), "led to requests for /, /elsewhere"),
    ("T7 no HTTP", broken.LeaksLibraryErrors, "BadStatusLine"),
    ("T7 no HTTP", broken.DropsTheCause, "has no cause"),
    ("T7 broken framing", broken.LeaksLibraryErrors, "IncompleteRead"),
    ("T7 broken framing", broken.DropsTheCause, "has no cause"),
    ("T8 refused", broken.CallsRefusalALoss, "ConnectionLost.* was raised, and not ConnectFailed"),
    ("T8 refused", broken.NamesNoAddress, "does not name 127.0.0.1"),
    ("T9 between chunks", broken.TakesAnyEnd, "nothing was raised"),
    ("T9 inside a chunk", broken.TakesAnyEnd, "nothing was raised"),
    ("T9 inside a chunk's size", broken.TakesAnyEnd, "nothing was raised"),
    ("T9 short of the length", broken.TakesAnyEnd, "nothing was raised"),
    ("T9 reset", broken.TakesAnyEnd, "nothing was raised"),
    ("T9 reset, close-delimited", broken.TakesAnyEnd, "nothing was raised"),
    ("T9 end of connection", broken.WantsFraming, "the connection ended"),
    ("T9 no body", broken.WantsTheAnnouncedLength, "5 bytes are missing"),
    ("T10 before the head", broken.WaitsForEver, "nothing was raised"),
    ("T10 inside the body", broken.WaitsForEver, "nothing was raised"),
    ("T10 a head that drips", broken.LimitsEachReadAlone, "nothing was raised"),
    ("T10 interim responses", broken.LimitsEachReadAlone, "nothing was raised"),
    ("T10 framing that drips", broken.LimitsEachReadAlone, "nothing was raised"),
    ("T10 of the request", broken.KnowsOneTimeout, "nothing was raised"),
    ("T10 without a limit", broken.KnowsOneTimeout, "TransportTimeout"),
    ("T10 while sending", broken.WaitsForEver, "nothing was raised"),
    ("T10 not in total", broken.LimitsTheTotal, "TransportTimeout"),
    ("T11 own errors", broken.SwallowsErrors, "nothing was raised"),
    ("T11 look-alikes", broken.TranslatesEverything, "OSError.* came out as ConnectionLost"),
    ("T11 the body's errors", broken.BlamesTheNetwork, "came out as ConnectionLost"),
    ("T11 the body's errors", broken.FillsUpTheBody, "the request arrived whole"),
    ("T11 the body's errors", broken.LetsConnectionsBe, "never saw the connection close"),
    ("T11 the body's look-alikes", broken.TakesTheBodysErrorsForTheNetworks, "OSError.* came out as ConnectionLost"),
    ("T12 closed", broken.ClosesAtTheSecondTime, "1 connections were open after close"),
    ("T12 used after close", broken.OpensAfterClose, "nothing was raised, and not UsedAfterClose"),
    ("T13 at once", broken.OneAtATime, "did not run at the same time"),
    ("T13 one after another", broken.LetsConnectionsBe, "20 connections were open"),
]

_BY_NAME: Final = {str(clause): clause for clause in CLAUSES}


@pytest.mark.parametrize(("name", "make", "seen"), _CAUGHT)
def test_a_broken_promise_is_caught(name: str, make: MakeTransport, seen: str) -> None:
    with pytest.raises(AssertionError, match=seen):
        _BY_NAME[name].check(make, patience=_PATIENCE)


@pytest.mark.parametrize("clause", CLAUSES, ids=str)
def test_what_the_broken_ones_are_made_from_keeps_every_promise(clause: Clause) -> None:
    clause.check(Plain)


def test_every_clause_is_proved_able_to_fail() -> None:
    assert {name for name, _make, _seen in _CAUGHT} == set(_BY_NAME)

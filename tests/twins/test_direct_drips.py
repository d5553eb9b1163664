"""A registry whose responses drip: no silence is long, and still the call ends in time."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from tests.support.direct_push import Colour, Direct, either_colour
from tests.twins.test_direct_trying_a_login import RIGHT, try_login

from ollama_push.core.errors import OllamaPushError, PushRejected, ServerError, TransportTimeout
from ollama_push.core.retry import RetryPolicy
from ollama_push.testing.server import Pause, ScriptedServer, Step, head

_SILENCE: Final = 0.4
# They last for ten times the silence, and no silence is an eighth of it.
_DRIPS: Final = 80


def _dripping(before: bytes, drip: bytes) -> list[Step]:
    return [before, *(step for _ in range(_DRIPS) for step in (Pause(_SILENCE / 8), drip))]


def _ended(colour: Colour, host: str, home: Path) -> OllamaPushError:
    asked = Direct(host=host, home=home, stall_timeout=_SILENCE, retry=RetryPolicy(attempts=1))
    with pytest.raises(OllamaPushError) as caught:
        try_login(colour, asked, RIGHT)
    return caught.value


@pytest.mark.slow
@either_colour
@pytest.mark.parametrize(
    ("before", "drip", "phase"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"a", "read"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Many: a\r\n", "read"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", "read"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", "read"),
        (head(200, {"Content-Length": "100000"}), b"a", "response"),
        (head(200, {"Connection": "close"}), b"a", "response"),
        (head(200, {"Transfer-Encoding": "chunked"}), b"1\r\na\r\n", "response"),
        (head(200, {"Transfer-Encoding": "chunked"}) + b"1;a=", b"b", "read"),
        (head(200, {"Transfer-Encoding": "chunked"}) + b"0\r\n", b"X: y\r\n", "read"),
    ],
)
def test_a_response_that_drips_is_a_timeout(
    before: bytes, drip: bytes, phase: str, colour: Colour, tmp_path: Path
) -> None:
    with ScriptedServer(_dripping(before, drip)) as registry:
        error = _ended(colour, f"127.0.0.1:{registry.port}", tmp_path)
    assert isinstance(error, TransportTimeout)
    assert (error.phase, error.seconds) == (phase, _SILENCE if phase == "read" else 5 * _SILENCE)


@pytest.mark.slow
@either_colour
def test_an_error_that_drips_is_told_by_its_status(colour: Colour, tmp_path: Path) -> None:
    with ScriptedServer(_dripping(head(500, {"Content-Length": "100000"}), b"a")) as registry:
        error = _ended(colour, f"127.0.0.1:{registry.port}", tmp_path)
    assert isinstance(error, ServerError)
    assert error.status == 500


@pytest.mark.slow
@either_colour
def test_a_token_that_drips_is_a_timeout(colour: Colour, tmp_path: Path) -> None:
    with ScriptedServer(_dripping(head(200, {"Content-Length": "100000"}), b" ")) as realm:
        challenge = {"WWW-Authenticate": f'Bearer realm="{realm.url}/token",service="s"', "Content-Length": "0"}
        with ScriptedServer([head(401, challenge)]) as registry:
            error = _ended(colour, f"127.0.0.1:{registry.port}", tmp_path)
    assert isinstance(error, TransportTimeout)
    assert error.address == realm.url


@either_colour
def test_a_response_that_is_slow_and_comes_to_its_end_is_read(colour: Colour, tmp_path: Path) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"come back on monday"}]}'
    pieces = [body[start : start + 11] for start in range(0, len(body), 11)]
    slow = [step for piece in pieces for step in (Pause(_SILENCE / 4), piece)]
    with ScriptedServer([head(403, {"Content-Length": str(len(body))}), *slow]) as registry:
        error = _ended(colour, f"127.0.0.1:{registry.port}", tmp_path)
    assert isinstance(error, PushRejected)
    assert error.words == "DENIED: come back on monday"

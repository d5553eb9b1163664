"""A recorded success that is cut off at every byte is a success only where its last line is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from tests.support.server_push import ONCE, Push, facts_of, push, push_awaited

from ollama_push.testing.recordings import Recording
from ollama_push.testing.server import ScriptedServer
from ollama_push.transports import AiohttpTransport, Urllib3Transport

pytestmark = pytest.mark.slow

RECORDING: Final = Recording.load(Path(__file__).parents[1] / "data" / "recordings" / "success.json")
LAST_LINE: Final = b'{"status":"success"}\n'


def test_no_cut_of_a_success_is_a_success() -> None:
    raw = RECORDING.raw
    body, end = raw.index(b"\r\n\r\n") + 4, raw.index(LAST_LINE) + len(LAST_LINE)
    scripts = [(raw[:offset],) for offset in range(len(raw))]
    with ScriptedServer(*scripts) as server:
        sync = [push(Push(server.url, retry=ONCE), Urllib3Transport()) for _ in scripts]
    with ScriptedServer(*scripts) as server:
        awaited = [push_awaited(Push(server.url, retry=ONCE), AiohttpTransport) for _ in scripts]
    for offset, (one, other) in enumerate(zip(sync, awaited, strict=True)):
        assert (one.receipt is not None) == (other.receipt is not None) == (offset >= end), offset
        if offset >= body:  # http.client takes half a head for a whole one, so before it the errors differ
            assert facts_of(one.error) == facts_of(other.error), offset
            assert one.events == other.events, offset

"""Recordings are read as they were made, and played as asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ollama_push.testing.recordings import Recording
from ollama_push.testing.server import Pause

_FOLDER = Path(__file__).parents[2] / "data" / "recordings"
_RECORDING = Recording("ollama", "told", b"", ((0.5, b"abc"), (0.5, b"def"), (2.5, b"g")))


@pytest.mark.parametrize("path", sorted(_FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_recording_of_a_real_server_is_a_request_and_its_response(path: Path) -> None:
    recording = Recording.load(path)
    assert recording.server.startswith("ollama 0.")
    assert recording.scenario == path.stem
    assert b" HTTP/1.1\r\n" in recording.request
    assert recording.raw.startswith(b"HTTP/1.1 ")
    seconds = [when for when, _data in recording.received]
    assert seconds == sorted(seconds)


def test_a_request_is_read_byte_for_byte() -> None:
    head, _, body = Recording.load(_FOLDER / "reject_gzip.json").request.partition(b"\r\n\r\n")
    assert b"Content-Length: 3" in head
    assert body == b"\x1f\x8b\x08"


def test_an_answer_is_read_as_utf_8(tmp_path: Path) -> None:
    fields = {"server": "s", "scenario": "x", "request": "", "received": [[0, "\u2026"]]}
    (tmp_path / "x.json").write_text(json.dumps(fields), "utf-8")
    assert Recording.load(tmp_path / "x.json").raw == "\u2026".encode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b'{"model":"a/b"}', True), (b'{"stream": false}', False), (b'{"stream":false}', False), (b"", True)],
)
def test_streaming_is_read_from_the_request(body: bytes, expected: object) -> None:
    assert Recording("s", "x", b"POST / HTTP/1.1\r\n\r\n" + body, ()).streamed is expected


def test_its_own_pace_has_the_recorded_pauses() -> None:
    assert _RECORDING.at_its_own_pace() == (Pause(0.5), b"abc", b"def", Pause(2.0), b"g")
    assert _RECORDING.at_its_own_pace(speed=4) == (Pause(0.125), b"abc", b"def", Pause(0.5), b"g")


@pytest.mark.parametrize(
    ("sizes", "pieces"),
    [((3,), (b"abc", b"def", b"g")), ((1, 4), (b"a", b"bcde", b"fg")), ((100,), (b"abcdefg",))],
)
def test_the_bytes_can_be_cut_into_other_pieces(sizes: tuple[int, ...], pieces: tuple[bytes, ...]) -> None:
    assert _RECORDING.cut(*sizes) == pieces

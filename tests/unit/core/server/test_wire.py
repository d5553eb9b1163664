"""One line's meaning, exactly: strict types, odd texts, and the same with and without the fast decoder."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from typing import Any, Final

import pytest
from tests.support.odd_lines import ODD_LINES

from ollama_push.core.errors import MalformedLine
from ollama_push.core.events import LayerProgress, PushSucceeded, StatusChanged
from ollama_push.core.json_text import MAX_COUNT, bounded_count, decode_json, encode_json
from ollama_push.core.server.wire import ErrorLine, LineDecoder

_DIGEST: Final = "sha256:" + "a" * 64


def _says(line: bytes, decoder: LineDecoder | None = None) -> str:
    try:
        return repr((decoder or LineDecoder()).decode(line))
    except MalformedLine as exc:
        return repr(exc)


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b'{"status":"retrieving manifest"}', StatusChanged("retrieving manifest")),
        (b'{"status":""}', StatusChanged("")),
        (b'{"status":"success"}', PushSucceeded()),
        (b'{"status":"success","digest":"sha256:a"}', PushSucceeded()),
        (b'{"status":"SUCCESS"}', StatusChanged("SUCCESS")),
        (b'{"status":"p","digest":"d","total":5,"completed":2}', LayerProgress("d", 5, 2, "p")),
        (b'{"status":"p","digest":"sha256:model","total":5}', LayerProgress("sha256:model", 5, 0, "p")),
        (b'{"status":"p","digest":"d","total":null,"completed":null}', LayerProgress("d", 0, 0, "p")),
        (b'{"status":"p","digest":"d","total":-5,"completed":-1}', LayerProgress("d", 0, 0, "p")),
        (b'{"status":"p","digest":"d","completed":18446744073709551616}', LayerProgress("d", 0, 2**64, "p")),
        (b'{"status":"p","digest":""}', StatusChanged("p")),
        (b'{"status":"p","digest":null,"total":1}', StatusChanged("p")),
        (b'{"status":"a","x":[{"y":1}]}', StatusChanged("a")),
        (b'{"status":"a","status":"b"}', StatusChanged("b")),
        (b'\xef\xbb\xbf{"status":"a"}', StatusChanged("a")),
        ('{"status":"a\u2028b\x85c"}'.encode(), StatusChanged("a\u2028b\x85c")),
        (b'{"status":"\\ud83d\\ude00"}', StatusChanged("\U0001f600")),
        (b'{"status":"\\ud83dx"}', StatusChanged("\ufffdx")),
        (b'{"status":"p","digest":"\\udc00"}', LayerProgress("\ufffd", 0, 0, "p")),
        (b'{"error":"no"}', ErrorLine("no")),
        (b'{"error":""}', ErrorLine("")),
        (b'{"error":"\\ud800"}', ErrorLine("\ufffd")),
        (b'{"error":{"code":"ol\xc3\xa9"}}', ErrorLine('{"code": "ol\u00e9"}')),
        (b'{"error":0}', ErrorLine("0")),
        (b'{"error":false,"status":"success"}', ErrorLine("false")),
        (b'{"error":null,"status":"success"}', PushSucceeded()),
        (b"", None),
        (b" \t\r", None),
        (b"\xef\xbb\xbf", None),
    ],
)
def test_means(line: bytes, event: object) -> None:
    assert LineDecoder().decode(line) == event


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"[]", "expected an object, not list"),
        (b"null", "expected an object, not NoneType"),
        (b'"success"', "expected an object, not str"),
        (b"{}", "neither status nor error"),
        (b'{"error":null}', "neither status nor error"),
        (b'{"digest":"sha256:a"}', "neither status nor error"),
        (b'{"status":5}', "expected str or null, not int"),
        (b'{"status":"p","digest":5}', "expected str or null, not int"),
        (b'{"status":"p","digest":"d","total":"5"}', "expected int or null, not str"),
        (b'{"status":"p","digest":"d","total":1.0}', "expected int or null, not float"),
        (b'{"status":"p","digest":"d","completed":true}', "expected int or null, not bool"),
        (b'{"status":"p","digest":"d","completed":NaN}', "not JSON: NaN is not JSON"),
        (b'{"status":"\xff"}', "not JSON: 'utf-8' codec can't decode"),
        (b"nope", "not JSON: Expecting value"),
        (b'{"status":"a"} {"status":"b"}', "not JSON: Extra data"),
        (b'{"status":' + b"[" * 100_000, "not JSON: nested too deeply"),
    ],
)
def test_is_malformed(line: bytes, problem: str) -> None:
    with pytest.raises(MalformedLine) as caught:
        LineDecoder().decode(line)
    assert caught.value.problem.startswith(problem)
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.line == line[:200].decode("utf-8", "replace")


def test_a_secret_at_the_cut_is_hidden() -> None:
    with pytest.raises(MalformedLine) as caught:
        LineDecoder().decode(b"a" * 180 + b" https://me:hushhushhushhush@example.com/")
    assert "hush" not in caught.value.line


@pytest.mark.parametrize("line", ODD_LINES, ids=lambda line: repr(line[:40]))
def test_an_odd_line_is_an_event_or_malformed_and_nothing_else(line: bytes) -> None:
    assert _says(line)


# Run by another interpreter: hides the fast decoder, then says what each line means.
_WITHOUT_ORJSON: Final = """
import json, sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "msgspec":
            raise ImportError("hidden")

sys.meta_path.insert(0, Hide())
from ollama_push.core.errors import MalformedLine
from ollama_push.core.server.wire import LineDecoder

answers = []
for line in json.load(sys.stdin):
    try:
        answers.append(repr(LineDecoder().decode(bytes.fromhex(line))))
    except MalformedLine as exc:
        answers.append(repr(exc))
print(json.dumps([answers, "msgspec" in sys.modules]))
"""


def _says_without_msgspec(lines: tuple[bytes, ...]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_ORJSON],
        input=json.dumps([line.hex() for line in lines]),
        capture_output=True,
        text=True,
        check=True,
    )
    responses, loaded = json.loads(done.stdout)
    assert not loaded
    assert isinstance(responses, list)
    return responses


def test_the_fast_decoder_changes_no_answer() -> None:
    pytest.importorskip("msgspec")
    with_msgspec = [_says(line) for line in ODD_LINES]
    assert dict(zip(ODD_LINES, _says_without_msgspec(ODD_LINES), strict=True)) == dict(
        zip(ODD_LINES, with_msgspec, strict=True)
    )


def test_the_fast_decoder_changes_no_error_text() -> None:
    pytest.importorskip("msgspec")
    lines = (b'{"error":18446744073709551616}', b'{"error":{"code":123456789012345678901234567890}}')
    assert [_says(line) for line in lines] == _says_without_msgspec(lines)


_TICK: Final = b'{"status":"p","digest":"d","total":9,"completed":'

SEQUENCE: Final = (
    _TICK + b"1}",
    _TICK + b"1}",
    _TICK + b"12}",
    _TICK + b"0}",
    _TICK + b"00}",
    _TICK + b"05}",
    _TICK + b"-5}",
    _TICK + b"1e3}",
    _TICK + b"1.5}",
    _TICK + b"}",
    _TICK + b"1",
    _TICK + b"15",
    _TICK + b"15]",
    _TICK + b"1}}",
    _TICK + b"1} ",
    _TICK + b"1}\r",
    _TICK + b" 1}",
    _TICK + b"1_0}",
    _TICK + "\u0663}".encode(),
    _TICK + b"9" * 18 + b"}",
    _TICK + b"9" * 19 + b"}",
    _TICK + b"9" * 400 + b"}",
    _TICK + b"9" * 5000 + b"}",
    _TICK + b'1,"completed":2}',
    _TICK + b'1,"completed":3}',
    _TICK + b'1,"x":{"a":1,"completed":1}}',
    _TICK + b'1,"x":{"a":1,"completed":2}}',
    b'{"completed":5,"status":"p","digest":"d","x":{"a":1,"completed":5}}',
    b'{"completed":5,"status":"p","digest":"d","x":{"a":1,"completed":6}}',
    b'{"completed":5,"status":"p","digest":"d","x":{"a":1,"completed":6}',
    b'{"completed":5,"status":"p","digest":"d","x\\"completed":5}',
    b'{"completed":5,"status":"p","digest":"d","x\\"completed":6}',
    b'{"completed":5,"status":"p","digest":"d","x":"a,\\"completed\\":5}"}',
    b'{"completed":5,"status":"p","digest":"d","x":"a,\\"completed\\":6}"}',
    b'{"digest":"d","completed":5,"status":"x,\\"completed\\":5}"}',
    b'{"completed":5,"status":"p","digest":"d"}',
    b'{"completed":6,"status":"p","digest":"d"}',
    b'{"status":"p","digest":"d", "completed":5}',
    b'{"status":"p","digest":"d","completed": 5}',
    b'{"status":"a","completed":5}',
    b'{"status":"a","completed":6}',
    b'{"status":"success","digest":"d","completed":5}',
    b'{"error":"no","digest":"d","completed":5}',
    b"\xef\xbb\xbf" + _TICK + b"5}",
    b"\xef\xbb\xbf" + _TICK + b"6}",
    b'{"status":"success"}',
    b"",
    b"nope",
)


@pytest.mark.parametrize("first", SEQUENCE, ids=lambda line: repr(line[:90]))
def test_what_a_line_means_does_not_depend_on_the_line_before(first: bytes) -> None:
    for second in SEQUENCE:
        decoder = LineDecoder()
        assert (_says(first, decoder), _says(second, decoder)) == (_says(first), _says(second))


def test_nor_on_the_two_lines_before() -> None:
    alone = {line: _says(line) for line in SEQUENCE}
    for lines in product(SEQUENCE[:24], repeat=3):
        decoder = LineDecoder()
        assert [_says(line, decoder) for line in lines] == [alone[line] for line in lines]


def test_the_same_line_gives_the_same_object() -> None:
    decoder = LineDecoder()
    event = decoder.decode(_TICK + b"1}")
    assert decoder.decode(_TICK + b"1}") is event
    assert decoder.decode(b"") is None
    assert decoder.decode(_TICK + b"1}") is event


@pytest.mark.parametrize("digits", [b"2", b"9" * 18])
def test_a_tick_in_which_the_counter_alone_moved_is_not_decoded_in_full(digits: bytes) -> None:
    decoder = LineDecoder()
    tick = b'{"status":"pushing it","digest":"%s","total":9,"completed":' % _DIGEST.encode()
    first, second = decoder.decode(tick + b"1}"), decoder.decode(tick + digits + b"}")
    assert isinstance(first, LayerProgress)
    assert isinstance(second, LayerProgress)
    # Decoded in full, each event has texts of its own.
    assert second.digest is first.digest
    assert second == LayerProgress(_DIGEST, 9, int(digits), "pushing it")


@pytest.mark.parametrize("data", [b"NaN", b"[Infinity]", b"", b"\xef\xbb\xbf1", b"\xff", b"[" * 100_000])
def test_json_is_strict(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_json(data)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ({"b": 1, "a": [None, True]}, b'{"b":1,"a":[null,true]}'),
        ("ol\u00e9\u2028", '"ol\u00e9\u2028"'.encode()),
        ("\ud800", b'"?"'),
    ],
)
def test_json_is_written_compact_and_in_utf8(value: Any, data: bytes) -> None:
    assert encode_json(value) == data


def test_a_presigned_url_in_a_status_is_hidden() -> None:
    event = LineDecoder().decode(b'{"status":"PUT https://s3.example.com/x?X-Amz-Signature=hush failed"}')
    assert "hush" not in repr(event)
    assert "https://s3.example.com/x" in repr(event)


def test_layers_in_turn_are_read_exactly() -> None:
    decoder = LineDecoder()
    for completed in range(3):
        for layer in "abc":
            line = b'{"status":"p","digest":"%s","total":9,"completed":%d}' % (layer.encode(), completed)
            assert decoder.decode(line) == LayerProgress(layer, 9, completed, "p")


def test_of_lines_no_more_is_remembered_than_a_megabyte() -> None:
    decoder = LineDecoder()
    for number in range(2 * decoder._MAX_BEGINNINGS + 1):
        line = encode_json({"status": "p", "digest": str(number), "total": 9, "completed": 5})
        assert decoder.decode(line) == LayerProgress(str(number), 9, 5, "p")
    assert len(decoder._beginnings) == 1


def test_a_long_line_is_not_remembered() -> None:
    decoder = LineDecoder()
    for completed in (5, 6):
        line = encode_json({"status": "p" * 500, "digest": "d", "completed": completed})
        assert decoder.decode(line) == LayerProgress("d", 0, completed, "p" * 500)
    assert not decoder._beginnings


@pytest.mark.parametrize(
    ("said", "kept"), [(-1, 0), (0, 0), (1, 1), (MAX_COUNT, MAX_COUNT), (MAX_COUNT + 1, MAX_COUNT), (10**40, MAX_COUNT)]
)
def test_a_count_is_kept_within_what_can_be_added_and_drawn(said: int, kept: int) -> None:
    assert bounded_count(said) == kept

"""Lines from how things stand: order, repeats, and what a reader that comes late finds."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ollama_push.core.events import LayerProgress, PushPlanned, PushSucceeded, StatusChanged
from ollama_push.core.registry.manifests import Descriptor, Manifest
from ollama_push.gateway.progress_lines import PUSHING_MANIFEST_LINE, SUCCESS_LINE, ProgressLines, error_line

SIZES = (1000, 0, 30)
DIGESTS = tuple(f"sha256:{letter * 64}" for letter in "abc")


def manifest(media_type: str = "x/y") -> Manifest:
    blobs = tuple(Descriptor(digest, size, media_type) for digest, size in zip(DIGESTS, SIZES, strict=True))
    return Manifest(b"{}", "m/n", blobs)


def at(number: int, completed: int) -> LayerProgress:
    return LayerProgress(DIGESTS[number], SIZES[number], completed, "whatever")


def taken(progress: ProgressLines, *, tick: bool = True) -> list[tuple[str, int, int]]:
    lines = [json.loads(line) for line in progress.next_lines(tick=tick)]
    return [(line["status"], line.get("total", 0), line.get("completed", 0)) for line in lines]


A, B, C = (f"pushing {letter * 12}" for letter in "abc")


def test_layers_that_were_there_have_one_line_each_at_once() -> None:
    progress = ProgressLines(manifest())
    assert not progress.receive_event(PushPlanned(1030))
    assert [progress.receive_event(at(number, SIZES[number])) for number in range(3)] == [True] * 3
    assert taken(progress, tick=False) == [(A, 1000, 1000), (B, 0, 0), (C, 30, 30)]
    assert taken(progress) == []


def test_a_layer_that_is_uploaded_ticks_and_the_others_wait_for_it() -> None:
    progress = ProgressLines(manifest())
    progress.receive_event(at(1, 0))
    assert taken(progress) == []  # the first is not known yet
    progress.receive_event(at(0, 0))
    progress.receive_event(at(2, 10))
    assert taken(progress, tick=False) == []
    assert taken(progress) == taken(progress) == [(A, 1000, 0)]
    progress.receive_event(at(0, 700))
    progress.receive_event(at(0, 300))
    assert taken(progress) == [(A, 1000, 300)]
    progress.receive_event(at(0, 1000))
    assert taken(progress) == [(A, 1000, 1000)]
    assert taken(progress) == [(B, 0, 0), (C, 30, 10)]
    progress.receive_event(at(2, 30))
    # All are sent; the registry still thinks.
    assert taken(progress) == taken(progress) == [(C, 30, 30)]
    assert progress.receive_event(StatusChanged("pushing manifest"))
    assert list(progress.next_lines(tick=False)) == [PUSHING_MANIFEST_LINE]
    assert not progress.receive_event(StatusChanged("verifying"))
    assert progress.receive_event(PushSucceeded())
    assert list(progress.next_lines(tick=False)) == [SUCCESS_LINE]
    assert list(progress.next_lines(tick=True)) == []


def test_a_reader_that_comes_at_the_end_finds_everything_once() -> None:
    progress = ProgressLines(manifest())
    for number in (0, 1, 2):
        progress.receive_event(at(number, 0))
    for completed in range(0, 1001, 10):
        progress.receive_event(at(0, completed))
    progress.receive_event(StatusChanged("pushing manifest"))
    progress.receive_event(PushSucceeded())
    assert taken(progress, tick=False) == [
        (A, 1000, 1000),
        (B, 0, 0),
        (C, 30, 30),
        ("pushing manifest", 0, 0),
        ("success", 0, 0),
    ]


def test_what_is_zero_is_left_out() -> None:
    progress = ProgressLines(manifest())
    progress.receive_event(at(0, 0))
    (line,) = progress.next_lines(tick=True)
    assert line == b'{"status":"%s","digest":"%s","total":1000}\n' % (A.encode(), DIGESTS[0].encode())


def test_a_blob_that_is_not_in_the_manifest_is_not_told_of() -> None:
    progress = ProgressLines(manifest())
    assert not progress.receive_event(LayerProgress("sha256:" + "f" * 64, 5, 5, ""))
    assert taken(progress) == []


def test_tensors_are_told_of_as_one_and_the_manifest_is_not() -> None:
    progress = ProgressLines(manifest("application/vnd.ollama.image.tensor"))
    assert taken(progress) == []
    progress.receive_event(at(2, 30))
    assert taken(progress, tick=False) == [("pushing model", 1030, 30)]
    assert taken(progress, tick=False) == []
    progress.receive_event(at(0, 500))
    assert taken(progress) == taken(progress) == [("pushing model", 1030, 530)]
    progress.receive_event(StatusChanged("pushing manifest"))
    assert taken(progress) == [("pushing model", 1030, 1030)]
    progress.receive_event(PushSucceeded())
    assert taken(progress) == [("success", 0, 0)]


def test_an_error_line_is_an_error_and_nothing_else() -> None:
    assert error_line("<no>") == b'{"error":"\\u003cno\\u003e"}\n'


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1000), st.booleans()), max_size=40))
def test_whatever_happens_layers_are_told_of_one_after_the_other_and_end_full(
    steps: list[tuple[int, int, bool]],
) -> None:
    progress = ProgressLines(manifest())
    told: list[tuple[str, int, int]] = []
    for number, completed, tick in steps:
        progress.receive_event(at(number, min(completed, SIZES[number])))
        told += taken(progress, tick=tick)
    progress.receive_event(StatusChanged("pushing manifest"))
    progress.receive_event(PushSucceeded())
    told += taken(progress)
    order = [status for status, _, _ in told]
    turns = [first for first, second in pairwise([*order, ""]) if first != second]
    assert turns == [A, B, C, "pushing manifest", "success"]
    last = {status: (total, completed) for status, total, completed in told}
    assert last[A] == (1000, 1000)
    assert last[C] == (30, 30)

"""The gateway's response against a real server's, for every recording whose situation can be made."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from tests.support.gateway import BufferedResponse, Gateway, parse, settings_for, store_of
from tests.support.gateway_recordings import DIFFERENCES, LAYERS, RECORDINGS, SETUPS, TENSORS, RecordingSetup
from tests.support.push_responses import Told, lines_by_digest, ours_for, require_sound_counters, store_for
from tests.support.stores import CONFIG

from ollama_push.core.server.reasons import reason_for
from ollama_push.testing.recordings import Recording

REJECTED = sorted(path.stem for path in RECORDINGS.glob("reject_*.json"))


def test_every_recording_has_its_situation() -> None:
    made = {situation.recording for situation in SETUPS}
    assert made | set(REJECTED) == {path.stem for path in RECORDINGS.glob("*.json")}


@pytest.mark.parametrize("situation", SETUPS, ids=lambda situation: situation.recording)
def test_our_answer_is_the_recorded_one_but_for_what_the_table_says(situation: RecordingSetup, tmp_path: Path) -> None:
    recording = Recording.load(RECORDINGS / f"{situation.recording}.json")
    with situation.registry(tmp_path / "registry") as registry:
        host = f"localhost:{registry.host.partition(':')[2]}" if registry else "localhost:9"
        root = store_for(tmp_path, host, tensors=situation.tensors)
        # One blob at a time: the error names the blob that fails first.
        with Gateway(settings_for(root, concurrency=1)) as gateway:
            response = gateway.push(situation.order(host))
            require_sound_counters(response)
            ours = Told.of(response, host, str(root.root))
            assert gateway.tasks() == []
    totals = [lines[0]["total"] for lines in lines_by_digest(response).values()]
    sizes = [len(data) for data in (*(TENSORS if situation.tensors else LAYERS), CONFIG)]
    assert totals in ([sum(sizes)] if situation.tensors else sizes, sizes[:1], [])
    real = Told.of(parse(recording.raw), "localhost:5001", "/usr/share/ollama/.ollama/models")
    assert ours == ours_for(situation.recording, real, DIFFERENCES)
    if situation.has_same_reason:
        assert reason_for(ours.error) is reason_for(real.error)


@pytest.mark.parametrize("name", REJECTED)
def test_what_is_rejected_is_rejected_as_recorded(name: str, tmp_path: Path) -> None:
    recording = Recording.load(RECORDINGS / f"{name}.json")
    with Gateway(settings_for(store_of(tmp_path))) as gateway:
        ours = parse(gateway.raw(recording.request))
    real = parse(recording.raw)
    assert _undated(ours) == _undated(real)


def test_the_table_of_differences_holds_no_more_than_there_is(tmp_path: Path) -> None:
    parts = [(each.recording, each.part) for each in DIFFERENCES]
    assert len(set(parts)) == len(parts)
    assert {each.recording for each in DIFFERENCES} <= {situation.recording for situation in SETUPS}
    for each in DIFFERENCES:
        real = Told.of(parse(Recording.load(RECORDINGS / f"{each.recording}.json").raw), "localhost:5001", "")
        assert each.ours != real.part(each.part)


def _undated(response: BufferedResponse) -> BufferedResponse:
    return attrs.evolve(response, headers={name: value for name, value in response.headers.items() if name != "date"})

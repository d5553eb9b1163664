"""The gateway's response against a real server's, for every recording whose situation can be made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from tests.support.gateway import BufferedResponse, Gateway, parse, settings_for, store_of
from tests.support.gateway_recordings import DIFFERENCES, LAYERS, SETUPS, TENSORS, RecordingSetup
from tests.support.stores import CONFIG, descriptor, put_blob, put_manifest

from ollama_push.core.server.reasons import reason_for
from ollama_push.testing.recordings import Recording

# A real server fails where the gateway goes on, or has no words for what is wrong.
_OTHER_REASONS = {"error_basic_challenge", "error_foreign_realm", "error_head_500"}

FOLDER = Path(__file__).parent.parent / "data" / "recordings"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
REJECTED = sorted(path.stem for path in FOLDER.glob("reject_*.json"))


@attrs.frozen
class Told:
    """A response, without what differs between any two pushes: digests, sizes, repeats.

    ``counters`` says of each layer where it ended, and of the first one, which takes a while, where it began: whether
    a tick comes while the small ones are on their way is chance.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    lines: tuple[str, ...]
    counters: tuple[str, ...]
    error: str

    @classmethod
    def of(cls, response: BufferedResponse, host: str, root: str) -> Told:
        headers = {name: value for name, value in response.headers.items() if name not in ("date", "content-length")}
        lines: list[str] = []
        seen: list[str] = []
        for line in response.lines:
            kind = _kind_of(line, seen)
            if not lines or lines[-1] != kind:
                lines.append(kind)
        error = DIGEST.sub("DIGEST", response.error.replace(host, "HOST").replace(root, "ROOT"))
        return cls(response.status, response.reason, headers, tuple(lines), _counters_of(response), error)

    def part(self, name: str) -> str:
        """What ``Difference.ours`` is held against."""
        return {"error": self.error, "lines": ", ".join(self.lines), "counters": ", ".join(self.counters)}[name]


def _kind_of(line: dict[str, Any], seen: list[str]) -> str:
    if "error" in line:
        assert list(line) == ["error"]
        return "error"
    if "digest" not in line:
        assert list(line) == ["status"]
        return str(line["status"])
    digest = line["digest"]
    if digest not in seen:
        seen.append(digest)
    if digest == "sha256:model":
        assert line["status"] == "pushing model"
        return "pushing model"
    assert line["status"] == f"pushing {digest[7:19]}"
    assert list(line) == [key for key in ("status", "digest", "total", "completed") if key in line]
    return f"pushing layer {seen.index(digest) + 1}"


def _told_of(response: BufferedResponse) -> dict[str, list[dict[str, Any]]]:
    """The lines of each layer, by digest."""
    told: dict[str, list[dict[str, Any]]] = {}
    for line in response.lines:
        if "digest" in line:
            told.setdefault(line["digest"], []).append(line)
    return told


def _counters_of(response: BufferedResponse) -> tuple[str, ...]:
    counters = list[str]()
    for number, (digest, lines) in enumerate(_told_of(response).items(), 1):
        assert len({line["total"] for line in lines}) == 1
        assert all(0 < line["completed"] <= line["total"] for line in lines if "completed" in line)
        first, last = lines[0], lines[-1]
        name = "model" if digest == "sha256:model" else f"layer {number}"
        begun = "all" if first.get("completed") == first["total"] else "less than all"
        ended = "none" if "completed" not in last else "all" if last["completed"] == last["total"] else "a part"
        counters.append(f"{name}: from {begun} to {ended}" if number == 1 else f"{name}: to {ended}")
    return tuple(counters)


def test_every_recording_has_its_situation() -> None:
    made = {situation.recording for situation in SETUPS}
    assert made | set(REJECTED) == {path.stem for path in FOLDER.glob("*.json")}


@pytest.mark.parametrize("situation", SETUPS, ids=lambda situation: situation.recording)
def test_our_answer_is_the_recorded_one_but_for_what_the_table_says(situation: RecordingSetup, tmp_path: Path) -> None:
    recording = Recording.load(FOLDER / f"{situation.recording}.json")
    order = json.loads(recording.request.partition(b"\r\n\r\n")[2])
    with situation.registry(tmp_path / "registry") as registry:
        host = f"localhost:{registry.host.partition(':')[2]}" if registry else "localhost:9"
        for key in ("model", "name"):
            if key in order:
                order[key] = order[key].replace("localhost:5001", host)
        root = _store(tmp_path, host, tensors=situation.tensors)
        # One blob at a time: the error names the blob that fails first.
        with Gateway(settings_for(root, concurrency=1)) as gateway:
            response = gateway.push({**order, **situation.more})
            ours = Told.of(response, host, str(root.root))
            assert gateway.tasks() == []
    totals = [lines[0]["total"] for lines in _told_of(response).values()]
    sizes = [len(data) for data in (*(TENSORS if situation.tensors else LAYERS), CONFIG)]
    assert totals in ([sum(sizes)] if situation.tensors else sizes, sizes[:1], [])
    real = Told.of(parse(recording.raw), "localhost:5001", "/usr/share/ollama/.ollama/models")
    said = {each.part: each.ours for each in DIFFERENCES if each.recording == situation.recording}
    expected = attrs.evolve(
        real,
        error=said.get("error", real.error),
        lines=tuple(said["lines"].split(", ")) if "lines" in said else real.lines,
        counters=tuple(said["counters"].split(", ")) if "counters" in said else real.counters,
    )
    assert ours == expected
    if situation.recording not in _OTHER_REASONS:
        assert reason_for(ours.error) is reason_for(real.error)


@pytest.mark.parametrize("name", REJECTED)
def test_what_is_rejected_is_rejected_as_recorded(name: str, tmp_path: Path) -> None:
    recording = Recording.load(FOLDER / f"{name}.json")
    with Gateway(settings_for(store_of(tmp_path))) as gateway:
        ours = parse(gateway.raw(recording.request))
    real = parse(recording.raw)
    assert _undated(ours) == _undated(real)


def test_the_table_of_differences_holds_no_more_than_there_is(tmp_path: Path) -> None:
    parts = [(each.recording, each.part) for each in DIFFERENCES]
    assert len(set(parts)) == len(parts)
    assert {each.recording for each in DIFFERENCES} <= {situation.recording for situation in SETUPS}
    for each in DIFFERENCES:
        real = Told.of(parse(Recording.load(FOLDER / f"{each.recording}.json").raw), "localhost:5001", "")
        assert each.ours != real.part(each.part)


def _undated(response: BufferedResponse) -> BufferedResponse:
    return attrs.evolve(response, headers={name: value for name, value in response.headers.items() if name != "date"})


def _store(tmp_path: Path, host: str, *, tensors: bool) -> Any:
    store = store_of(tmp_path, f"{host}/team/demo/latest", layers=TENSORS if tensors else LAYERS)
    if tensors:
        blobs = [descriptor(data, "application/vnd.ollama.image.tensor") for data in TENSORS]
        manifest = {"schemaVersion": 2, "layers": blobs, "config": descriptor(CONFIG)}
        put_blob(store.root, CONFIG)
        put_manifest(store.root, f"{host}/team/tensors/latest", json.dumps(manifest).encode())
    return store

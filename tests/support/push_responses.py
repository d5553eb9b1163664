"""The response to a push without what differs between any two pushes, and the store that both servers push from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
from tests.support.gateway import BufferedResponse, store_of
from tests.support.gateway_recordings import LAYERS, TENSORS, Difference
from tests.support.stores import CONFIG, descriptor, put_blob, put_manifest

from ollama_push.local import ModelStore

__all__ = ["Told", "lines_by_digest", "ours_for", "require_sound_counters", "store_for"]

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


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
        error = _DIGEST.sub("DIGEST", response.error.replace(host, "HOST").replace(root, "ROOT"))
        return cls(response.status, response.reason, headers, tuple(lines), _counters_of(response), error)

    def part(self, name: str) -> str:
        """What ``Difference.ours`` is held against."""
        return {"error": self.error, "lines": ", ".join(self.lines), "counters": ", ".join(self.counters)}[name]


def ours_for(situation: str, real: Told, differences: Iterable[Difference]) -> Told:
    """What the gateway is to tell in *situation*, in which a real server tells *real*, but for *differences*."""
    said = {each.part: each.ours for each in differences if each.recording == situation}
    return attrs.evolve(
        real,
        error=said.get("error", real.error),
        lines=tuple(said["lines"].split(", ")) if "lines" in said else real.lines,
        counters=tuple(said["counters"].split(", ")) if "counters" in said else real.counters,
    )


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


def lines_by_digest(response: BufferedResponse) -> dict[str, list[dict[str, Any]]]:
    """The lines of each layer, by digest."""
    told: dict[str, list[dict[str, Any]]] = {}
    for line in response.lines:
        if "digest" in line:
            told.setdefault(line["digest"], []).append(line)
    return told


def _counters_of(response: BufferedResponse) -> tuple[str, ...]:
    counters = list[str]()
    for number, (digest, lines) in enumerate(lines_by_digest(response).items(), 1):
        first, last = lines[0], lines[-1]
        name = "model" if digest == "sha256:model" else f"layer {number}"
        begun = "all" if first.get("completed") == first["total"] else "less than all"
        ended = "none" if last.get("completed", 0) <= 0 else "all" if last["completed"] == last["total"] else "a part"
        counters.append(f"{name}: from {begun} to {ended}" if number == 1 else f"{name}: to {ended}")
    return tuple(counters)


def require_sound_counters(response: BufferedResponse) -> None:
    """Require one size for each layer, and counters within it; those of a real server may be beyond it, or negative."""
    for lines in lines_by_digest(response).values():
        assert len({line["total"] for line in lines}) == 1
        assert all(0 < line["completed"] <= line["total"] for line in lines if "completed" in line)


def store_for(tmp_path: Path, host: str, *, tensors: bool) -> ModelStore:
    """A store with the model of a situation, for the registry at *host*."""
    store = store_of(tmp_path, f"{host}/team/demo/latest", layers=TENSORS if tensors else LAYERS)
    if tensors:
        blobs = [descriptor(data, "application/vnd.ollama.image.tensor") for data in TENSORS]
        manifest = {"schemaVersion": 2, "layers": blobs, "config": descriptor(CONFIG)}
        put_blob(store.root, CONFIG)
        put_manifest(store.root, f"{host}/team/tensors/latest", json.dumps(manifest).encode())
    return store

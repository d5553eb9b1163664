"""What keeps state, against models of a few lines: hypothesis looks for a sequence of calls after which they differ."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import ClassVar

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.support.blobs import noise
from tests.support.clocks import Clock
from tests.support.memory_registry import Deviations, Fault, MemoryRegistry
from tests.support.scripted_flow import ORIGIN, DictMemory
from tests.support.upload_machine import Upload

from ollama_push.core.errors import (
    OllamaPushError,
    PushInterrupted,
    PushRejected,
    ServerError,
    StreamTruncated,
    TransportError,
)
from ollama_push.core.events import LayerProgress, PushSucceeded, StatusChanged
from ollama_push.core.observations import PushOutcome
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.resume import InUseElsewhere, ResumePoint, UploadKey
from ollama_push.core.responses import BufferedResponse
from ollama_push.core.server.protocol import PushProtocol
from ollama_push.core.server.sentinels import NEED_DATA, PUSH_OVER
from ollama_push.gateway import PushHistory
from ollama_push.local import FileResumeStore

pytestmark = pytest.mark.slow

DIGEST = f"sha256:{'5' * 64}"


class PushMachine(RuleBasedStateMachine):
    """The response to a push. Model: the lines that are complete, and the first of them that decides."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol = PushProtocol()
        self.protocol.receive_head(200, {"content-type": "application/x-ndjson"})
        self.waiting: list[object] = []  # what the complete lines say, in order, not yet read
        self.partial = b""
        self.ended = False
        self.verdict: type | None = None

    @rule(status=st.text(max_size=8).filter(lambda text: text != "success"))
    def status(self, status: str) -> None:
        self._line({"status": status}, StatusChanged(status))

    @rule(total=st.integers(0, 99), completed=st.integers(0, 99))
    def progress(self, total: int, completed: int) -> None:
        line = {"status": "pushing", "digest": DIGEST, "total": total, "completed": completed}
        self._line(line, LayerProgress(DIGEST, total, completed, "pushing"))

    @rule()
    def success(self) -> None:
        self._line({"status": "success"}, PushSucceeded)

    @rule(text=st.text(min_size=1, max_size=8).filter(str.strip))
    def error(self, text: str) -> None:
        self._line({"error": text}, OllamaPushError)

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """Give the machine a piece of what the server has sent, or all of it."""
        size = data.draw(st.integers(0, len(self.partial)))
        if size and not self.ended:
            self.protocol.receive_data(self.partial[:size])
            self.partial = self.partial[size:]

    @precondition(lambda self: not self.ended)
    @rule()
    def end(self) -> None:
        self.protocol.receive_data(self.partial)
        self.partial = b""
        self.protocol.receive_eof()
        self.ended = True

    @rule()
    def next(self) -> None:
        if self.verdict is not None:
            return
        unread = self.partial.count(b"\n")
        ready = len(self.waiting) - unread
        if ready:
            expected = self.waiting.pop(0)
            if expected is OllamaPushError:
                self._fails(PushRejected, ServerError)
            elif expected is PushSucceeded:
                assert isinstance(self.protocol.next_event(), PushSucceeded)
                assert self.protocol.next_event() is PUSH_OVER
                self.verdict = PushSucceeded
            else:
                assert self.protocol.next_event() == expected
        elif self.ended:
            self._fails(StreamTruncated)
        else:
            assert self.protocol.next_event() is NEED_DATA

    def _line(self, line: dict[str, object], says: object) -> None:
        if not self.ended:
            self.partial += json.dumps(line).encode() + b"\n"
            self.waiting.append(says)

    def _fails(self, *kinds: type[OllamaPushError]) -> None:
        try:
            self.protocol.next_event()
        except kinds as exc:
            self.verdict = type(exc)
        else:
            raise AssertionError("no verdict")


class UploadMachine(RuleBasedStateMachine):
    """The upload of one blob, tried again and again. Model: the registry holds the blob, or it does not."""

    DATA: ClassVar = noise(1_200_000, 9)

    @initialize(
        keeps=st.booleans(), status=st.booleans(), relative=st.booleans(), ranges=st.booleans(), whole=st.booleans()
    )
    def begin(self, *, keeps: bool, status: bool, relative: bool, ranges: bool, whole: bool) -> None:
        ways = Deviations(
            keeps_broken_parts=keeps, has_status=status, relative=relative, says_range=ranges, whole_only=whole
        )
        self.registry = MemoryRegistry(ways)
        self.memory = DictMemory()
        self.asked = 0

    @rule(
        fault=st.sampled_from(Fault),
        number=st.integers(0, 8),
        at=st.integers(0, 1_300_000),
        again=st.integers(1, 6),
        part=st.sampled_from([100_000, 500_000, 2_000_000]),
    )
    def upload(self, fault: Fault, number: int, at: int, again: int, part: int) -> None:
        """Upload while one request after the other fails."""
        begun = self.asked
        self.registry.faults = {begun + number + index: (fault, at) for index in range(again)}
        upload = Upload(self._count, self.DATA, part=part, memory=self.memory)
        try:
            upload.run()
        except OllamaPushError:
            self.memory.claimed.clear()
        else:
            assert self._held() == self.DATA
            assert self.memory.kept == {}
        assert self.memory.claimed == set()

    @rule(number=st.integers(0, 6), part=st.sampled_from([100_000, 500_000]))
    def interrupt(self, number: int, part: int) -> None:
        """Upload, and be told to stop after so many requests: what is said to be kept is what the next push finds."""
        self.registry.faults = {}
        stop_at = self.asked + number
        upload = Upload(self._count, self.DATA, part=part, memory=self.memory)
        upload.player.exchange._interrupted = lambda: self.asked >= stop_at
        try:
            upload.run()
        except PushInterrupted:
            held = 0 if upload.upload.lost_bytes else upload.upload.held_bytes
            point = next(iter(self.memory.kept.values()), None)
            assert held == (0 if point is None else point.offset)
            following = Upload(self._count, self.DATA, part=part, memory=self.memory)
            following.run()
            assert following.upload.resumed_bytes == held
        assert self._held() == self.DATA
        assert self.memory.claimed == set()

    @rule()
    def forget_sessions(self) -> None:
        self.registry.sessions.clear()

    @rule()
    def lose_the_blob(self) -> None:
        self.registry.blobs.clear()

    @rule()
    def finish(self) -> None:
        """When nothing goes wrong, it is stored."""
        self.registry.faults = {}
        Upload(self._count, self.DATA, memory=self.memory).run()
        assert self._held() == self.DATA

    @invariant()
    def never_other_bytes(self) -> None:
        assert all(data == self.DATA for data in getattr(self, "registry", MemoryRegistry()).blobs.values())

    def _count(self, request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        self.asked += 1
        return self.registry(request, body)

    def _held(self) -> bytes | None:
        return next(iter(self.registry.blobs.values()), None)


class ResumeStoreMachine(RuleBasedStateMachine):
    """Two processes and one folder. Model: a dictionary of what is kept, and one of who has which key."""

    KEYS: ClassVar = [UploadKey(ORIGIN, repository, DIGEST) for repository in ("a/b", "a/c")]
    AGE: ClassVar = 1000.0

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.clock.now = self.folder.stat().st_mtime  # files get the system's time
        self.stores = [self._new_store() for _ in range(2)]
        self.kept: dict[UploadKey, ResumePoint] = {}
        self.holder: dict[UploadKey, int] = {}
        self.claims: dict[tuple[int, UploadKey], int] = {}

    def teardown(self) -> None:
        for who, key in [*self.claims]:
            for _ in range(self.claims[who, key]):
                self.stores[who].release(key)
        shutil.rmtree(self.folder)

    def _new_store(self) -> FileResumeStore:
        # Nobody's patience ends: claimants are asked to wait for as long as another has the key.
        return FileResumeStore(
            self.folder / "uploads", clock=self.clock, max_age_seconds=self.AGE, wait_seconds=math.inf
        )

    who = st.integers(0, 1)
    key = st.sampled_from([KEYS[0], KEYS[0], KEYS[0], KEYS[1]])

    @rule(who=who, key=key)
    def claim(self, who: int, key: UploadKey) -> None:
        found = self.stores[who].claim(key)
        if self.holder.get(key, who) != who:
            assert isinstance(found, InUseElsewhere)
            return
        if key in self.holder:
            assert found is None
        else:
            self.holder[key] = who
            assert found == self.kept.get(key)
        self.claims[who, key] = self.claims.get((who, key), 0) + 1

    @rule(who=who, key=key, offset=st.integers(0, 2**40))
    def save(self, who: int, key: UploadKey, offset: int) -> None:
        point = ResumePoint(f"{ORIGIN}/session", offset=offset)
        self.stores[who].save(key, point)
        if self.holder.get(key) == who:
            self.kept[key] = point

    @rule(key=key)
    def look_later(self, key: UploadKey) -> None:
        """A third process gets what is kept, unless somebody has the key."""
        third = self._new_store()
        found = third.claim(key)
        if key in self.holder:
            assert isinstance(found, InUseElsewhere)
        else:
            assert found == self.kept.get(key)
            third.release(key)

    @rule(who=who, key=key)
    def forget(self, who: int, key: UploadKey) -> None:
        self.stores[who].forget(key)
        if self.holder.get(key) == who:
            self.kept.pop(key, None)

    @rule(who=who, key=key)
    def release(self, who: int, key: UploadKey) -> None:
        self.stores[who].release(key)
        left = self.claims.get((who, key), 0) - 1
        self.claims[who, key] = max(left, 0)
        if left == 0 and self.holder.get(key) == who:
            del self.holder[key]

    @rule(who=who)
    def die(self, who: int) -> None:
        """The process is killed and started again: the system releases its locks, and what it saved stays."""
        for claim in self.stores[who]._claims.values():
            if claim.lock is not None:
                claim.lock.release(force=True)
        self.stores[who] = self._new_store()
        self.holder = {key: holder for key, holder in self.holder.items() if holder != who}
        self.claims = {claim: count for claim, count in self.claims.items() if claim[0] != who}

    @rule()
    def grow_old(self) -> None:
        """Everything that is kept becomes too old to be used."""
        for file in (self.folder / "uploads").glob("*.json"):
            os.utime(file, (self.clock.now - 2 * self.AGE,) * 2)
        self.kept.clear()


@attrs.define
class ModelledPush:
    """A push in the model of a history."""

    id: int
    outcome: PushOutcome | None = None


class HistoryMachine(RuleBasedStateMachine):
    """The pushes of a gateway. Model: lists of those that run and those that have ended."""

    LIMIT: ClassVar = 3
    KEPT: ClassVar = 4
    pushes: Bundle[int] = Bundle("pushes")

    def __init__(self) -> None:
        super().__init__()
        self.history = PushHistory(self.LIMIT, kept=self.KEPT, clock=Clock(), now=lambda: 7.0)
        self.begun = []  # type: ignore[var-annotated]  # RunningPush is not public
        self.running: list[ModelledPush] = []
        self.ended: list[ModelledPush] = []

    @rule(target=pushes)
    def begin(self) -> int:
        push = self.history.begin("a/b:v1", ORIGIN)
        assert (push is None) == (len(self.running) == self.LIMIT)
        if push is not None:
            self.begun.append(push)
            self.running.insert(0, ModelledPush(push.id))
            assert push.id == len(self.begun)
        return len(self.begun)

    @rule(push=pushes, outcome=st.sampled_from(PushOutcome))
    def finish(self, push: int, outcome: PushOutcome) -> None:
        if not push:
            return
        self.begun[push - 1].finish(outcome)
        for modelled in [each for each in self.running if each.id == push]:
            modelled.outcome = outcome
            self.running.remove(modelled)
            self.ended.insert(0, modelled)

    @rule(push=pushes, completed=st.integers(0, 99))
    def progress(self, push: int, completed: int) -> None:
        if push:
            self.begun[push - 1].receive_event(LayerProgress(DIGEST, 99, completed))

    @invariant()
    def the_same_pushes(self) -> None:
        told = [(record.id, record.outcome) for record in self.history.records()]
        assert told == [(push.id, push.outcome) for push in (*self.running, *self.ended[: self.KEPT])]
        assert self.history.running == len(self.running)
        for outcome in PushOutcome:
            assert self.history.counts[outcome] == sum(push.outcome is outcome for push in self.ended)


TestPushMachine = PushMachine.TestCase
TestUploadMachine = UploadMachine.TestCase
TestUploadMachine.settings = settings(max_examples=50, stateful_step_count=20)  # each step moves megabytes
TestResumeStoreMachine = ResumeStoreMachine.TestCase
TestHistoryMachine = HistoryMachine.TestCase

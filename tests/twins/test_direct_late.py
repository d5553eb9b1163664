"""Threads that end after their push was left: what they still report about an upload is nobody's business any more."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from tests.support.blobs import MIB
from tests.support.direct_push import BIG_DIGEST, PATIENCE, REPOSITORY, TOTAL, Direct, settings, steps, stored
from tests.support.shared_client import Gate, shared_sync

from ollama_push.client._registry_arguments import RegistrySettings
from ollama_push.client._registry_factory import FlowFactory
from ollama_push.core.registry.effects import ClaimUpload, ForgetResumePoint, ReleaseUpload, SaveResumePoint
from ollama_push.core.registry.resume import InUseElsewhere, ResumePoint, UploadKey
from ollama_push.local import FileResumeStore
from ollama_push.testing.registry import EmbeddedRegistry

pytestmark = pytest.mark.slow

EARLY: Final = ResumePoint("http://registry:5000/early", 1)
LATE: Final = ResumePoint("http://registry:5000/late", 2)
NEW: Final = ResumePoint("http://registry:5000/new", 3)


def our_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ollama-push")]


def looks(registry: EmbeddedRegistry) -> int:
    return Counter(steps(registry))["HEAD blob"]


def test_an_answer_that_comes_after_leaving_does_not_disturb_the_next_push_of_the_blob(tmp_path: Path) -> None:
    """The transport cannot be hung up, so that leaving waits for its threads no longer than two seconds."""
    raw = stored(tmp_path)
    leave = threading.Event()
    first_part, second_part = Gate("PATCH"), Gate("PATCH", nth=2)
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        key = UploadKey(registry.url, REPOSITORY, BIG_DIGEST)
        with shared_sync(Direct(host=registry.host, home=tmp_path), first_part, second_part) as client:
            left = client.left(leave)
            assert first_part.reached.wait(PATIENCE)
            leave.set()
            left.result(PATIENCE)
            late = our_threads()
            assert late
            # The next one goes on with what is there.
            second = client.push()
            assert second_part.reached.wait(PATIENCE)
            (kept,) = (tmp_path / "uploads").glob("*.json")
            as_it_was = kept.read_bytes()
            first_part.opened.set()
            for thread in late:
                thread.join(PATIENCE)
                assert not thread.is_alive()
            assert kept.read_bytes() == as_it_was
            # It is somebody's: ours, of the second push.
            assert isinstance(FileResumeStore(tmp_path / "uploads").claim(key), InUseElsewhere)
            # Who gets a turn that another had looks for the blob once more. The third has to wait for it.
            assert looks(registry) == 3 + 4
            third = client.push()
            assert registry.wait_until(lambda: looks(registry) == 3 + 4 + 3, PATIENCE)
            assert not registry.wait_until(lambda: looks(registry) > 3 + 4 + 3, 0.2)
            second_part.opened.set()
            receipts = second.result(PATIENCE), third.result(PATIENCE)
        assert registry.manifest(REPOSITORY, "v1") == raw
        assert (registry.received_bytes, Counter(steps(registry))["POST open"]) == (TOTAL, 3)
    assert receipts[0].resumed_bytes == MIB
    assert receipts[1].sent_bytes == 0
    assert list((tmp_path / "uploads").glob("*.json")) == []


def test_a_job_that_was_left_says_nothing_more_about_an_upload(tmp_path: Path) -> None:
    stored(tmp_path)
    asked = Direct(host="registry:5000", home=tmp_path)
    ours = RegistrySettings(**settings(asked))
    (early, _), (new, _) = (FlowFactory(ours).push(asked.name, asked.source) for _ in range(2))
    key = UploadKey("http://registry:5000", REPOSITORY, BIG_DIGEST)

    def what_another_process_gets() -> ResumePoint | InUseElsewhere | None:
        other = FileResumeStore(tmp_path / "uploads")
        try:
            return other.claim(key)
        finally:
            other.release(key)

    assert early.perform(ClaimUpload(key)) is None
    early.perform(SaveResumePoint(key, EARLY))
    assert early.release_claims() == {key}
    assert early.release_claims() == set()
    assert new.perform(ClaimUpload(key)) == EARLY
    new.perform(SaveResumePoint(key, NEW))
    early.perform(SaveResumePoint(key, LATE))
    early.perform(ForgetResumePoint(key))
    assert early.perform(ReleaseUpload(key)) is False
    assert isinstance(what_another_process_gets(), InUseElsewhere)
    assert new.perform(ReleaseUpload(key)) is True
    assert what_another_process_gets() == NEW

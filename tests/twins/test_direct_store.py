"""A bad name, a bad store, a file that changes under way: refused as early as it can be known, nothing committed."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest
from tests.support.blobs import MIB, digest_of
from tests.support.direct_push import (
    BIG_DIGEST,
    PATIENCE,
    SMALL,
    SMALL_DIGEST,
    Colour,
    Direct,
    Saving,
    either_colour,
    steps,
    stored,
)
from tests.support.stores import CONFIG

from ollama_push.cli.exit_codes import exit_code
from ollama_push.core.errors import InvalidModelName, InvalidSetting, OllamaPushError, PushRejected, RejectionReason
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Quirks, Stall


def blob_file(home: Path, digest: str) -> Path:
    return home / "models" / "blobs" / digest.replace(":", "-")


def outcome_of(colour: Colour, asked: Direct) -> OllamaPushError | None:
    """Return what a push ends in, also where it is refused before there is anything to tell."""
    try:
        return colour(asked).error
    except OllamaPushError as exc:
        return exc


NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "an upper-case model": ("{host}/myuser/My-Llama:v1", "lower case"),
    "an upper-case namespace": ("{host}/MyUser/my-llama:v1", "lower case"),
    "a leading underscore": ("{host}/_myuser/my-llama:v1", "_myuser"),
    "two dots": ("{host}/myuser/my..llama:v1", "my..llama"),
    "a trailing dash": ("{host}/myuser/my-llama-:v1", "my-llama-"),
    "https in the name": ("https://{host}/myuser/my-llama:v1", "https"),
    "another scheme": ("ftp://{host}/myuser/my-llama:v1", "ftp"),
    "a blank": ("{host}/my user/my-llama:v1", "my user"),
    "a blank at the end": ("{host}/myuser/my-llama:v1 ", "v1 "),
    "nothing": ("", ""),
    "a digest": ("{host}/myuser/my-llama@sha256:00", ""),
}


@either_colour
@pytest.mark.parametrize("case", NAMES)
def test_a_name_that_no_registry_takes_is_refused_before_any_question(
    case: str, colour: Colour, tmp_path: Path
) -> None:
    name, words = NAMES[case]
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        asked = Direct(host=registry.host, home=tmp_path, spelled=name.format(host=registry.host))
        error = outcome_of(colour, asked)
        assert registry.requests == []
    assert isinstance(error, InvalidModelName)
    assert exit_code(error) == 3
    assert words in str(error)
    assert not (tmp_path / "uploads").exists()


@either_colour
def test_plain_http_is_not_chosen_by_a_name(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        asked = Direct(
            host=registry.host,
            home=tmp_path,
            plain_http=False,
            spelled=f"http://{registry.host}/myuser/my-llama:v1",
        )
        error = outcome_of(colour, asked)
        assert registry.requests == []
    assert isinstance(error, InvalidModelName)
    assert "plain_http=True" in str(error)


def no_store(home: Path) -> None:
    (home / "models" / "blobs").rename(home / "elsewhere")
    (home / "models" / "manifests").rename(home / "somewhere")


def no_folder(home: Path) -> None:
    (home / "models").rename(home / "elsewhere")


def no_model(home: Path) -> None:
    manifest_file(home).unlink()


def manifest_file(home: Path) -> Path:
    return home / "models" / "manifests" / "registry.ollama.ai" / "library" / "my-llama" / "latest"


def truncated(home: Path) -> None:
    file = manifest_file(home)
    file.write_bytes(file.read_bytes()[:-20])


def empty(home: Path) -> None:
    manifest_file(home).write_bytes(b"")


def missing(home: Path) -> None:
    blob_file(home, SMALL_DIGEST).unlink()


def short(home: Path) -> None:
    blob_file(home, SMALL_DIGEST).write_bytes(SMALL[:-1])


def long(home: Path) -> None:
    blob_file(home, SMALL_DIGEST).write_bytes(SMALL + b"x")


def a_folder(home: Path) -> None:
    blob_file(home, SMALL_DIGEST).unlink()
    blob_file(home, SMALL_DIGEST).mkdir()


def outside(home: Path) -> None:
    (home / "secret").write_bytes(SMALL)
    blob_file(home, SMALL_DIGEST).unlink()
    blob_file(home, SMALL_DIGEST).symlink_to(home / "secret")


def odd_digest(home: Path) -> None:
    raw = manifest_file(home).read_bytes()
    manifest_file(home).write_bytes(raw.replace(SMALL_DIGEST.encode(), b"sha256:../../../secret"))


Damage = Callable[[Path], None]

DAMAGES: Final[Mapping[str, tuple[Damage, type[OllamaPushError], RejectionReason | None, str]]] = {
    "no store": (no_store, InvalidSetting, None, "this is no model store"),
    "no folder": (no_folder, InvalidSetting, None, "there is no such folder"),
    "no such model": (no_model, PushRejected, RejectionReason.MODEL_NOT_FOUND, "my-llama"),
    "truncated manifest": (truncated, PushRejected, RejectionReason.STORE_DAMAGED, "cannot be read"),
    "empty manifest": (empty, PushRejected, RejectionReason.STORE_DAMAGED, "cannot be read"),
    "missing blob": (missing, PushRejected, RejectionReason.STORE_DAMAGED, "is missing"),
    "short blob": (short, PushRejected, RejectionReason.STORE_DAMAGED, "299999 bytes"),
    "long blob": (long, PushRejected, RejectionReason.STORE_DAMAGED, "300001 bytes"),
    "a folder for a blob": (a_folder, PushRejected, RejectionReason.STORE_DAMAGED, "no regular file"),
    "a blob outside the store": (outside, PushRejected, RejectionReason.STORE_DAMAGED, "out of the store"),
    "a path for a digest": (odd_digest, PushRejected, RejectionReason.STORE_DAMAGED, "cannot be read"),
}


@either_colour
@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_store_is_refused_before_any_question(case: str, colour: Colour, tmp_path: Path) -> None:
    damage, kind, reason, words = DAMAGES[case]
    stored(tmp_path)
    damage(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        error = outcome_of(colour, Direct(host=registry.host, home=tmp_path))
        assert registry.requests == []
    assert isinstance(error, kind)
    assert (error.reason if isinstance(error, PushRejected) else None) is reason
    assert words in str(error)


def grow(file: Path) -> None:
    with file.open("ab") as more:
        more.write(b"more")


def shrink(file: Path) -> None:
    os.truncate(file, file.stat().st_size - MIB // 8)


def overwrite(file: Path) -> None:
    with file.open("r+b") as other:
        other.write(b"other")
    state = file.stat()
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000_000))


def replace(file: Path) -> None:
    newer = file.with_name("newer")
    newer.write_bytes(bytes(file.stat().st_size))
    newer.replace(file)


def vanish(file: Path) -> None:
    file.unlink()


CHANGES: Final = (grow, shrink, overwrite, replace, vanish)


@either_colour
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_file_that_changes_between_parts_is_not_committed(
    change: Callable[[Path], None], colour: Colour, tmp_path: Path
) -> None:
    stored(tmp_path)
    file = blob_file(tmp_path, BIG_DIGEST)
    resume = Saving(tmp_path, lambda offset: change(file) if offset == MIB else None)
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, resume=resume))
        assert registry.received_bytes == MIB
        assert (registry.blob(BIG_DIGEST), registry.manifest("myuser/my-llama", "v1")) == (None, None)
        assert Counter(steps(registry))["PUT commit"] == 0
    assert isinstance(told.error, PushRejected)
    assert told.error.reason is RejectionReason.STORE_DAMAGED
    assert str(file) in told.error.message


@either_colour
@pytest.mark.parametrize("change", CHANGES[:3], ids=lambda change: change.__name__)
@pytest.mark.parametrize("whole", [False, True], ids=["in a part", "sent whole"])
def test_a_file_that_changes_within_a_request_is_not_committed(
    whole: bool,  # noqa: FBT001 - a row's column
    change: Callable[[Path], None],
    colour: Colour,
    tmp_path: Path,
) -> None:
    """The registry stops reading in the middle, and goes on once the file is another."""
    big = bytes(16 * MIB)  # more than sockets buffer: the rest is still to be read from the file
    digest = digest_of(big)
    stored(tmp_path, big)
    file = blob_file(tmp_path, digest)
    fault = Fault("PUT" if whole else "PATCH", "/uploads/", after_bytes=1000, action=Stall(0.5))
    with EmbeddedRegistry(tmp_path / "registry", quirks=Quirks(monolithic_only=whole), faults=[fault]) as registry:

        def change_in_the_middle() -> None:
            assert registry.wait_until(lambda: registry.received_bytes >= 1000, PATIENCE)
            change(file)

        changing = threading.Thread(target=change_in_the_middle)
        changing.start()
        told = colour(Direct(host=registry.host, home=tmp_path, part_bytes=len(big)))
        changing.join()
        assert (registry.blob(digest), registry.manifest("myuser/my-llama", "v1")) == (None, None)
    assert isinstance(told.error, PushRejected)
    assert told.error.reason is RejectionReason.STORE_DAMAGED
    assert str(file) in told.error.message


@either_colour
def test_an_empty_blob_and_a_blob_named_twice_are_sent_once(colour: Colour, tmp_path: Path) -> None:
    raw = stored(tmp_path, SMALL, b"", SMALL, b"")
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, concurrency=4))
        assert told.error is None
        assert registry.manifest("myuser/my-llama", "v1") == raw
        assert (registry.blob(digest_of(b"")), registry.blob(SMALL_DIGEST)) == (b"", SMALL)
        counted = Counter(steps(registry))
        assert (counted["POST open"], counted["PUT commit"], counted["PATCH session"]) == (3, 3, 0)
        assert registry.received_bytes == len(SMALL) + len(CONFIG)
    assert told.receipt is not None
    assert [layer.total_bytes for layer in told.receipt.layers] == [len(SMALL), 0, len(CONFIG)]
    assert told.receipt.total_bytes == told.receipt.sent_bytes == len(SMALL) + len(CONFIG)

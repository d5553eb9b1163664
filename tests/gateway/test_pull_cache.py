"""The cache of pulled blobs: fetched once, checked, bounded, and no way around the registry's no."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.blob_peer import BlobPeer, blob_peer
from tests.support.blobs import digest_of, noise
from tests.support.gateway import Gateway, settings_for, store_of
from tests.support.gateway_process import wait_until
from tests.support.gateway_pulls import BLOB, DIGEST, KEY, ME, NAME, Pulling, as_basic, pulling
from tests.support.stock_pull import StockPull
from tests.support.stores import CONFIG

from ollama_push import Login
from ollama_push.core.errors import InvalidSetting
from ollama_push.gateway.pull.cache import BlobCache
from ollama_push.testing.registry import BasicAuth, Fault, Reply

BLOB_PATH = f"/v2/{NAME}/blobs/{DIGEST}"
_USERS = {ME.username: ME.password}
_ANYBODY = as_basic(Login("x", "y"))


def reads(place: Pulling, digest: str = DIGEST) -> int:
    """How often the registry was asked to send a blob."""
    return sum(seen.method == "GET" and digest in seen.path for seen in place.registry.requests)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def place(tmp_path: Path, folder: Path) -> Iterator[Pulling]:
    with pulling(tmp_path, cache=folder) as made:
        yield made


@pytest.mark.slow
def test_fifty_pulls_at_once_read_each_blob_once(tmp_path: Path, place: Pulling) -> None:
    before = reads(place)

    def pull(number: int) -> bytes:
        return StockPull(tmp_path / f"pulled{number}", least_part=1_000_000).pull(place.host, NAME)

    with ThreadPoolExecutor(50) as threads:
        assert set(threads.map(pull, range(50))) == {place.manifest}
    assert {
        digest_of((tmp_path / f"pulled{n}" / "blobs" / DIGEST.replace(":", "-")).read_bytes()) for n in range(50)
    } == {DIGEST}
    assert reads(place) - before == 1
    assert reads(place, digest_of(CONFIG)) == 2  # the push has read it back
    text = place.get("/metrics").body.decode()
    assert 'ollama_push_pulled_bytes_total{source="registry"}' not in text


def test_what_was_pulled_once_survives_the_gateway(tmp_path: Path, folder: Path) -> None:
    with pulling(tmp_path, cache=folder) as place:
        assert place.get(place.direct()).body == BLOB
        before = reads(place)
        place.gateway.stop()
        settings = settings_for(
            store_of(tmp_path), default_registry=place.registry.host, plain_http=True, pull_key=KEY, cache=folder
        )
        with Gateway(settings) as again:
            found = again.send("GET", BLOB_PATH, headers={**_ANYBODY, "Range": "bytes=-7"})
        assert (found.status, found.body) == (206, BLOB[-7:])
        assert reads(place) == before


@pytest.mark.parametrize("damage", ["a byte", "longer", "shorter", "another file", "a link", "gone"])
def test_a_file_that_was_tampered_with_is_fetched_again(
    damage: str, place: Pulling, folder: Path, tmp_path: Path
) -> None:
    assert place.get(place.direct()).body == BLOB
    before = reads(place)
    path = folder / DIGEST.replace(":", "-")
    state = path.stat()
    match damage:
        case "a byte":
            with path.open("r+b") as file:
                file.seek(1_000_000)
                file.write(bytes([BLOB[1_000_000] ^ 1]))
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # as if nothing had happened
        case "longer":
            path.write_bytes(BLOB + b"x")
        case "shorter":
            path.write_bytes(BLOB[:-1])
        case "another file":
            path.unlink()
            path.write_bytes(b"something else")
        case "a link":
            (tmp_path / "elsewhere").write_bytes(BLOB)
            path.unlink()
            path.symlink_to(tmp_path / "elsewhere")
        case _:
            path.unlink()
    assert place.get(place.direct()).body == BLOB
    assert reads(place) - before == 1
    assert path.read_bytes() == BLOB
    assert not path.is_symlink()


def test_what_the_registry_sends_wrong_is_neither_complete_nor_kept(tmp_path: Path, folder: Path) -> None:
    peer = BlobPeer(noise(3_000_000, 3))
    digest = peer.digest
    with blob_peer(peer):
        peer.blob = peer.blob[:-1] + b"x"
        settings = settings_for(
            store_of(tmp_path), default_registry=peer.host, plain_http=True, pull_key=KEY, cache=folder
        )
        with Gateway(settings) as gateway, pytest.raises(ConnectionResetError):
            gateway.send("GET", f"/v2/{NAME}/blobs/{digest}", headers=_ANYBODY)
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_a_blob_of_somebody_else_is_not_given_away(tmp_path: Path, folder: Path) -> None:
    with pulling(tmp_path, auth=BasicAuth(_USERS), cache=folder) as place:
        assert place.get(BLOB_PATH, headers=as_basic(ME)).body == BLOB
        for headers in ({}, as_basic(Login("ann", "wr0ng"))):
            assert place.get(BLOB_PATH, headers=headers).status == 401


def test_what_nobody_reads_any_more_is_not_fetched(tmp_path: Path, folder: Path) -> None:
    with blob_peer(BlobPeer(noise(500_000, 3), holds=True)) as peer:
        settings = settings_for(
            store_of(tmp_path), default_registry=peer.host, plain_http=True, pull_key=KEY, cache=folder
        )
        with Gateway(settings) as gateway:
            shown = _ANYBODY["Authorization"]
            asking = f"GET /v2/{NAME}/blobs/{peer.digest} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {shown}\r\n\r\n"
            with gateway.connect() as first, gateway.connect() as second:
                first.sendall(asking.encode())
                second.sendall(asking.encode())
                assert peer.sending.wait(20.0)
                for client in (first, second):
                    assert client.recv(100).startswith(b"HTTP/1.1 200 ")
                first.close()
                assert wait_until(lambda: b"pulls_in_progress 1.0" in gateway.send("GET", "/metrics").body)
                assert not peer.gone.is_set()
            assert peer.gone.wait(20.0)
            assert len(peer.ranges) == 1
            assert wait_until(lambda: [path.name for path in folder.iterdir()] == ["lock"])


def test_the_cache_keeps_to_its_size_and_forgets_what_was_not_read_for_longest(tmp_path: Path, folder: Path) -> None:
    blobs = [noise(1_000_000, seed) for seed in range(3)]
    with pulling(tmp_path, cache=folder, layers=tuple(blobs), cache_bytes=2_100_000) as place:
        for number in (0, 1, 0, 2):
            assert place.get(place.direct(digest_of(blobs[number]))).body == blobs[number]
        kept = {path.name for path in folder.iterdir()} - {"lock"}
        assert kept == {digest_of(blobs[number]).replace(":", "-") for number in (0, 2)}


def test_what_is_larger_than_the_cache_is_sent_past_it(tmp_path: Path, folder: Path) -> None:
    with pulling(tmp_path, cache=folder, cache_bytes=1_000_000) as place:
        assert place.get(place.direct(), headers={"Range": "bytes=5-9"}).body == BLOB[5:10]
        assert place.get(place.direct()).body == BLOB
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_a_folder_that_is_lost_is_done_without(place: Pulling, folder: Path) -> None:
    shutil.rmtree(folder)
    assert place.get(place.direct()).body == BLOB
    assert place.get(place.direct()).body == BLOB
    assert not folder.exists()


def test_a_registry_that_fails_is_told_and_asked_again(place: Pulling) -> None:
    place.registry.add_fault(Fault("GET", DIGEST, action=Reply(500)))
    assert place.get(place.direct()).status == 502
    assert place.get(place.direct()).body == BLOB


def test_two_gateways_do_not_share_a_folder(tmp_path: Path, folder: Path) -> None:
    with pulling(tmp_path, cache=folder), pytest.raises(InvalidSetting, match="another gateway uses it"):
        BlobCache(folder, 1).open()
    BlobCache(folder, 1).open()


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for place in (tmp_path / "open", Path("/dev/null/x")):
        with pytest.raises(InvalidSetting, match="it cannot be used"):
            BlobCache(place, 1).open()


def test_what_a_killed_gateway_left_is_removed(tmp_path: Path, folder: Path) -> None:
    folder.mkdir(0o700)
    left, other = folder / f".sha256-{'ab' * 32}.3.part", folder / "notes.txt"
    left.write_bytes(b"x")
    other.write_bytes(b"x")
    with pulling(tmp_path, cache=folder) as place:
        assert not left.exists()
        assert other.exists()
        assert place.get(place.direct()).body == BLOB

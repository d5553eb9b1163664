"""The store in Redis: leases, fences, problems with a word each, and what it keeps from whom."""

from __future__ import annotations

import logging
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import attrs
import pytest
import redis
import trustme
from tests.faults.link import FaultyLink
from tests.faults.plans import Damage, WireFault
from tests.support.clocks import Clock
from tests.support.redis_server import RedisServer, needs_redis

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.registry.resume import FinishedElsewhere, InUseElsewhere, ResumePoint, UploadKey
from ollama_push.fleet import RedisPushes, RedisResumeStore
from ollama_push.fleet.connection import PASSWORD_VARIABLE

pytestmark = [pytest.mark.process, needs_redis]

_KEY: Final = UploadKey("https://registry.example.com", "team/my-llama", "sha256:" + "a" * 64)
_SAVED: Final = ResumePoint("https://registry.example.com/v2/team/my-llama/blobs/uploads/1?_state=s3cret", 1 << 40)
_PASSWORD: Final = "correct-horse"
_PATIENCE_SECONDS: Final = 30.0
_LONG_SECONDS: Final = 3600.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    shared.client().flushall()
    return shared


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


def _until(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds; the threads of a store cannot tell us."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        threading.Event().wait(0.01)


def _require_held_until_released(holder: RedisResumeStore, other: RedisResumeStore) -> None:
    """Whoever comes next finds what was saved, and not before *holder* releases it."""
    assert holder.holds(_KEY)
    assert isinstance(other.claim(_KEY), InUseElsewhere)
    holder.release(_KEY)
    assert other.claim(_KEY) == _SAVED
    other.release(_KEY)


def test_a_claim_outlives_its_lease_while_the_holder_lives(server: RedisServer) -> None:
    holder, other = RedisResumeStore(server.url, lease_seconds=2.0), RedisResumeStore(server.url)
    assert holder.claim(_KEY) is None
    holder.save(_KEY, _SAVED)
    over = time.monotonic() + 2.5
    _until(lambda: time.monotonic() > over)
    assert isinstance(other.claim(_KEY), InUseElsewhere)
    assert holder.holds(_KEY)
    holder.release(_KEY)
    assert other.claim(_KEY) == _SAVED
    other.release(_KEY)


def test_the_lease_of_a_holder_that_is_gone_ends(server: RedisServer) -> None:
    holder, other = RedisResumeStore(server.url, lease_seconds=0.2), RedisResumeStore(server.url)
    holder.claim(_KEY)
    holder.save(_KEY, _SAVED)
    holder.close()
    _until(lambda: not isinstance(other.claim(_KEY), InUseElsewhere))
    assert other.holds(_KEY)
    assert not holder.holds(_KEY)
    other.release(_KEY)


def test_a_holder_that_was_stopped_holds_nothing_until_the_server_has_said_so(server: RedisServer) -> None:
    clock = Clock()
    holder = RedisResumeStore(server.url, lease_seconds=_LONG_SECONDS, clock=clock)
    holder.claim(_KEY)
    assert holder.holds(_KEY)
    clock.now += 0.9 * _LONG_SECONDS
    assert not holder.holds(_KEY), "somebody else may have it by now"
    holder.save(_KEY, _SAVED)
    assert holder.holds(_KEY), "nobody had it"
    holder.release(_KEY)


def test_a_late_holder_changes_nothing(server: RedisServer) -> None:
    """Its lease has ended, and another one has had the upload: whether or not that one still has it."""
    late, next_one = RedisResumeStore(server.url), RedisResumeStore(server.url)
    assert late.claim(_KEY) is None
    late.save(_KEY, attrs.evolve(_SAVED, offset=1))
    lease = f"ollama-push:{{{_KEY.id}}}:lease"
    server.client().delete(lease)
    assert next_one.claim(_KEY) == attrs.evolve(_SAVED, offset=1)
    next_one.save(_KEY, _SAVED)
    late.save(_KEY, attrs.evolve(_SAVED, offset=2))
    assert not late.holds(_KEY)
    late.forget(_KEY)
    late.release(_KEY)
    assert next_one.holds(_KEY)
    next_one.release(_KEY)
    assert next_one.claim(_KEY) == _SAVED
    next_one.release(_KEY)
    late.save(_KEY, attrs.evolve(_SAVED, offset=3))
    assert next_one.claim(_KEY) == _SAVED
    next_one.release(_KEY)


def test_a_late_holder_does_not_take_what_another_one_has_given_back(server: RedisServer) -> None:
    late, next_one = RedisResumeStore(server.url), RedisResumeStore(server.url)
    late.claim(_KEY)
    server.client().delete(f"ollama-push:{{{_KEY.id}}}:lease")
    next_one.claim(_KEY)
    next_one.save(_KEY, _SAVED)
    next_one.release(_KEY)
    late.save(_KEY, attrs.evolve(_SAVED, offset=2))
    assert not late.holds(_KEY)
    assert next_one.claim(_KEY) == _SAVED
    late.release(_KEY)
    next_one.release(_KEY)


def test_a_lease_that_ended_and_that_nobody_has_had_since_is_taken_again(server: RedisServer) -> None:
    holder, other = RedisResumeStore(server.url), RedisResumeStore(server.url)
    holder.claim(_KEY)
    server.client().delete(f"ollama-push:{{{_KEY.id}}}:lease")
    holder.save(_KEY, _SAVED)
    assert holder.holds(_KEY)
    assert isinstance(other.claim(_KEY), InUseElsewhere)
    holder.release(_KEY)


def test_a_server_that_has_lost_everything_is_told_again(server: RedisServer) -> None:
    holder, other = RedisResumeStore(server.url, lease_seconds=3.0), RedisResumeStore(server.url)
    holder.claim(_KEY)
    holder.save(_KEY, _SAVED)
    server.client().flushall()
    _until(lambda: server.client().dbsize() == 2)
    _require_held_until_released(holder, other)


def test_a_failover_that_loses_the_last_writes_gives_the_upload_to_one(server: RedisServer) -> None:
    """The number of a claim comes twice then: who it belongs to is a part of it."""
    first, second = RedisResumeStore(server.url), RedisResumeStore(server.url)
    client = redis.Redis(host="127.0.0.1", port=server.port)
    first.claim(_KEY)
    first.release(_KEY)
    upload = f"ollama-push:{{{_KEY.id}}}:upload"
    before = client.dump(upload) or b""
    first.claim(_KEY)
    first.save(_KEY, attrs.evolve(_SAVED, offset=1))
    # The replica that takes over never heard of that claim.
    client.flushall()
    client.restore(upload, 0, before)
    assert not isinstance(second.claim(_KEY), InUseElsewhere)
    second.save(_KEY, _SAVED)
    first.save(_KEY, attrs.evolve(_SAVED, offset=2))
    assert second.holds(_KEY)
    assert not first.holds(_KEY)
    first.forget(_KEY)
    first.release(_KEY)
    second.release(_KEY)
    assert first.claim(_KEY) == _SAVED
    first.release(_KEY)


@pytest.mark.parametrize("evicted", [["lease"], ["upload"], ["lease", "upload"]], ids=str)
def test_keys_that_the_server_evicts_in_mid_push_are_kept_again(evicted: list[str], server: RedisServer) -> None:
    holder, other = RedisResumeStore(server.url), RedisResumeStore(server.url)
    holder.claim(_KEY)
    holder.save(_KEY, attrs.evolve(_SAVED, offset=1))
    server.client().delete(*(f"ollama-push:{{{_KEY.id}}}:{kind}" for kind in evicted))
    holder.save(_KEY, _SAVED)
    _require_held_until_released(holder, other)


def test_the_upload_of_who_lost_an_evicted_lease_is_the_next_one_s(server: RedisServer) -> None:
    """Its hash has gone, too: the numbers of claims begin at one again, and the first holder has that number."""
    first, second = RedisResumeStore(server.url), RedisResumeStore(server.url)
    first.claim(_KEY)
    first.save(_KEY, attrs.evolve(_SAVED, offset=1))
    server.client().flushall()
    assert second.claim(_KEY) is None
    second.save(_KEY, _SAVED)
    first.save(_KEY, attrs.evolve(_SAVED, offset=2))
    assert not first.holds(_KEY)
    first.release(_KEY)
    second.release(_KEY)
    assert first.claim(_KEY) == _SAVED
    first.release(_KEY)


def test_what_another_machine_has_finished_is_told_once_it_is_claimed(server: RedisServer) -> None:
    first, second = RedisResumeStore(server.url), RedisResumeStore(server.url)
    first.claim(_KEY)
    first.save(_KEY, _SAVED)
    first.forget(_KEY)
    first.release(_KEY)
    assert first.claim(_KEY) is None, "it knows that itself"
    first.release(_KEY)
    assert second.claim(_KEY) == FinishedElsewhere()
    second.release(_KEY)


def test_one_store_claims_a_key_once(server: RedisServer) -> None:
    store = RedisResumeStore(server.url)
    store.claim(_KEY)
    assert isinstance(store.claim(_KEY), InUseElsewhere)
    store.release(_KEY)
    assert store.claim(_KEY) is None
    store.release(_KEY)


def test_a_claim_whose_response_was_lost_is_in_nobodys_way(server: RedisServer) -> None:
    """Found by the fault laboratory: the library asks again, and the push waited for the end of its own lease."""
    store = RedisResumeStore(server.url, lease_seconds=_LONG_SECONDS)
    store.claim(_KEY)
    store.save(_KEY, _SAVED)
    lease = next(key for key in server.client().keys("*:lease"))
    held = server.client().get(lease)
    store.release(_KEY)
    # As the server has it when the connection breaks behind a claim, before its response has come.
    server.client().set(lease, str(held), px=round(_LONG_SECONDS * 1000))
    assert isinstance(RedisResumeStore(server.url).claim(_KEY), InUseElsewhere)
    assert store.claim(_KEY) == _SAVED
    assert store.holds(_KEY)
    assert server.client().get(lease) != held
    store.release(_KEY)
    assert not server.client().exists(lease)


@pytest.mark.parametrize(
    ("field", "value"), [("offset", "1x"), ("offset", "-1"), ("parts", "[1]"), ("parts", "["), ("offset", "")]
)
def test_a_point_that_was_damaged_on_its_way_to_the_server_is_none(field: str, value: str, server: RedisServer) -> None:
    """Found by the fault laboratory."""
    store = RedisResumeStore(server.url)
    store.claim(_KEY)
    store.save(_KEY, _SAVED)
    store.release(_KEY)
    server.client().hset(f"ollama-push:{{{_KEY.id}}}:upload", field, value)
    assert store.claim(_KEY) is None
    store.save(_KEY, _SAVED)
    store.release(_KEY)
    assert store.claim(_KEY) == _SAVED
    store.release(_KEY)


@pytest.mark.parametrize("after", range(0, 800, 40))
@pytest.mark.parametrize("mask", [0x10, 0x80])
def test_damaged_responses_fail_nothing(after: int, mask: int, server: RedisServer) -> None:
    """Found by the fault laboratory: the library raised ValueError, and the push failed."""
    faults = [WireFault(Damage.FLIP, 1, upstream=False, after=after, mask=mask, count=8)]
    with FaultyLink([f"127.0.0.1:{server.port}"], faults) as link:
        store = RedisResumeStore(f"redis://{link.host}", timeout=0.1, pause=0.01)
        pushes = RedisPushes(f"redis://{link.host}", timeout=0.1, pause=0.01)
        store.claim(_KEY)
        store.save(_KEY, _SAVED)
        store.release(_KEY)
        pushes.admit(1, 10)
        pushes.exchange("{}")
        pushes.leave(1)
        pushes.close()
        store.close()


def test_no_key_stays_for_ever(server: RedisServer) -> None:
    store = RedisResumeStore(server.url, max_age_seconds=60.0)
    store.claim(_KEY)
    store.save(_KEY, _SAVED)
    client = server.client()
    lives = {key.rpartition(":")[2]: client.pttl(key) for key in map(str, client.scan_iter())}
    assert 0 < lives["lease"] <= 15_000
    assert 15_000 < lives["upload"] <= 60_000
    store.release(_KEY)
    assert client.dbsize() == 1


def test_prefixes_keep_fleets_apart(server: RedisServer) -> None:
    ours, theirs = RedisResumeStore(server.url), RedisResumeStore(server.url, prefix="theirs")
    ours.claim(_KEY)
    ours.save(_KEY, _SAVED)
    assert theirs.claim(_KEY) is None
    ours.release(_KEY)
    theirs.release(_KEY)


def test_names_of_keys_say_nothing(server: RedisServer) -> None:
    store = RedisResumeStore(server.url)
    store.claim(_KEY)
    assert "my-llama" not in str(list(server.client().scan_iter()))
    store.release(_KEY)


def test_a_forked_child_leaves_the_claims_of_its_parent_alone(server: RedisServer) -> None:
    store, other = RedisResumeStore(server.url), RedisResumeStore(server.url)
    store.claim(_KEY)
    store.save(_KEY, _SAVED)
    child = os.fork()
    if child == 0:
        # What a client does that was cancelled; nothing of pytest may run here.
        try:
            store.save(_KEY, attrs.evolve(_SAVED, offset=1))
            store.forget(_KEY)
            store.release(_KEY)
            os._exit(0 if isinstance(store.claim(_KEY), InUseElsewhere) and not store.holds(_KEY) else 1)
        except BaseException:  # noqa: BLE001 - it ends here
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    _require_held_until_released(store, other)


def test_a_store_travels_to_other_processes(server: RedisServer) -> None:
    store = RedisResumeStore(server.url)
    store.claim(_KEY)
    store.save(_KEY, _SAVED)
    copy = pickle.loads(pickle.dumps(store))
    assert isinstance(copy.claim(_KEY), InUseElsewhere), "a process of its own"
    store.release(_KEY)
    assert copy.claim(_KEY) == _SAVED
    copy.release(_KEY)


@pytest.mark.parametrize(
    ("make_unusable", "words"),
    [
        (lambda server: server.kill(), "it cannot be reached"),
        (lambda server: server.stop(), "it does not respond in time"),
        (lambda server: server.client().config_set("maxmemory", "1"), "it has no room left (maxmemory)"),
        (
            lambda server: server.client().config_set("requirepass", _PASSWORD),
            "it does not accept the user name or password",
        ),
        (
            lambda server: server.client().execute_command("ACL", "SETUSER", "default", "-eval", "-evalsha"),
            "its user may not run the commands that are needed",
        ),
        (lambda server: server.client().replicaof("127.0.0.1", "1"), "it is a read-only replica"),
        (
            lambda server: server.client().hset(f"ollama-push:{{{_KEY.id}}}:upload", "version", "2"),
            "it holds keys of another version of ollama-push",
        ),
        (
            lambda server: server.client().set(f"ollama-push:{{{_KEY.id}}}:upload", "of another program"),
            "it holds keys of another version of ollama-push",
        ),
    ],
    ids=["away", "slow", "full", "password", "permission", "replica", "version", "type"],
)
def test_a_server_that_cannot_be_used_fails_nothing_and_is_reported_once(
    make_unusable: Callable[[RedisServer], object], words: str, own: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisResumeStore(own.url, timeout=0.5)
    make_unusable(own)
    for _ in range(3):
        assert store.claim(_KEY) is None
        assert store.holds(_KEY), "the push sends without it"
        store.save(_KEY, _SAVED)
        store.forget(_KEY)
        store.release(_KEY)
    said = f"unfinished uploads are not kept in {own.url}: {words}; the push goes on"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [said]


def test_keys_of_another_version_stay_as_they_are(server: RedisServer) -> None:
    name = f"ollama-push:{{{_KEY.id}}}:upload"
    server.client().hset(name, mapping={"version": "2", "location": "elsewhere"})
    store = RedisResumeStore(server.url)
    store.claim(_KEY)
    store.save(_KEY, _SAVED)
    store.release(_KEY)
    assert server.client().hgetall(name) == {"version": "2", "location": "elsewhere"}
    assert server.client().dbsize() == 1


def test_a_server_that_fails_is_left_alone_for_a_while(own: RedisServer) -> None:
    store = RedisResumeStore(own.url, timeout=0.5, pause=_LONG_SECONDS)
    own.stop()
    began = time.monotonic()
    for _ in range(20):
        store.claim(_KEY)
        store.release(_KEY)
    assert time.monotonic() - began < 8.0, "20 claims would wait for 10 s"


def test_a_server_that_is_back_is_used_again(own: RedisServer) -> None:
    store = RedisResumeStore(own.url, pause=0.01)
    own.kill()
    assert store.claim(_KEY) is None
    store.release(_KEY)
    own.start()

    def claimed() -> bool:
        store.claim(_KEY)
        store.save(_KEY, _SAVED)
        store.release(_KEY)
        return own.client().dbsize() == 1

    _until(claimed)


def test_a_claim_is_not_lost_with_the_server(own: RedisServer) -> None:
    """While we run, nobody can have taken the upload but from a server that nobody reaches."""
    store = RedisResumeStore(own.url, lease_seconds=2.0, pause=0.01)
    store.claim(_KEY)
    own.kill()
    over = time.monotonic() + 2.5
    _until(lambda: time.monotonic() > over)
    assert store.holds(_KEY)
    store.release(_KEY)


def test_a_holder_that_was_stopped_and_finds_no_server_has_lost_its_claim(own: RedisServer) -> None:
    clock = Clock()
    store = RedisResumeStore(own.url, lease_seconds=_LONG_SECONDS, clock=clock)
    store.claim(_KEY)
    own.kill()
    clock.now += _LONG_SECONDS
    store.save(_KEY, _SAVED)
    assert not store.holds(_KEY)
    store.release(_KEY)


def test_the_problem_is_told_to_who_asks_and_not_logged_again(
    own: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisResumeStore(own.url)
    assert store.problem() is None
    assert own.client().dbsize() == 0, "it leaves nothing behind"
    own.kill()
    assert store.problem() == "it cannot be reached"
    store.claim(_KEY)
    assert caplog.records == []


@pytest.mark.parametrize("login", [f":{_PASSWORD}@", f"ann:{_PASSWORD}@", "ann@", "@"])
def test_a_password_comes_from_the_url_or_the_environment_and_is_not_shown(
    login: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if _PASSWORD not in login:
        monkeypatch.setenv(PASSWORD_VARIABLE, _PASSWORD)
    with RedisServer(tmp_path / "redis", login=login) as server:
        client = server.client()
        client.acl_setuser("ann", enabled=True, passwords=[f"+{_PASSWORD}"], keys=["*"], commands=["+@all"])
        client.config_set("requirepass", _PASSWORD)
        store = RedisResumeStore(server.url)
        assert store.problem() is None
    store.claim(_KEY)
    assert _PASSWORD not in repr(store) + store.place + caplog.text
    assert len(caplog.records) == 1


def test_a_password_may_be_given(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis", {"requirepass": _PASSWORD}) as server:
        assert RedisResumeStore(server.url, password=_PASSWORD).problem() is None


def test_tls_needs_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    key, chain, trusted = tmp_path / "key.pem", tmp_path / "chain.pem", tmp_path / "ca.pem"
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(chain)
    authority.cert_pem.write_to_path(trusted)
    settings = {"tls-cert-file": str(chain), "tls-key-file": str(key), "tls-auth-clients": "no"}
    with RedisServer(tmp_path / "redis", settings, scheme="rediss") as server:
        assert RedisResumeStore(f"{server.url}?ssl_ca_certs={trusted}").problem() is None
        untrusted = RedisResumeStore(server.url)
        assert untrusted.problem() == "the TLS handshake with it failed; is its certificate trusted?"
        plain = RedisResumeStore(server.url.replace("rediss", "redis"), timeout=0.5)
        assert plain.problem() is not None


@pytest.mark.parametrize("scheme", ["valkey", "redis"])
def test_valkey_is_a_redis(scheme: str, server: RedisServer) -> None:
    assert RedisResumeStore(server.url.replace("redis", scheme, 1)).problem() is None


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://h", "expected redis://host"),
        ("h:6379", "expected redis://host"),
        ("redis://:pw@h:1x", "expected redis://host"),
        ("rediss://:pw@h?ssl_cert_reqs=none", "its query may not say 'ssl_cert_reqs'"),
        ("redis://:pw@h?password=pw", "its query may not say 'password'"),
        ("redis://:pw@h/0?db=x", "it cannot be used as a URL of Redis"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_secrets(url: str, problem: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        RedisResumeStore(url)
    assert problem in str(caught.value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "1"])
def test_a_number_of_seconds_that_cannot_be_used_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidSetting, match="lease_seconds="):
        RedisResumeStore("redis://h", lease_seconds=seconds)
    with pytest.raises(InvalidSetting, match="max_age_seconds="):
        RedisResumeStore("redis://h", max_age_seconds=seconds)

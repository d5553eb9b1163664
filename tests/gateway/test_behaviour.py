"""What clients do to a gateway, and what it does then: coming in numbers, with secrets, at the end."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
from tests.support.blobs import MIB, digest_of
from tests.support.gateway import PATIENCE, Gateway, lines_of, parse, request_of, settings_for, store_of
from tests.support.gateway_requests import BIG, order_for, stalling, start

from ollama_push.core.errors import OllamaPushError
from ollama_push.core.facts import RejectionReason
from ollama_push.core.messages import Messages
from ollama_push.core.observations import PushOutcome
from ollama_push.core.server.reasons import reason_for
from ollama_push.gateway.messages import INTERNAL_ERROR
from ollama_push.local import FileResumeStore, ModelStore
from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry, Fault, Reply

PASSWORD = "correct horse battery staple"


def test_a_layer_that_does_not_move_is_told_of_all_the_same(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry", faults=[stalling(0.5)]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(BIG, b"a template"))
        with Gateway(settings_for(store)) as gateway:
            lines = gateway.push(order_for(registry)).lines
    weights = [line for line in lines if line.get("digest") == digest_of(BIG)]
    assert 4 <= len(weights) <= 20
    assert any(before == after for before, after in pairwise(weights))
    assert weights[-1]["completed"] == weights[-1]["total"] == len(BIG)
    # Strictly one layer after the other.
    assert lines[1 : 1 + len(weights)] == weights


def test_a_push_knows_whether_a_stock_pull_gets_it(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        with Gateway(settings_for(store)) as gateway:
            gateway.push(order_for(registry))
            [record] = gateway.records()
            page = gateway.send("GET", "/ui").body
    assert record.pullability is not None
    assert [each.problem.value for each in record.pullability.obstacles] == ["plain-http", "no-redirect"]
    assert b"; pull through this gateway" in page


@pytest.mark.parametrize(("repositories", "sent"), [(("team/demo", "team/demo"), 1), (("team/one", "team/two"), 2)])
def test_one_blob_goes_to_one_repository_once(tmp_path: Path, repositories: tuple[str, str], sent: int) -> None:
    with EmbeddedRegistry(tmp_path / "registry", faults=[stalling(0.2)]) as registry:
        names = {f"{registry.host}/{repository}/latest" for repository in repositories}
        store = store_of(tmp_path, *names, layers=(BIG,))
        with Gateway(settings_for(store, verify=False)) as gateway:
            with ExitStack() as peers:
                started = [peers.enter_context(start(gateway, order_for(registry, each))) for each in repositories]
                ends = [list(lines_of(peer))[-1] for peer in started]
            assert ends == [{"status": "success"}] * 2
            assert {record.outcome for record in gateway.records()} == {PushOutcome.SUCCEEDED}
        sent_bytes = [seen.body_bytes for seen in registry.requests if "/blobs/uploads/" in seen.path]
        assert sum(size for size in sent_bytes if size >= MIB) == sent * len(BIG)


def test_more_pushes_than_may_are_told_to_come_again(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry", faults=[stalling()]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(BIG,))
        with Gateway(settings_for(store, max_pushes=1)) as gateway:
            with start(gateway, order_for(registry)):
                assert registry.wait_until(lambda: registry.received_bytes >= MIB, PATIENCE)
                for stream in (True, False):
                    response = gateway.push(order_for(registry, stream=stream))
                    assert response.status == 503
                    assert response.headers["retry-after"].isdigit()
                    assert "1 pushes are running" in response.error
            gateway.wait_for(1)
            assert gateway.push(order_for(registry)).lines[-1] == {"status": "success"}


def test_shutdown_lets_parts_end_says_so_and_the_next_push_goes_on(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry", faults=[stalling(0.3)]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(BIG, BIG[::-1]))
        resume = FileResumeStore(tmp_path / "uploads")
        asked = settings_for(store, resume=resume, concurrency=1)
        with Gateway(asked) as gateway, start(gateway, order_for(registry)) as peer:
            assert registry.wait_until(lambda: registry.received_bytes >= MIB, PATIENCE)
            gateway.tell_to_stop()
            last = list(lines_of(peer))[-1]
        assert last["error"].endswith("push again to resume): context canceled")
        assert reason_for(last["error"]) is RejectionReason.CANCELLED
        before = registry.received_bytes
        assert len(BIG) <= before < 2 * len(BIG)
        with Gateway(settings_for(store, resume=FileResumeStore(tmp_path / "uploads"))) as gateway:
            assert gateway.push(order_for(registry)).lines[-1] == {"status": "success"}
        assert registry.received_bytes - before <= 2 * len(BIG) - before + 1000


@pytest.mark.parametrize("stream", [True, False])
def test_shutdown_breaks_off_what_does_not_end_in_time(tmp_path: Path, *, stream: bool) -> None:
    with EmbeddedRegistry(tmp_path / "registry", faults=[stalling()]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(BIG,))
        resume = FileResumeStore(tmp_path / "uploads")
        asked = settings_for(store, resume=resume, shutdown_grace=0.2)
        with Gateway(asked) as gateway, start(gateway, order_for(registry, stream=stream)) as peer:
            assert registry.wait_until(lambda: registry.received_bytes >= MIB, PATIENCE)
            gateway.tell_to_stop()
            raw = b"".join(iter(lambda: peer.recv(65536), b""))
        response = parse(raw)
        assert response.status == (200 if stream else 500)
        assert response.error.endswith(": context canceled")
        # The registry kept the broken part, and we its address.
        with Gateway(settings_for(store, resume=FileResumeStore(tmp_path / "uploads"))) as gateway:
            assert gateway.push(order_for(registry)).lines[-1] == {"status": "success"}
        assert registry.received_bytes <= len(BIG) + 1000


def test_secrets_are_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = Reply(400, {"Content-Type": "text/plain"}, f"no: alice / {PASSWORD}".encode())
    with EmbeddedRegistry(
        tmp_path / "registry", auth=BasicAuth({"alice": PASSWORD}), faults=[Fault("PUT", "/manifests/", action=echo)]
    ) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        with Gateway(settings_for(store)) as gateway:
            told = [
                gateway.push(order_for(registry, username="alice", password=password))
                for password in (PASSWORD, f"{PASSWORD}!", PASSWORD)
            ]
            told.append(gateway.send("POST", f"/api/push?password={PASSWORD.replace(' ', '%20')}", b"{}"))
            told += [gateway.send("GET", path) for path in ("/ui", "/metrics", "/api/tags", "/healthz")]
            records = gateway.records()
    assert [bool(response.error) for response in told[:3]] == [True, True, False]
    everything = [*(response.body.decode() for response in told), repr(records), caplog.text]
    assert "alice" in everything[0]
    assert "POST /api/push 200" in caplog.text
    for text in everything:
        assert PASSWORD not in text
        assert PASSWORD.replace(" ", "%20") not in text
        assert b64encode(f"alice:{PASSWORD}".encode()).decode() not in text


def test_names_without_a_host_go_to_the_companys_own_registry(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry, EmbeddedRegistry(tmp_path / "other") as other:
        store = store_of(
            tmp_path,
            "registry.ollama.ai/myuser/my-llama/latest",
            "registry.ollama.ai/library/my-llama/latest",
            f"{registry.host}/team/there/v2",
            f"{other.host}/team/elsewhere/latest",
            f"{other.host}/library/flat/latest",
        )
        with Gateway(settings_for(store, default_registry=registry.host, plain_http=True)) as gateway:
            for name in (
                "myuser/my-llama",
                "my-llama",
                "team/there:v2",
                f"{other.host}/team/elsewhere",
                f"{other.host}/flat",
            ):
                assert gateway.push({"model": name}).lines[-1] == {"status": "success"}
            missing = gateway.push({"model": "nobody"}).error
            assert missing.startswith(
                f"open {store.root}/manifests/registry.ollama.ai/library/nobody/latest: no such file or directory ("
            )
        for repository, tag in (("myuser/my-llama", "latest"), ("library/my-llama", "latest"), ("team/there", "v2")):
            assert registry.manifest(repository, tag) is not None
        for repository in ("team/elsewhere", "library/flat"):
            assert other.manifest(repository, "latest") is not None


def test_one_connection_serves_one_push_after_the_other(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        with Gateway(settings_for(store)) as gateway, gateway.connect() as peer:
            for _ in range(3):
                body = json.dumps(order_for(registry)).encode()
                peer.sendall(request_of("POST", "/api/push", body, {"Connection": "keep-alive"}))
                assert list(lines_of(peer))[-1] == {"status": "success"}


def test_without_a_store_it_is_a_plain_500(tmp_path: Path) -> None:
    with Gateway(settings_for(ModelStore(tmp_path / "nothing"))) as gateway:
        for stream in (True, False):
            response = gateway.push({"model": "a/b", "stream": stream})
            assert (response.status, response.headers["content-type"]) == (500, "application/json")
            assert "there is no such folder" in response.error
        assert gateway.send("GET", "/api/tags").lines == [{"models": []}]


class Unspeakable(OllamaPushError):
    """Cannot be put into words."""

    def render(self, messages: Messages) -> str:
        raise ValueError("there are none")


@attrs.frozen
class Broken:
    """Credentials that fail as nothing should."""

    failure: Exception

    def find(self, _host: str, /) -> None:
        raise self.failure


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError("secret-word"),
        Unspeakable(),
        TimeoutError("a helper"),  # not one of the gateway's own timeouts
    ],
    ids=["foreign", "ours", "late"],
)
def test_a_failure_nobody_foresaw_ends_one_push_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, failure: Exception, *, stream: bool
) -> None:
    with EmbeddedRegistry(tmp_path / "registry", auth=BasicAuth({"alice": PASSWORD})) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        with Gateway(settings_for(store, credentials=Broken(failure))) as gateway:
            response = gateway.push(order_for(registry, stream=stream))
            assert (response.status, response.error) == (200 if stream else 500, INTERNAL_ERROR)
            assert gateway.records()[0].outcome is PushOutcome.FAILED
            assert gateway.push(order_for(registry, username="alice", password=PASSWORD)).lines[-1] == {
                "status": "success"
            }
    assert "failed unexpectedly" in caplog.text


def test_metrics_count_what_the_registry_received(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(BIG, b"t"))
        with Gateway(settings_for(store)) as gateway:
            gateway.push(order_for(registry))
            gateway.push(order_for(registry))
            text = gateway.send("GET", "/metrics").body.decode()
    (sent,) = [line for line in text.splitlines() if "delivered" in line and 'how="sent"' in line and "_total" in line]
    assert float(sent.split()[-1]) == registry.received_bytes


def test_a_push_to_another_repository_mounts_what_an_earlier_one_sent(tmp_path: Path) -> None:
    """Also one of another gateway of the same user, as after a restart."""
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        names = [f"{registry.host}/{repository}/latest" for repository in ("team/one", "team/two")]
        store = store_of(tmp_path, *names, layers=(BIG,))
        sent = []
        for repository in ("team/one", "team/two"):
            with Gateway(settings_for(store, resume=FileResumeStore(tmp_path / "uploads"))) as gateway:
                assert gateway.push(order_for(registry, repository)).lines[-1] == {"status": "success"}
            sent.append(registry.received_bytes)
        assert sent[0] == sent[1] > len(BIG)
        assert registry.manifest("team/two", "latest") == registry.manifest("team/one", "latest")


def test_what_is_to_be_private_is_not_published_in_a_registry_that_keeps_nothing_private(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        with Gateway(settings_for(store)) as gateway:
            response = gateway.push(order_for(registry, private=True))
            assert response.status == 400
            assert response.error == (
                f"private: only Ollama's own registry knows private models; {registry.host} decides itself who may read"
            )
            assert gateway.push(order_for(registry, private=False)).lines[-1] == {"status": "success"}
        assert len([seen for seen in registry.requests if seen.method == "PUT" and "/manifests/" in seen.path]) == 1

"""What errors say on the command line: its options, who said no, advice that is true there."""

from pathlib import Path

import attrs
import pytest
from tests.support.command import HERE, NAME, push, run
from tests.support.command_direct import PASSWORD, at_home
from tests.support.stores import LAYERS, put_blob

from ollama_push.cli.messages import USUAL, MessageFormatter
from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    InvalidModelName,
    InvalidSetting,
    OllamaPushError,
    Peer,
    PushInterrupted,
    PushRejected,
)
from ollama_push.core.facts import Advice, ModelMissing
from ollama_push.core.receipts import LayerReceipt, PushReceipt
from ollama_push.testing.registry import BasicAuth
from ollama_push.testing.server import ScriptedServer, lines_answer

pytestmark = pytest.mark.process

NOT_STREAMED = PushReceipt("a/b:latest", (), None, 1, 0.5)
LAYER = LayerReceipt("sha256:ab", 2000)
DIRECT = PushReceipt("a/b:latest", (LAYER,), 2000, 1, 0.5, "sha256:m", 0, 0, 0, verified=False)
AT = "https://registry.example.com:443"


@pytest.mark.parametrize(
    ("receipt", "text"),
    [
        (NOT_STREAMED, "pushed a/b:latest, in 0.5 s"),
        (attrs.evolve(NOT_STREAMED, attempts=3, retries=2), "pushed a/b:latest, in 0.5 s, after 3 attempts"),
        (DIRECT, "pushed a/b:latest, 1 layer, 2.0 kB, in 0.5 s, sha256:m"),
    ],
    ids=["no size", "attempts", "direct"],
)
def test_a_receipt_says_what_is_known(receipt: PushReceipt, text: str) -> None:
    assert str(receipt) == text


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InvalidSetting("ca_file", "x", "no"), "--ca='x': no"),
        (InvalidSetting("--listen", "x", "no"), "--listen='x': no"),
        (InvalidSetting("OLLAMA_HOST", "x", "no", Advice.PASS_HEADERS), "OLLAMA_HOST='x': no; pass --header"),
        (
            PushRejected(facts=ModelMissing("x/y", "/m", twin="a:b")),
            "there is no model 'x/y' in the store /m; to push 'a:b' under this name, say --from a:b",
        ),
        (
            InvalidModelName("n", "no", Advice.ASK_PLAIN_HTTP),
            "'n': no; plain HTTP must be asked for with --plain-http",
        ),
        (
            ConnectFailed(AT, ConnectCause.NOT_TLS, "", Peer.REGISTRY),
            f"the registry at {AT} does not speak TLS; plain HTTP must be asked for with --plain-http",
        ),
        (
            ConnectFailed(AT, ConnectCause.UNTRUSTED_CERTIFICATE, "", Peer.REGISTRY),
            f"the certificate of {AT} is not trusted; pass the CA that signed it with --ca, or SSL_CERT_FILE",
        ),
    ],
)
def test_a_setting_is_called_by_its_option(error: OllamaPushError, said: str) -> None:
    assert USUAL.format(error) == said


def test_what_a_peer_says_is_not_taken_for_a_setting() -> None:
    assert USUAL.format(PushRejected("scope=push (--denied)")) == "the push was refused: scope=push (--denied)"


def test_what_is_left_after_a_stop_depends_on_whether_uploads_are_kept() -> None:
    stop = PushInterrupted(1_000_000, 2_000_000)
    assert USUAL.format(stop) == "interrupted; the registry has 1.0 MB of 2.0 MB, push again to resume"
    forgetful = MessageFormatter(resumes=False)
    for said in (forgetful.format(stop), forgetful.cancelled):
        assert "blobs that were complete stay in the registry" in said
        assert "all others from the start" in said
    assert "keeps what arrived, or nothing" in USUAL.cancelled


@pytest.mark.parametrize("verb", ["push", "check"])
def test_the_hint_to_log_in_says_plain_http_where_that_was_said(tmp_path: Path, verb: str) -> None:
    with at_home(tmp_path, auth=BasicAuth({"me": PASSWORD})) as home:
        done = home.direct(verb)
        assert f"run `ollama-push login {home.registry.host} --plain-http`" in done.stdout + done.stderr
    assert done.returncode == 6
    assert USUAL.format(PushRejected("run `ollama-push login h`")) == "the push was refused: run `ollama-push login h`"


@pytest.mark.slow
def test_nobody_refused_what_is_not_there_or_damaged(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        absent = home.run("push", home.name, "--direct", "--plain-http")
        put_blob(tmp_path / "models", LAYERS[1]).write_bytes(b"short")
        damaged = home.direct("push")
        assert home.registry.requests == []
    assert absent.stderr.startswith(f"error: {home.name}:latest: there is no model ")
    assert absent.stderr.endswith("say --from my-llama:latest\n")
    assert damaged.stderr.startswith(f"error: {home.name}:latest: blob sha256:")
    assert damaged.stderr.endswith("; pull or create the model again\n")
    with ScriptedServer(answers=HERE) as server:
        unknown = run("push", "localhost:5000/a/d", "--host", server.url)
    assert unknown.stderr.startswith("error: localhost:5000/a/d:latest: the server has no model ")


def test_a_server_that_refuses_is_said_to() -> None:
    done = push(lines_answer([b'{"error":"unauthorized: access denied"}']))
    assert "the push was refused: unauthorized: access denied" in done.stderr


def test_the_log_speaks_of_options_too(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.run("push", home.name, "--direct", "--from", "my-llama", "--retries", "0", "-v")
    assert " ERROR push failed: the registry at " in done.stderr
    assert "plain_http=" not in done.stderr
    assert done.stderr.count("must be asked for with --plain-http") == 2


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["urllib3", "aiohttp"])
def test_no_word_of_openssl_is_shown(tmp_path: Path, transport: str) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    with at_home(tmp_path) as home:
        options = ("push", home.name, "--direct", "--from", "my-llama", "--retries", "0", "--transport", transport)
        plain, no_pem = home.run(*options), home.run(*options, "--ca", str(tmp_path / "empty.pem"))
    assert (plain.returncode, no_pem.returncode) == (4, 2)
    assert plain.stderr.endswith("does not speak TLS; plain HTTP must be asked for with --plain-http\n")
    assert no_pem.stderr.startswith("error: --ca='")
    assert ": no readable PEM certificates: no certificate or crl found" in no_pem.stderr
    for said in (plain.stderr, no_pem.stderr):
        assert "_ssl.c" not in said
        assert "[ssl" not in said.lower()
        assert "[x509" not in said.lower()


def test_without_a_server_a_name_with_a_registry_can_go_straight_there() -> None:
    with ScriptedServer() as server:
        url = server.url
    for verb in ("push", "check"):
        done = run(verb, NAME, "--host", url)
        assert "--direct needs no server and pushes straight to localhost:5000" in done.stdout + done.stderr
        done = run(verb, "myuser/my-llama", "--host", url)
        assert "--direct" not in done.stdout + done.stderr


def test_the_log_of_a_push_tells_what_was_sent_and_what_was_there(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        first, second = home.direct("push", "-v"), home.direct("push", "-v")
        total = home.registry.received_bytes
    assert f": {total} sent, 0 already there" in first.stderr
    assert f": 0 sent, {total} already there" in second.stderr

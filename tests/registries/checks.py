"""What is asked of every registry: each check pushes, looks, and returns in a few words what it saw.

What it should see is ``right``. What is seen otherwise, by whose fault ever, is in :mod:`tests.registries.deviations`.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import attrs
from tests.registries.programs import NginxFront, Zot, few_requests, to_https
from tests.registries.subjects import DEEP, OTHER, REPOSITORY, Running
from tests.support.blobs import MIB, digest_of
from tests.support.command import command, environment
from tests.support.counting_proxy import CountingProxy
from tests.support.direct_push import BIG, SMALL, TOTAL, Direct, push, push_awaited, settings, stored
from tests.support.large_models import LargeModel, put_large_model
from tests.support.registries import CRANE, ORAS, REGCTL, SKOPEO
from tests.support.server_push import Told
from tests.support.stores import CONFIG, descriptor, put_blob, put_manifest

from ollama_push import RegistryClient, Urllib3Transport
from ollama_push.core.errors import ConnectFailed, OllamaPushError, PushRejected
from ollama_push.core.retry import RetryPolicy

__all__ = ["CHECKS", "Check"]

_PATIENCE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.01
_START_SECONDS: Final = 20.0
"""How long a process may take until its first request."""
_SHARING_SECONDS: Final = 3.0
"""How long a process may take from there until it sends; one that shares an upload of the other never does."""

_OCI: Final = "application/vnd.oci.image.manifest.v1+json"
_LAYERS: Final = (4 * MIB, 12 * MIB)
"""Bytes of the layers of the large model."""
_PART_BYTES: Final = 2 * MIB
_MIDDLE: Final = 9 * MIB + 100_000
"""In the second layer of the large model, and at no end of a part."""

Run = Callable[[Running, Path], str]


@attrs.frozen(kw_only=True)
class Check:
    """One question.

    Attributes:
        name: Of its tests.
        title: For people.
        right: What should be seen.
        run: Asks; gets a registry and a folder that is empty.
        needs: Features of the registry without which the question makes no sense.
        tool: A client of others that is needed: its name and where it is, ``None`` when missing.
        how: How to get that client.
    """

    name: str
    title: str
    right: str
    run: Run
    needs: frozenset[str] = frozenset()
    tool: tuple[str, str | None] | None = None
    how: str = ""


def _direct(running: Running, home: Path, **changed: Any) -> Direct:
    """Return a push of ``my-llama``, with little to wait for between attempts."""
    asked = Direct(
        host=running.host,
        home=home,
        repository=REPOSITORY,
        plain_http=running.ca_file is None,
        ca_file=running.ca_file,
        credentials=running.login,
        part_bytes=None,
        concurrency=4,
        retry=RetryPolicy(attempts=5, base=0.2),
    )
    return attrs.evolve(asked, **changed)


def _outcome(told: Told) -> str:
    if told.error is not None:
        return _named(told.error)
    return "verified" if told.receipt is not None and told.receipt.verified else "not verified"


def _named(error: OllamaPushError) -> str:
    """Return the kind of *error*, and the kind of its cause."""
    match error:
        case PushRejected(reason=reason):
            return f"PushRejected {reason.name}"
        case ConnectFailed(cause=cause):
            return f"ConnectFailed {cause.name}"
        case _:
            return type(error).__name__


def _sent(told: Told) -> str:
    """Return the outcome and how much of the model was sent."""
    if told.receipt is None:
        return _outcome(told)
    sent, total = told.receipt.sent_bytes or 0, told.receipt.total_bytes or 0
    # What is refused (413) is sent again, and counts twice.
    return f"{_outcome(told)}, {'nothing' if not sent else 'everything' if sent >= total else 'a part'} sent"


def _holds(running: Running, *blobs: bytes) -> bool:
    return all(any(path.read_bytes() == blob for path in running.files(digest_of(blob))) for blob in blobs)


def _plain(running: Running, home: Path) -> str:
    stored(home)
    told = push(_direct(running, home))
    assert told.error is not None or _holds(running, BIG, SMALL, CONFIG)
    return _sent(told)


def _plain_async(running: Running, home: Path) -> str:
    stored(home)
    told = push_awaited(_direct(running, home))
    assert told.error is not None or _holds(running, BIG, SMALL, CONFIG)
    return _sent(told)


def _after_a_push(running: Running, home: Path, **changed: Any) -> str:
    """Push, and then push what *changed* makes of it; return what was seen of the second push."""
    stored(home)
    first = _direct(running, home)
    assert push(first).error is None
    return _sent(push(attrs.evolve(first, **changed)))


def _again(running: Running, home: Path) -> str:
    return _after_a_push(running, home)


def _other_tag(running: Running, home: Path) -> str:
    return _after_a_push(running, home, spelled=f"{running.host}/{REPOSITORY}:v2")


def _other_repository(running: Running, home: Path) -> str:
    return _after_a_push(running, home, repository=OTHER)


def _deep_name(running: Running, home: Path) -> str:
    stored(home)
    return _sent(push(_direct(running, home, repository=DEEP)))


def _many_blobs(running: Running, home: Path) -> str:
    layers = [number.to_bytes(4, "big") * 5_000 for number in range(24)]
    stored(home, *layers)
    told = push(_direct(running, home, concurrency=8))
    assert told.error is not None or _holds(running, *layers)
    return _sent(told)


def _oci_manifest(running: Running, home: Path) -> str:
    _store_oci(home)
    return _sent(push(_direct(running, home, source="oci")))


def _store_oci(home: Path) -> bytes:
    """Write the model ``oci``, whose manifest is of OCI's kind."""
    for blob in (BIG, SMALL, CONFIG):
        put_blob(home / "models", blob)
    config = descriptor(CONFIG, "application/vnd.docker.container.image.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": _OCI,
        "config": config,
        "layers": [descriptor(BIG), descriptor(SMALL)],
    }
    raw = json.dumps(manifest).encode()
    put_manifest(home / "models", "registry.ollama.ai/library/oci/latest", raw)
    return raw


def _large(home: Path) -> LargeModel:
    """Write ``my-llama`` with two layers that go out in parts."""
    return put_large_model(home / "models", *_LAYERS)


def _surroundings(running: Running, home: Path, login: tuple[str, str] | None) -> dict[str, str]:
    """Return the environment of a command that finds nothing of this machine's own."""
    user, password = login or ("", "")
    return environment(
        HOME=str(home),
        DOCKER_CONFIG=str(home / "docker"),
        XDG_STATE_HOME=str(home / "state"),
        XDG_CONFIG_HOME=str(home / "config"),
        XDG_RUNTIME_DIR=str(home / "run"),
        REGISTRY_AUTH_FILE="",
        OLLAMA_MODELS=str(home / "models"),
        OLLAMA_USERNAME=user,
        OLLAMA_PASSWORD=password,
        SSL_CERT_FILE=str(running.ca_file or ""),
    )


def _scheme(running: Running) -> tuple[str, ...]:
    return ("--plain-http",) if running.ca_file is None else ("--ca", str(running.ca_file))


def _started(
    running: Running, home: Path, *, part_bytes: int = _PART_BYTES, logged_in: bool = True
) -> subprocess.Popen[str]:
    """Start the command that pushes ``my-llama``."""
    options = ("--direct", "--from", "my-llama", "--part-size", str(part_bytes), "--concurrency", "1")
    name = f"{running.counted}/{REPOSITORY}:v1"
    return subprocess.Popen(
        command("push", name, *options, "--progress", "json", *_scheme(running)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_surroundings(running, home, running.login if logged_in else None),
    )


def _ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a command; return the last line that it printed."""
    said, complaints = process.communicate(timeout=_PATIENCE_SECONDS)
    assert said, complaints
    return dict(json.loads(said.splitlines()[-1]))


def _resumed_after(number: signal.Signals, running: Running, home: Path, part_bytes: int) -> str:
    """Push, send *number* in the middle of the second layer, and push again."""
    model = _large(home)
    started: Future[subprocess.Popen[str]] = Future()
    heard = threading.Event()

    def send_the_signal() -> None:
        started.result(_PATIENCE_SECONDS).send_signal(number)
        # Under load a process may send much between a signal and its handler.
        heard.wait(_PATIENCE_SECONDS)

    running.proxy.at(_MIDDLE, send_the_signal)
    process = _started(running, home, part_bytes=part_bytes)
    started.set_result(process)
    assert process.stderr is not None
    # Ctrl-C is answered with a line; of a killed process this is the end of the file.
    process.stderr.readline()
    heard.set()
    said_first, _complaints = process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    running.proxy.wait_until_idle()
    said = _ended(_started(running, home))
    assert all(running.files(digest) for digest in model.layers)
    if said["event"] != "succeeded":
        return str(said["error"])
    assert said["skipped_bytes"] == model.sizes[0], said
    verified = "verified" if said["verified"] else "not verified"
    if said["resumed_bytes"]:
        return f"{verified}, resumed within the layer"
    promised = ", against the promise to resume" if "to resume" in said_first else ""
    return f"{verified}, that layer sent from its start{promised}"


def _kill_9(running: Running, home: Path) -> str:
    # In one part, so that the kill breaks it: what is in buffers at a kill arrives and must not be its end.
    return _resumed_after(signal.SIGKILL, running, home, max(_LAYERS))


def _ctrl_c(running: Running, home: Path) -> str:
    return _resumed_after(signal.SIGINT, running, home, _PART_BYTES)


def _in_the_middle(running: Running, home: Path, action: Callable[[], object]) -> str:
    """Push, and do *action* in the middle of the second layer."""
    model = _large(home)
    running.proxy.at(_MIDDLE, action)
    told = push(_direct(running, home, host=running.counted, part_bytes=_PART_BYTES, concurrency=1))
    assert told.error is not None or all(running.files(digest) for digest in model.layers)
    return _outcome(told)


def _cut(running: Running, home: Path) -> str:
    return _in_the_middle(running, home, running.proxy.cut)


def _restart(running: Running, home: Path) -> str:
    return _in_the_middle(running, home, running.restart)


def _two_processes(running: Running, home: Path) -> str:
    """Push one model by two processes at once; neither has sent a layer before the other one asks for it."""
    model = _large(home)
    proxy = running.proxy

    def is_sending(uploads: int, sent_bytes: int) -> bool:
        return _uploads(proxy) > uploads or proxy.body_bytes > sent_bytes

    def wait_for_the_other() -> None:
        # The connection that has sent the first byte of all is held here, the other process goes on.
        requests, uploads, sent_bytes = len(proxy.passed), _uploads(proxy), proxy.body_bytes
        _wait(lambda: len(proxy.passed) > requests, _START_SECONDS)
        _wait(lambda: is_sending(uploads, sent_bytes), _SHARING_SECONDS)

    proxy.at(1, wait_for_the_other)
    both = [_ended(process) for process in [_started(running, home), _started(running, home)]]
    assert all(running.files(digest) for digest in model.layers)
    if any(said["event"] != "succeeded" or not said["verified"] for said in both):
        return ", ".join(str(said.get("error", said["event"])) for said in both)
    return f"both verified, sent {'once' if proxy.body_bytes < model.total_bytes * 1.25 else 'twice'}"


def _uploads(proxy: CountingProxy) -> int:
    """Return how many uploads were opened through *proxy*."""
    return sum(passed.method == "POST" for passed in proxy.passed)


def _wait(holds: Callable[[], bool], seconds: float) -> None:
    """Wait until *holds* is true, but not longer."""
    deadline = time.monotonic() + seconds
    never = threading.Event()
    while not holds() and time.monotonic() < deadline:
        never.wait(_POLL_SECONDS)


def _refused_login(running: Running, home: Path, login: tuple[str, str] | None) -> str:
    stored(home)
    told = push(_direct(running, home, host=running.counted, credentials=login))
    return f"{_outcome(told)}, {'nothing' if not running.proxy.body_bytes else 'something'} sent"


def _wrong_password(running: Running, home: Path) -> str:
    return _refused_login(running, home, ("ann", "wr0ng-one-of-ann"))


def _no_login(running: Running, home: Path) -> str:
    return _refused_login(running, home, None)


def _login_command(running: Running, home: Path) -> str:
    """Log in by the command, and push with the login that it keeps."""
    assert running.login is not None
    user, password = running.login
    login = subprocess.run(
        command("login", running.counted, "--user", user, "--password-stdin", *_scheme(running)),
        input=password,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
        env=_surroundings(running, home, None),
    )
    assert login.returncode == 0, login.stderr
    stored(home)
    said = _ended(_started(running, home, logged_in=False))
    return "verified" if said.get("verified") else str(said.get("error"))


def _dry_run(running: Running, home: Path) -> str:
    """Ask before a push and after it what there would be to send."""
    stored(home)
    asked = _direct(running, home)

    def missing_bytes() -> int:
        with closing(Urllib3Transport(ca_file=asked.ca_file)) as transport:
            plan = RegistryClient(transport=transport, **settings(asked)).plan(asked.name, source=asked.source)
            return plan.missing_bytes

    before = missing_bytes()
    assert push(asked).error is None
    return f"{'everything' if before == TOTAL else before} missing before, {missing_bytes() or 'nothing'} after"


def _wrong_scheme(running: Running, home: Path) -> str:
    stored(home)
    plain_http = running.ca_file is not None
    seen = _outcome(push(_direct(running, home, plain_http=plain_http)))
    return _SCHEME if seen == f"ConnectFailed {'WANTS' if plain_http else 'NOT'}_TLS" else seen


def _verify_a_lost_layer(running: Running, home: Path) -> str:
    """Push, take a layer from the disk, and ask whether the model is there."""
    stored(home)
    asked = _direct(running, home)
    assert push(asked).error is None
    for path in running.files(digest_of(BIG)):
        path.unlink()
    with closing(Urllib3Transport(ca_file=asked.ca_file)) as transport:
        try:
            RegistryClient(transport=transport, **settings(asked)).verify(asked.name, source=asked.source)
        except OllamaPushError as exc:
            return _named(exc)
    return "verified"


def _push_a_lost_model(running: Running, home: Path) -> str:
    """Push, let garbage collection take the blobs, and push again."""
    stored(home)
    asked = _direct(running, home)
    assert push(asked).error is None
    blobs = (BIG, SMALL, CONFIG)
    if running.collect_garbage is not None:
        running.collect_garbage(REPOSITORY)
    else:
        for path in [path for blob in blobs for path in running.files(digest_of(blob))]:
            path.unlink()
    assert not any(running.files(digest_of(blob)) for blob in blobs)
    told = push(asked)
    return f"{_outcome(told)}, {'every blob is' if _holds(running, *blobs) else 'blobs are not'} there"


class _NotReadError(Exception):
    """A client of others failed; what it says, without the ports of this run."""


@attrs.frozen
class _Reader:
    """A client of others, and where it finds the login."""

    running: Running
    folder: Path

    def run(self, *words: str | Path | None) -> bytes:
        """Run it and return what it prints.

        Raises:
            _NotReadError: It fails.
        """
        done = subprocess.run(
            [str(word) for word in words],
            capture_output=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
            env=self._surroundings(),
        )
        if done.returncode:
            raise _NotReadError(re.sub(r"[\d.]+:\d+", "HOST", done.stderr.decode().strip()))
        return done.stdout

    @property
    def is_plain(self) -> bool:
        return self.running.ca_file is None

    @property
    def logins(self) -> Path:
        return self.folder / "config.json"

    def _surroundings(self) -> dict[str, str]:
        self.folder.mkdir(exist_ok=True)
        login = self.running.login
        proof = base64.b64encode(":".join(login).encode()).decode() if login else ""
        auths = {self.running.host: {"auth": proof}} if login else {}
        self.logins.write_text(json.dumps({"auths": auths}), "utf-8")
        trusted = {} if self.is_plain else {"SSL_CERT_FILE": str(self.running.ca_file)}
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "DOCKER_CONFIG": str(self.folder), **trusted}


def _read_by(read: Callable[[_Reader, str, str | None], bytes]) -> Run:
    """Return a check that reads the manifest and each blob; *read* gets a repository's name, and a digest or none."""

    def run(running: Running, home: Path) -> str:
        raw = stored(home)
        assert push(_direct(running, home)).error is None
        reader = _Reader(running, home / "reader")
        name = f"{running.host}/{REPOSITORY}"
        try:
            assert read(reader, name, None) == raw
            for blob in (BIG, SMALL, CONFIG):
                assert read(reader, name, digest_of(blob)) == blob
        except _NotReadError as exc:
            return str(exc)
        return "manifest and blobs read"

    return run


def _crane(reader: _Reader, name: str, digest: str | None) -> bytes:
    insecure = ("--insecure",) if reader.is_plain else ()
    if digest is None:
        return reader.run(CRANE, "manifest", *insecure, f"{name}:v1")
    return reader.run(CRANE, "blob", *insecure, f"{name}@{digest}")


def _oras(reader: _Reader, name: str, digest: str | None) -> bytes:
    more = ("--registry-config", reader.logins, *(("--plain-http",) if reader.is_plain else ()))
    if digest is None:
        return reader.run(ORAS, "manifest", "fetch", *more, f"{name}:v1")
    return reader.run(ORAS, "blob", "fetch", *more, "--output", "-", f"{name}@{digest}")


def _regctl(reader: _Reader, name: str, digest: str | None) -> bytes:
    host = f"reg={reader.running.host},tls={'disabled' if reader.is_plain else 'enabled'}"
    if digest is None:
        return reader.run(REGCTL, "--host", host, "manifest", "get", "--format", "raw-body", f"{name}:v1")
    return reader.run(REGCTL, "--host", host, "blob", "get", name, digest)


def _skopeo(running: Running, home: Path) -> str:
    """Read the manifest, and copy a model with a manifest of OCI's kind.

    Of docker's kind skopeo refuses Ollama's media types, whoever pushed them.
    """
    raw = stored(home)
    asked = _direct(running, home)
    assert push(asked).error is None
    oci = _store_oci(home)
    again = attrs.evolve(asked, source="oci", spelled=f"{running.host}/{REPOSITORY}:oci")
    assert push(again).error is None
    reader = _Reader(running, home / "reader")
    more = ("--authfile", reader.logins)
    trust = "tls-verify=false" if reader.is_plain else "tls-verify=true"
    assert reader.run(SKOPEO, "inspect", "--raw", *more, f"--{trust}", f"docker://{asked.name}") == raw
    copy = home / "copy"
    source = f"docker://{again.name}"
    reader.run(
        SKOPEO, "--insecure-policy", "copy", *more, f"--src-{trust}", "--preserve-digests", source, f"dir:{copy}"
    )
    assert (copy / "manifest.json").read_bytes() == oci
    for blob in (BIG, SMALL, CONFIG):
        assert (copy / digest_of(blob).removeprefix("sha256:")).read_bytes() == blob
    return "manifest and blobs read"


def _rate_limit(running: Running, home: Path) -> str:
    """Push through a front that lets two requests a second through."""
    stored(home)
    front = NginxFront(home / "front", few_requests(running.proxy.host), tls=False)
    with front:
        return _outcome(push(_direct(running, home, host=front.host, plain_http=True)))


def _redirect(running: Running, home: Path) -> str:
    """Push by plain HTTP to a front that knows nothing but where TLS is spoken."""
    stored(home)
    with NginxFront(home / "front", to_https(running.host), tls=False) as front:
        seen = _outcome(push(_direct(running, home, host=front.host, plain_http=True)))
    return _SCHEME if seen == "ConnectFailed WANTS_TLS" else seen


def _oci_only(running: Running, home: Path) -> str:
    """Push a manifest of docker's kind, as Ollama writes them, to a zot as it comes."""
    stored(home)
    with Zot(home / "as-it-comes", takes_docker=False) as zot, CountingProxy(zot.host) as proxy:
        told = push(_direct(running, home, host=proxy.host))
        return f"{_outcome(told)}, {'nothing' if proxy.body_bytes < TOTAL else 'everything'} sent"


_ALL: Final = "verified, everything sent"
_NOTHING: Final = "verified, nothing sent"
_SCHEME: Final = "blamed on the scheme"
_RESUMED: Final = "verified, resumed within the layer"
_READ: Final = "manifest and blobs read"
_UNAUTHORIZED: Final = "PushRejected UNAUTHORIZED, nothing sent"
_LOGIN: Final = frozenset({"login"})
_FRONT: Final = frozenset({"front"})
_GO: Final = "make test-all does it where Go is on the PATH"

CHECKS: Final = (
    Check(name="plain", title="a push by the sync client", right=_ALL, run=_plain),
    Check(name="async", title="a push by the async client", right=_ALL, run=_plain_async),
    Check(name="again", title="the same push again", right=_NOTHING, run=_again),
    Check(name="other-tag", title="the same model, another tag", right=_NOTHING, run=_other_tag),
    Check(name="other-repository", title="the same model, another repository", right=_NOTHING, run=_other_repository),
    Check(name="deep-name", title="a name of four parts", right=_ALL, run=_deep_name),
    Check(name="many-blobs", title="24 layers, eight at a time", right=_ALL, run=_many_blobs),
    Check(name="oci-manifest", title="a manifest of OCI's kind", right=_ALL, run=_oci_manifest),
    Check(name="kill-9", title="resume after `kill -9`", right=_RESUMED, run=_kill_9),
    Check(name="ctrl-c", title="resume after Ctrl-C", right=_RESUMED, run=_ctrl_c),
    Check(name="cut", title="the connection is reset in mid-part", right="verified", run=_cut),
    Check(name="restart", title="the registry is killed and runs again in mid-part", right="verified", run=_restart),
    Check(
        name="two-processes", title="two processes push one model", right="both verified, sent once", run=_two_processes
    ),
    Check(name="wrong-password", title="a wrong password", right=_UNAUTHORIZED, run=_wrong_password, needs=_LOGIN),
    Check(name="no-login", title="no login where one is wanted", right=_UNAUTHORIZED, run=_no_login, needs=_LOGIN),
    Check(name="login-command", title="`ollama-push login`", right="verified", run=_login_command, needs=_LOGIN),
    Check(
        name="dry-run",
        title="a dry run before and after",
        right="everything missing before, nothing after",
        run=_dry_run,
    ),
    Check(name="wrong-scheme", title="TLS for HTTP, or HTTP for TLS", right=_SCHEME, run=_wrong_scheme),
    Check(
        name="lost-layer",
        title="verification of a model that lost a layer",
        right="VerificationFailed",
        run=_verify_a_lost_layer,
    ),
    Check(
        name="garbage-collected",
        title="a push of a model that garbage collection took",
        right="verified, every blob is there",
        run=_push_a_lost_model,
    ),
    Check(name="crane", title="read by crane", right=_READ, run=_read_by(_crane), tool=("crane", CRANE), how=_GO),
    Check(name="oras", title="read by oras", right=_READ, run=_read_by(_oras), tool=("oras", ORAS), how=_GO),
    Check(name="regctl", title="read by regctl", right=_READ, run=_read_by(_regctl), tool=("regctl", REGCTL), how=_GO),
    Check(
        name="skopeo",
        title="read by skopeo",
        right=_READ,
        run=_skopeo,
        tool=("skopeo", SKOPEO),
        how="apt-get install skopeo",
    ),
    Check(name="rate-limit", title="two requests a second", right="verified", run=_rate_limit, needs=_FRONT),
    Check(
        name="oci-only",
        title="a manifest of docker's kind where OCI's alone are taken",
        right="PushRejected REGISTRY_REFUSED, nothing sent",
        run=_oci_only,
        needs=frozenset({"oci-only"}),
    ),
    Check(name="redirect", title="a redirect from HTTP to TLS", right=_SCHEME, run=_redirect, needs=_FRONT),
)

"""Pulls through the gateway from real registries: by a stock Ollama, by what follows its rules, by other clients."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Final

import attrs
import oras.client  # type: ignore[import-untyped]  # it ships no types
import pytest
from tests.registries.programs import HTPASSWD, LOGIN
from tests.support.blobs import MIB, digest_of, noise
from tests.support.counting_proxy import CountingProxy
from tests.support.gateway import Gateway, nobody, settings_for, store_of
from tests.support.gateway_process import GatewayProcess, wait_until
from tests.support.gateway_pulls import KEY
from tests.support.large_models import put_large_model
from tests.support.real_ollama import RealOllama, needs_ollama
from tests.support.registries import CRANE, DEBIAN_REGISTRY, ORAS, SKOPEO, RealRegistry, needs_debian_registry
from tests.support.signed_tokens import SignedTokens
from tests.support.stock_pull import PullFailed, StockPull
from tests.support.stores import CONFIG, descriptor, put_blob, put_manifest

from ollama_push import ModelName, NoResume, RegistryClient
from ollama_push.core.registry.credentials import GivenCredential, Login
from ollama_push.testing.models import put_tiny_model
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Quirks, Stall

NAME: Final = "team/my-llama"
OWN: Final = Login(*LOGIN)
_PATIENCE_SECONDS: Final = 60.0
KINDS: Final = ("open", "htpasswd", "tokens elsewhere")

Start = Callable[[], Gateway]


@attrs.frozen
class Behind:
    """A gateway, the registry behind it, and what was pushed there through the gateway.

    Attributes:
        gateway: As clients name it.
        registry: As clients name it.
        manifest: The bytes of the local manifest.
    """

    gateway: str
    registry: str
    manifest: bytes


@contextmanager
def _registry(kind: str, folder: Path) -> Iterator[RealRegistry]:
    """Run Debian's distribution: open, with passwords, or with a token server on another origin."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        auth = None
        if kind == "htpasswd":
            (folder / "htpasswd").write_text(HTPASSWD, "ascii")
            auth = {"htpasswd": {"realm": "staff", "path": str(folder / "htpasswd")}}
        elif kind == "tokens elsewhere":
            auth = stack.enter_context(SignedTokens(folder, LOGIN, {NAME: ("pull", "push")})).auth
        yield stack.enter_context(RealRegistry(DEBIAN_REGISTRY, folder, auth))


@contextmanager
def _behind(kind: str, tmp_path: Path) -> Iterator[Behind]:
    """Push a model that Ollama can read through a gateway into a registry of *kind*."""
    store = store_of(tmp_path)
    put_tiny_model(store.root, [ModelName.parse(NAME)], rows=4096)
    manifest = (store.root / "manifests" / "registry.ollama.ai" / NAME / "latest").read_bytes()
    with _registry(kind, tmp_path / "registry") as registry:
        credentials = nobody() if kind == "open" else GivenCredential(OWN)
        settings = settings_for(
            store, default_registry=registry.host, plain_http=True, pull_key=KEY, credentials=credentials
        )
        with Gateway(settings) as gateway:
            assert gateway.push({"model": NAME, "stream": False}).status == 200
            yield Behind(f"127.0.0.1:{gateway.port}", registry.host, manifest)


@needs_debian_registry
@pytest.mark.parametrize("kind", KINDS)
def test_a_pull_by_ollamas_rules_gets_what_was_pushed(kind: str, tmp_path: Path) -> None:
    with _behind(kind, tmp_path) as behind:
        stock = StockPull(tmp_path / "pulled", least_part=100_000)
        assert stock.pull(behind.gateway, NAME) == behind.manifest
        with pytest.raises(PullFailed):
            StockPull(tmp_path / "without").pull(behind.registry, NAME)
    assert stock.most_at_once > 1


@needs_ollama
@needs_debian_registry
@pytest.mark.parametrize("kind", KINDS)
def test_a_stock_ollama_gets_what_was_pushed(kind: str, tmp_path: Path) -> None:
    with _behind(kind, tmp_path) as behind, RealOllama(tmp_path / "home", tmp_path / "pulled") as ollama:
        straight = ollama.ask("/api/pull", {"model": f"{behind.registry}/{NAME}", "insecure": True})
        with pytest.raises(PullFailed) as failed:
            StockPull(tmp_path / "rules").pull(behind.registry, NAME)
        assert str(failed.value) in straight.error
        name = f"{behind.gateway}/{NAME}"
        assert ollama.ask("/api/pull", {"model": name, "insecure": True}).lines[-1] == {"status": "success"}
        [kept] = (tmp_path / "pulled" / "manifests").rglob("latest")
        # 0.14 writes anew what it has read, without the newline at its end.
        assert kept.read_bytes() in (behind.manifest, behind.manifest.removesuffix(b"\n"))
        shown = json.loads(ollama.ask("/api/show", {"model": name}).body)
        assert (shown["details"]["format"], shown["details"]["family"]) == ("gguf", "llama")


@needs_ollama
def test_a_stock_ollama_gets_a_model_from_the_embedded_registry(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    put_tiny_model(store.root, [ModelName.parse(NAME)], rows=100)
    quirks = Quirks(redirect_to_other_name=True)
    with EmbeddedRegistry(tmp_path / "registry", quirks=quirks) as registry:
        with RegistryClient(store=store, plain_http=True, resume=NoResume()) as client:
            receipt = client.push(f"{registry.host}/{NAME}", source=NAME)
            found = client.pullability(f"{registry.host}/{NAME}", source=NAME)
        assert receipt.pullability is not None
        assert receipt.pullability.is_pullable is found.is_pullable is True
        with RealOllama(tmp_path / "home", tmp_path / "pulled") as ollama:
            order = {"model": f"{registry.host}/{NAME}", "insecure": True}
            assert ollama.ask("/api/pull", order).lines[-1] == {"status": "success"}


@needs_ollama
@needs_debian_registry
def test_our_client_asks_what_a_stock_ollama_asks(tmp_path: Path) -> None:
    """A blob of three parts, one small one and an empty config: the same requests, in any order."""
    large = put_large_model(tmp_path / "models", 205_000_000, 1000)
    with _registry("open", tmp_path / "registry") as registry:
        with RegistryClient(store=large.root, plain_http=True, resume=NoResume(), verify=False) as client:
            client.push(f"{registry.host}/{NAME}", source="my-llama")
        settings = settings_for(store_of(tmp_path / "2"), default_registry=registry.host, plain_http=True, pull_key=KEY)
        asked = []
        with Gateway(settings) as gateway:
            for pull in (_pull_by_ollama, _pull_by_rules):
                with CountingProxy(f"127.0.0.1:{gateway.port}") as proxy:
                    assert pull(proxy.host, tmp_path / pull.__name__) == large.raw
                    asked.append(sorted(_told(each.method, each.path, each.head) for each in proxy.passed))
    assert asked[0] == asked[1]
    assert len([each for each in asked[0] if "bytes=" in each]) == 5
    assert not [each for each in asked[0] if "authorization" in each.lower()]


def _told(method: str, path: str, head: str) -> str:
    lines = [line for line in head.split("\r\n") if line.lower().startswith(("range:", "accept:", "authorization:"))]
    return f"{method} {path.partition('?')[0]} {' '.join(sorted(lines))}"


def _pull_by_rules(host: str, folder: Path) -> bytes:
    return StockPull(folder).pull(host, NAME)


def _pull_quickly(host: str, folder: Path) -> bytes:
    return StockPull(folder, least_part=10_000_000, second=0.1).pull(host, NAME)


def _pull_by_ollama(host: str, folder: Path) -> bytes:
    with RealOllama(folder / "home", folder / "models") as ollama:
        assert ollama.ask("/api/pull", {"model": f"{host}/{NAME}", "insecure": True}).lines[-1] == {"status": "success"}
    [path] = (folder / "models" / "manifests").rglob("latest")
    return path.read_bytes()


# --- kill -9 in mid-pull


@pytest.mark.parametrize(
    ("pull", "part"),
    [pytest.param(_pull_by_ollama, 100_000_000, marks=needs_ollama), (_pull_quickly, 10_000_000)],
    ids=["ollama", "rules"],
)
def test_a_pull_goes_on_after_kill_9_of_the_gateway(
    pull: Callable[[str, Path], bytes], part: int, tmp_path: Path
) -> None:
    """The second of three ranges does not come: then the gateway is killed, and another one runs at its address."""
    model = put_large_model(tmp_path / "models", 2 * part + part // 2)
    pulled: list[bytes] = []
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        with RegistryClient(store=model.root, plain_http=True, resume=NoResume(), verify=False) as client:
            client.push(f"{registry.host}/{NAME}", source="my-llama")
        registry.add_fault(Fault("GET", model.layers[0], nth=2, action=Stall(_PATIENCE_SECONDS)))

        def reads() -> int:
            return sum(seen.method == "GET" and model.layers[0] in seen.path for seen in registry.requests)

        with GatewayProcess(model.root, tmp_path / "uploads", registry.host) as gateway:
            puller = Thread(target=lambda: pulled.append(pull(f"127.0.0.1:{gateway.port}", tmp_path / "pulled")))
            puller.start()
            assert registry.wait_until(lambda: reads() >= 3, _PATIENCE_SECONDS)
            # What the other two read has arrived.
            assert wait_until(lambda: gateway.metric("ollama_push_pulls_in_progress") == 1)
            gateway.kill()
        before = reads()
        with GatewayProcess(model.root, tmp_path / "uploads", registry.host, port=gateway.port) as again:
            puller.join(_PATIENCE_SECONDS)
            assert pulled == [model.raw]
            # The part that had not come, and the config; not what was there already.
            assert again.metric("ollama_push_pulled_bytes_total") <= part + len(CONFIG)
        assert before == 3
        assert reads() == 4


# --- clients of registries


@attrs.frozen
class Reader:
    """Runs programs of others, which find a login for the gateway's host."""

    folder: Path
    host: str

    def run(self, *command: str | Path | None) -> bytes:
        self.folder.mkdir(exist_ok=True)
        proof = base64.b64encode(":".join(LOGIN).encode()).decode()
        (self.folder / "config.json").write_text(json.dumps({"auths": {self.host: {"auth": proof}}}), "utf-8")
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "DOCKER_CONFIG": str(self.folder)}
        done = subprocess.run(
            [word for word in command if word is not None],
            capture_output=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
            env=environ,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


@pytest.fixture(params=["the gateway's login", "the client's login"])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reader]:
    """A gateway before a registry with passwords, which has a login there, or leaves that to its clients."""
    if DEBIAN_REGISTRY is None:
        pytest.skip("docker-registry is missing")
    store = store_of(tmp_path)
    for blob in (*LAYERS, CONFIG):
        put_blob(store.root, blob)
    put_manifest(store.root, "registry.ollama.ai/library/my-llama/latest", OCI)
    with _registry("htpasswd", tmp_path / "registry") as registry:
        with RegistryClient(store=store, credentials=OWN, plain_http=True, resume=NoResume()) as client:
            client.push(f"{registry.host}/{NAME}:v1", source="my-llama")
        own = GivenCredential(OWN) if request.param == "the gateway's login" else nobody()
        settings = settings_for(
            store_of(tmp_path / "2"), default_registry=registry.host, plain_http=True, pull_key=KEY, credentials=own
        )
        with Gateway(settings) as gateway:
            yield Reader(tmp_path / "reader", f"127.0.0.1:{gateway.port}")


LAYERS: Final = (noise(2 * MIB, 8), b"a template")
OCI: Final = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(CONFIG, "application/vnd.ollama.image.config"),
        "layers": [descriptor(layer) for layer in LAYERS],
    }
).encode()


@pytest.mark.skipif(CRANE is None, reason="crane is missing: make test-all gets it where Go is on the PATH")
def test_crane_pulls(reader: Reader) -> None:
    name = f"{reader.host}/{NAME}"
    assert reader.run(CRANE, "manifest", "--insecure", f"{name}:v1") == OCI
    for blob in (*LAYERS, CONFIG):
        assert reader.run(CRANE, "blob", "--insecure", f"{name}@{digest_of(blob)}") == blob
    assert reader.run(CRANE, "ls", "--insecure", name) == b"v1\n"
    assert reader.run(CRANE, "digest", "--insecure", f"{name}:v1").decode().strip() == digest_of(OCI)


@pytest.mark.skipif(SKOPEO is None, reason="skopeo is missing: apt-get install skopeo")
def test_skopeo_pulls(reader: Reader, tmp_path: Path) -> None:
    source, copy = f"docker://{reader.host}/{NAME}:v1", tmp_path / "copy"
    more = ("--authfile", reader.folder / "config.json")
    reader.run(
        SKOPEO,
        "--insecure-policy",
        "copy",
        *more,
        "--src-tls-verify=false",
        "--preserve-digests",
        source,
        f"dir:{copy}",
    )
    assert (copy / "manifest.json").read_bytes() == OCI
    for blob in (*LAYERS, CONFIG):
        assert (copy / digest_of(blob).removeprefix("sha256:")).read_bytes() == blob
    listed = reader.run(SKOPEO, "list-tags", *more, "--tls-verify=false", f"docker://{reader.host}/{NAME}")
    assert json.loads(listed)["Tags"] == ["v1"]


def test_the_library_of_oras_pulls(reader: Reader) -> None:
    client = oras.client.OrasClient(hostname=reader.host, insecure=True, auth_backend="basic")
    client.auth.set_basic_auth(*LOGIN)
    name = f"{reader.host}/{NAME}:v1"
    assert client.get_manifest(name) == json.loads(OCI)
    for blob in (*LAYERS, CONFIG):
        assert client.get_blob(client.get_container(name), digest_of(blob)).content == blob


@pytest.mark.skipif(ORAS is None, reason="oras is missing: make test-all gets it where Go is on the PATH")
def test_oras_pulls(reader: Reader, tmp_path: Path) -> None:
    more = ("--registry-config", reader.folder / "config.json", "--plain-http")
    name = f"{reader.host}/{NAME}"
    assert reader.run(ORAS, "manifest", "fetch", *more, f"{name}:v1") == OCI
    for blob in (*LAYERS, CONFIG):
        assert reader.run(ORAS, "blob", "fetch", *more, "--output", "-", f"{name}@{digest_of(blob)}") == blob
    layout = tmp_path / "layout"
    reader.run(ORAS, "copy", "--from-plain-http", "--from-registry-config", reader.folder / "config.json",
               f"{name}:v1", "--to-oci-layout", f"{layout}:v1")  # fmt: skip
    assert (layout / "blobs" / "sha256" / digest_of(LAYERS[0]).removeprefix("sha256:")).read_bytes() == LAYERS[0]

"""Clients of Ollama's push API push through the gateway unmodified, and the registry holds the model."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import ollama
import pytest
from tests.gateway.clients.documentation_samples import sample
from tests.support.blobs import digest_of
from tests.support.gateway import Gateway, settings_for, store_of
from tests.support.stores import CONFIG

from ollama_push.testing.registry import Auth, BasicAuth, EmbeddedRegistry, TokenAuth

pytestmark = [pytest.mark.slow, pytest.mark.process]

_NPM_CLIENT: Final = Path(__file__).parent / "clients" / "npm_client.mjs"
_NPM_PACKAGE: Final = "ollama@0.6"
_LAYERS: Final = (bytes(range(256)) * 8192, b"a template", b'{"stop":["<end>"]}')
_STORED: Final = "registry.ollama.ai/myuser"
_PATIENCE_SECONDS: Final = 120.0
"""For compilers and package managers on a busy machine; nothing waits for it otherwise."""


def _needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def _ran(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    # Loopback needs no proxy, and curl, requests and Go would ask one.
    environ = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False
    )


def _said(command: Sequence[str], folder: Path) -> list[str]:
    done = _ran(command, folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def _assert_holds(registry: EmbeddedRegistry, store: Path, *models: str, host: str = "registry.ollama.ai") -> None:
    for model in models:
        raw = (store / "models" / "manifests" / host / "myuser" / model / "latest").read_bytes()
        assert registry.manifest(f"myuser/{model}", "latest") == raw
    for data in (*_LAYERS, CONFIG):
        assert registry.blob(digest_of(data)) == data
    assert registry.sessions() == []


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        yield registry


@pytest.fixture
def gateway(registry: EmbeddedRegistry, tmp_path: Path) -> Iterator[Gateway]:
    store = store_of(tmp_path, f"{_STORED}/my-llama/latest", f"{_STORED}/my-other/latest", layers=_LAYERS)
    with Gateway(settings_for(store, default_registry=registry.host, plain_http=True)) as gateway:
        yield gateway


@_needs("curl")
def test_documented_curl_command_pushes(gateway: Gateway, registry: EmbeddedRegistry, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in _said(["sh", "-c", sample("curl", gateway.port)], tmp_path)]
    assert lines[0] == {"status": "retrieving manifest"}
    assert lines[-2:] == [{"status": "pushing manifest"}, {"status": "success"}]
    _assert_holds(registry, tmp_path, "my-llama")


def test_documented_python_function_pushes(gateway: Gateway, registry: EmbeddedRegistry, tmp_path: Path) -> None:
    said = _said([sys.executable, "-c", sample("Python", gateway.port)], tmp_path)
    assert said[-1].endswith("success")
    assert any("100.0%" in line for line in said)
    _assert_holds(registry, tmp_path, "my-llama")


@_needs("node")
def test_documented_javascript_function_pushes(gateway: Gateway, registry: EmbeddedRegistry, tmp_path: Path) -> None:
    script = tmp_path / "push.mjs"
    script.write_text(sample("JavaScript", gateway.port))
    said = _said(["node", str(script)], tmp_path)
    assert (said[0], *said[-2:]) == ("retrieving manifest", "pushing manifest", "success")
    _assert_holds(registry, tmp_path, "my-llama")


@_needs("go")
def test_documented_go_program_pushes(gateway: Gateway, registry: EmbeddedRegistry, tmp_path: Path) -> None:
    program = tmp_path / "push.go"
    program.write_text(sample("Go", gateway.port))
    said = _said(["go", "run", str(program)], tmp_path)
    assert (said[0], *said[-2:]) == ("retrieving manifest", "pushing manifest", "success")
    _assert_holds(registry, tmp_path, "my-llama")


@pytest.mark.parametrize(
    "auth",
    [
        pytest.param(BasicAuth({"alice": "open-sesame"}), id="basic"),
        pytest.param(
            TokenAuth({"alice": "open-sesame"}, {"alice": {"myuser/my-llama": {"pull", "push"}}}), id="tokens"
        ),
    ],
)
def test_documented_function_pushes_to_a_private_registry_with_its_login(auth: Auth, tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry", auth=auth) as registry:
        store = store_of(tmp_path, f"{registry.host}/myuser/my-llama/latest", layers=_LAYERS)
        with Gateway(settings_for(store)) as gateway:
            code = sample("A private registry", gateway.port, **{"registry.example.com": registry.host})
            refused = _ran([sys.executable, "-c", code.replace("open-sesame", "guessed")], tmp_path)
            said = _said([sys.executable, "-c", code], tmp_path)
        assert "500 Server Error" in refused.stderr
        assert ast.literal_eval(said[-1]) == {"status": "success"}
        _assert_holds(registry, tmp_path, "my-llama", host=registry.host)


def test_official_python_client_pushes(gateway: Gateway, registry: EmbeddedRegistry, tmp_path: Path) -> None:
    with ollama.Client(f"http://127.0.0.1:{gateway.port}", trust_env=False) as client:
        told = list(client.push("myuser/my-llama", stream=True))
        at_once = client.push("myuser/my-other")
    _assert_told_whole(told)
    assert at_once.status == "success"
    _assert_holds(registry, tmp_path, "my-llama", "my-other")


def test_official_async_python_client_pushes(gateway: Gateway, registry: EmbeddedRegistry, tmp_path: Path) -> None:
    async def push() -> tuple[list[ollama.ProgressResponse], ollama.ProgressResponse]:
        async with ollama.AsyncClient(f"http://127.0.0.1:{gateway.port}", trust_env=False) as client:
            told = [part async for part in await client.push("myuser/my-llama", stream=True)]
            return told, await client.push("myuser/my-other")

    told, at_once = asyncio.run(push())
    _assert_told_whole(told)
    assert at_once.status == "success"
    _assert_holds(registry, tmp_path, "my-llama", "my-other")


def test_official_python_client_is_told_why_a_push_fails(gateway: Gateway, registry: EmbeddedRegistry) -> None:
    with ollama.Client(f"http://127.0.0.1:{gateway.port}", trust_env=False) as client:
        with pytest.raises(ollama.ResponseError, match="myuser/absent/latest: no such file or directory") as streamed:
            list(client.push("myuser/absent", stream=True))
        with pytest.raises(ollama.ResponseError) as at_once:
            client.push("myuser/absent")
    assert str(streamed.value.error) == str(at_once.value.error)
    assert at_once.value.status_code == 500
    assert registry.received_bytes == 0


@_needs("node")
@_needs("npm")
def test_official_npm_client_pushes(
    gateway: Gateway, registry: EmbeddedRegistry, npm_folder: Path, tmp_path: Path
) -> None:
    script = npm_folder / _NPM_CLIENT.name
    shutil.copyfile(_NPM_CLIENT, script)
    host = f"http://127.0.0.1:{gateway.port}"
    said = _said(["node", str(script), host, "myuser/my-llama", "myuser/my-other"], npm_folder)
    assert (said[0], *said[-3:]) == ("retrieving manifest", "pushing manifest", "success", "success")
    _assert_holds(registry, tmp_path, "my-llama", "my-other")


@pytest.fixture(scope="session")
def npm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the npm package; with the proxies of this machine, which the registry may be behind."""
    folder = tmp_path_factory.mktemp("npm")
    options = ("--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", "--prefix", str(folder))
    command = ["npm", "install", *options, _NPM_PACKAGE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm does not get {_NPM_PACKAGE} in time")
    if done.returncode:
        pytest.skip(f"npm cannot install {_NPM_PACKAGE}: {done.stderr[:200]}")
    return folder


def _assert_told_whole(told: list[ollama.ProgressResponse]) -> None:
    statuses = [part.status for part in told]
    assert (statuses[0], *statuses[-2:]) == ("retrieving manifest", "pushing manifest", "success")
    full = {part.digest for part in told if part.digest and part.completed == part.total}
    assert full == {digest_of(data) for data in (*_LAYERS, CONFIG)}

"""Uploads of large blobs to a real registry, against ``curl -T`` and ``skopeo copy``, in alternate runs."""

# ruff: noqa: PLC0415 - what makes certificates is only needed for TLS

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

import attrs

__all__ = [
    "Certificate",
    "Run",
    "Upload",
    "measure",
    "missing_programs",
    "new_store",
    "ours",
    "over_tls",
    "random_file",
    "registry",
    "run",
    "side_by_side",
]

MIB: Final = 1024 * 1024
_PROGRAMS: Final = ("docker-registry", "curl", "skopeo")


@attrs.frozen
class Run:
    """What one process cost.

    Attributes:
        wall: Seconds from start to end.
        cpu: Seconds of processor time, its children included.
        peak_mib: Largest resident set; 0 for a program that does not tell.
    """

    wall: float
    cpu: float
    peak_mib: float = 0.0

    @classmethod
    def median(cls, runs: Sequence[Run]) -> Run:
        """Return the median of each figure."""
        return cls(*(statistics.median(column) for column in zip(*map(attrs.astuple, runs), strict=True)))


@attrs.frozen
class Upload:
    """One row: a contender and its median."""

    label: str
    cost: Run


@attrs.frozen
class Certificate:
    """Files of a CA and of what it has signed for 127.0.0.1."""

    ca: Path
    chain: Path
    key: Path

    @classmethod
    def new(cls, folder: Path) -> Certificate:
        """Write all of them into *folder*."""
        import trustme

        authority = trustme.CA()
        made = cls(folder / "ca.pem", folder / "chain.pem", folder / "key.pem")
        signed = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(made.ca)
        signed.private_key_pem.write_to_path(made.key)
        for part in signed.cert_chain_pems:
            part.write_to_path(made.chain, append=True)
        return made


def missing_programs() -> list[str]:
    """Return what must be installed first."""
    return [program for program in _PROGRAMS if shutil.which(program) is None]


def measure(size: int, rounds: int, *, huge: int = 0) -> Iterator[Upload]:
    """Upload one blob of *size* random bytes with each contender, *rounds* times in turn.

    With *huge*, a sparse blob of so many bytes is uploaded once by each of ours.
    """
    with tempfile.TemporaryDirectory(prefix="ollama-push-bench-") as scratch:
        folder = Path(scratch)
        store = new_store(folder / "models", [random_file(folder / "random", size)])
        contenders: dict[str, Callable[[str], Run]] = {
            "curl -T": lambda host: _curl(host, store),
            "skopeo copy": lambda host: _skopeo(host, store, folder / "copy"),
            "RegistryClient": lambda host: ours("sync", host, store),
            "AsyncRegistryClient": lambda host: ours("async", host, store),
        }
        runs: dict[str, list[Run]] = {label: [] for label in contenders}
        for _ in range(rounds):
            for label, upload in contenders.items():
                with registry(folder / "registry") as host:
                    runs[label].append(upload(host))
        for label, costs in runs.items():
            yield Upload(label, Run.median(costs))
        clients = (("RegistryClient", "sync"), ("AsyncRegistryClient", "async"))
        tiny = new_store(folder / "tiny", [random_file(folder / "few", 1000)])
        for label, colour in clients:
            with registry(folder / "registry") as host:
                yield Upload(f"{label}, 1 kB", Run.median([ours(colour, host, tiny) for _ in range(rounds)]))
        if huge:
            shutil.rmtree(store)
            store = new_store(folder / "models", [_sparse_file(folder / "sparse", huge)])
            for label, colour in clients:
                with registry(folder / "registry") as host:
                    yield Upload(f"{label}, {huge // MIB:,} MiB", ours(colour, host, store))


def over_tls(size: int, rounds: int) -> Iterator[Upload]:
    """Upload one blob of *size* random bytes over TLS, *rounds* times in turn."""
    with tempfile.TemporaryDirectory(prefix="ollama-push-bench-") as scratch:
        folder = Path(scratch)
        store = new_store(folder / "models", [random_file(folder / "random", size)])
        certificate = Certificate.new(folder)
        contenders: dict[str, Callable[[str], Run]] = {
            "curl -T": lambda host: _curl(host, store, certificate),
            "RegistryClient": lambda host: ours("sync", host, store, certificate=certificate),
            "AsyncRegistryClient": lambda host: ours("async", host, store, certificate=certificate),
        }
        runs: dict[str, list[Run]] = {label: [] for label in contenders}
        for _ in range(rounds):
            for label, upload in contenders.items():
                with registry(folder / "registry", certificate) as host:
                    runs[label].append(upload(host))
        for label, costs in runs.items():
            yield Upload(f"{label}, TLS", Run.median(costs))


def side_by_side(size: int, layers: int, rounds: int) -> Iterator[Upload]:
    """Upload *layers* blobs of *size* bytes each, one after the other and side by side, in turn."""
    with tempfile.TemporaryDirectory(prefix="ollama-push-bench-") as scratch:
        folder = Path(scratch)
        store = new_store(folder / "models", [random_file(folder / f"random{n}", size) for n in range(layers)])
        runs: dict[int, list[Run]] = {1: [], layers: []}
        for _ in range(rounds):
            for concurrency, costs in runs.items():
                with registry(folder / "registry") as host:
                    costs.append(ours("sync", host, store, concurrency))
        for concurrency, costs in runs.items():
            yield Upload(f"RegistryClient, concurrency {concurrency}", Run.median(costs))


@contextmanager
def registry(data: Path, certificate: Certificate | None = None) -> Iterator[str]:
    """Run Debian's docker-registry (distribution 2.8) on an empty *data*; yield its ``host:port``."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    data.mkdir()
    config = data / "config.yml"
    storage = f"storage: {{filesystem: {{rootdirectory: {data}}}}}"
    tls = "" if certificate is None else f", tls: {{certificate: {certificate.chain}, key: {certificate.key}}}"
    config.write_text(f"version: 0.1\nlog: {{level: error}}\n{storage}\nhttp: {{addr: {host}{tls}}}\n")
    command = ["docker-registry", "serve", str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(host)
            yield host
        finally:
            process.kill()
    shutil.rmtree(data)


def _wait_for(host: str) -> None:
    name, _, port = host.partition(":")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection((name, int(port)), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise TimeoutError(f"docker-registry does not listen at {host}")


def run(*command: str) -> Run:
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        # ru_maxrss would not do: a process inherits it from the one that started it.
        told = process.stdout.read()
        _pid, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command[0])
    return Run(time.perf_counter() - began, used.ru_utime + used.ru_stime, float(told or 0) / 1024)


def ours(colour: str, host: str, store: Path, concurrency: int = 4, certificate: Certificate | None = None) -> Run:
    ca_file = () if certificate is None else (str(certificate.ca),)
    return run(sys.executable, "-m", "bench.uploader", colour, host, str(store), str(concurrency), *ca_file)


def _curl(host: str, store: Path, certificate: Certificate | None = None) -> Run:
    scheme, options = ("http", ()) if certificate is None else ("https", ("--cacert", str(certificate.ca)))
    [blob] = [path for path in (store / "blobs").iterdir() if path.stat().st_size > MIB]
    began = time.perf_counter()
    opened = subprocess.run(
        [
            "curl",
            "-sSf",
            *options,
            "-o",
            "/dev/null",
            "-X",
            "POST",
            "-w",
            "%header{location}",
            f"{scheme}://{host}/v2/b/c/blobs/uploads/",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    url = f"{opened.stdout.strip()}&digest={blob.name.replace('-', ':')}"
    # Expect: is what curl does with large bodies by itself; without it, it is not kept waiting for a second.
    sent = run("curl", "-sSf", *options, "-H", "Expect:", "-o", "/dev/null", "-T", str(blob), url)
    return attrs.evolve(sent, wall=time.perf_counter() - began)


def _skopeo(host: str, store: Path, copy: Path) -> Run:
    if not copy.exists():
        copy.mkdir()
        (copy / "version").write_text("Directory Transport Version: 1.1\n")
        for blob in (store / "blobs").iterdir():
            os.link(blob, copy / blob.name.removeprefix("sha256-"))
        # skopeo does not take Ollama's media types from a folder: the same bytes under OCI's.
        manifest = json.loads(next((store / "manifests").rglob("latest")).read_text())
        manifest["mediaType"] = "application/vnd.oci.image.manifest.v1+json"
        manifest["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json"
        for layer in manifest["layers"]:
            layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar"
        (copy / "manifest.json").write_text(json.dumps(manifest))
    return run(
        *("skopeo", "--insecure-policy", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false"),
        *(f"dir:{copy}", f"docker://{host}/b/c:latest"),
    )


def random_file(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - start)))
    return path


def _sparse_file(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def new_store(root: Path, files: Sequence[Path]) -> Path:
    """Build a model store from *files*, which are moved; return its root."""
    blobs = root / "blobs"
    blobs.mkdir(parents=True)
    config = root / "config"
    config.write_text('{"model_format":"gguf","os":"linux","architecture":"amd64"}')
    descriptors = []
    for file in (*files, config):
        with file.open("rb") as opened:
            hashed = sha256()
            while data := opened.read(MIB):
                hashed.update(data)
        media_type = "application/vnd.ollama.image.model"
        descriptors.append(
            {"mediaType": media_type, "digest": f"sha256:{hashed.hexdigest()}", "size": file.stat().st_size}
        )
        file.rename(blobs / f"sha256-{hashed.hexdigest()}")
    descriptors[-1]["mediaType"] = "application/vnd.docker.container.image.v1+json"
    manifest = root / "manifests" / "registry.ollama.ai" / "library" / "bench" / "latest"
    manifest.parent.mkdir(parents=True)
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    fields = {"schemaVersion": 2, "mediaType": media_type, "config": descriptors[-1], "layers": descriptors[:-1]}
    manifest.write_text(json.dumps(fields))
    return root

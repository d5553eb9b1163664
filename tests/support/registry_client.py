"""A client that does what a test tells it, and nothing of its own."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Self
from urllib.parse import urljoin

import urllib3
from tests.support.blobs import digest_of

from ollama_push.testing.registry import EmbeddedRegistry

REPOSITORY = "myuser/my-llama"
OCTETS = "application/octet-stream"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
PATIENCE = 10.0


def manifest_of(*blobs: bytes, **more: Any) -> bytes:
    """A manifest whose first blob is the config."""
    entries = [{"mediaType": "x/y", "digest": digest_of(blob), "size": len(blob)} for blob in blobs]
    return json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": entries[0], "layers": entries[1:], **more}
    ).encode()


class RawClient:
    """Sends single requests: no retry, no redirect, no login."""

    def __init__(
        self, registry: EmbeddedRegistry, *, headers: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.url = registry.url
        self.headers = dict(headers or {})
        self.pool = urllib3.PoolManager(retries=False, timeout=PATIENCE, ssl_context=tls)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.pool.clear()

    def send(
        self,
        method: str,
        where: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        return self.pool.request(
            method,
            urljoin(self.url, where),
            body=body,
            headers={**self.headers, **(headers or {})},
            redirect=False,
        )

    def start(self, repository: str = REPOSITORY) -> str:
        response = self.send("POST", f"/v2/{repository}/blobs/uploads/")
        assert response.status == 202
        return response.headers["Location"]

    def patch(self, where: str, data: bytes, start: int | None = None) -> urllib3.BaseHTTPResponse:
        headers = {} if start is None else {"Content-Range": f"{start}-{start + len(data) - 1}"}
        return self.send("PATCH", where, data, {"Content-Type": OCTETS, **headers})

    def commit(self, where: str, digest: str, data: bytes = b"") -> urllib3.BaseHTTPResponse:
        return self.send("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest}", data)

    def push(self, data: bytes, repository: str = REPOSITORY) -> str:
        """Push a blob in one go."""
        digest = digest_of(data)
        assert self.commit(self.start(repository), digest, data).status == 201
        return digest

    def put_manifest(
        self, raw: bytes, reference: str = "v1", media_type: str = MANIFEST, repository: str = REPOSITORY
    ) -> urllib3.BaseHTTPResponse:
        return self.send("PUT", f"/v2/{repository}/manifests/{reference}", raw, {"Content-Type": media_type})


def codes(response: urllib3.BaseHTTPResponse) -> list[str]:
    """The error codes of a refusal."""
    return [error["code"] for error in response.json()["errors"]]


def send_and_leave(registry: EmbeddedRegistry, where: str, announced: int, sent: bytes) -> None:
    """PATCH *announced* bytes, send only *sent*, then hang up and wait until the registry has noticed."""
    host, _, port = registry.host.partition(":")
    target = where.removeprefix(registry.url)
    with socket.create_connection((host, int(port)), PATIENCE) as peer:
        peer.sendall(
            f"PATCH {target} HTTP/1.1\r\nHost: {registry.host}\r\nContent-Length: {announced}\r\n\r\n".encode()
        )
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(1) == b""

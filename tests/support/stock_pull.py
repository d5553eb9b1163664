"""A client that pulls as a stock Ollama does, rule by rule, and knows nothing else.

The rules are those of ollama ``server/images.go`` (``PullModel``, ``makeRequestWithRetry``), ``server/auth.go`` and
``server/download.go`` at fb3076099: which redirects are followed, that the address of a blob is read in ranges side by
side and without credentials, that no status of it is looked at, what is kept of a broken part, when a part has stalled.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Final, Self
from urllib.parse import urljoin, urlsplit

import attrs

__all__ = ["PullFailed", "StockPull"]

_MB: Final = 1_000_000
_PARTS: Final = 16
_TRIES: Final = 6
_MOST_REDIRECTS: Final = 10
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ACCEPT: Final = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
_COPY_BYTES: Final = 32 * 1024  # io.Copy
_PATIENCE_SECONDS: Final = 60.0


class PullFailed(Exception):
    """A pull ends; the text is Ollama's."""


class _Stalled(Exception):
    """A part got no bytes for too long."""


class _EndedEarly(Exception):
    """A body ended in order before the part was complete: Go's ``io.EOF``, after which nothing of it counts."""


@attrs.define(eq=False)
class _Part:
    """A part of a blob, as its file describes it."""

    path: Path
    number: int
    offset: int
    size: int
    completed: int = 0

    def write(self) -> None:
        value = {"N": self.number, "Offset": self.offset, "Size": self.size, "Completed": self.completed}
        self.path.write_text(json.dumps(value), "utf-8")

    @classmethod
    def read(cls, path: Path) -> _Part:
        value = json.loads(path.read_text("utf-8"))
        return cls(path, value["N"], value["Offset"], value["Size"], value["Completed"])


@attrs.define(eq=False)
class StockPull:
    """Pulls into a store, over plain HTTP (``--insecure``).

    Attributes:
        store: Its root.
        least_part: Bytes of a part at least, 100 MB as it comes.
        most_part: Bytes of a part at most, 1000 MB as it comes.
        stall_seconds: Without a byte for so long, a part is asked for again.
        second: How long a second of a backoff takes.
        received: Called with the bytes of each piece of a blob that arrived.
        asked: Every request: method, URL, ``Range``.
    """

    store: Path
    least_part: int = 100 * _MB
    most_part: int = 1000 * _MB
    stall_seconds: float = 30.0
    second: float = 1.0
    received: Callable[[int], object] = lambda _size: None
    asked: list[tuple[str, str, str]] = attrs.field(factory=list, init=False)
    most_at_once: int = attrs.field(default=0, init=False)
    _at_once: int = attrs.field(default=0, init=False)
    _guard: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def pull(self, host: str, repository: str, tag: str = "latest") -> bytes:
        """Pull a model; return the bytes of its manifest.

        Raises:
            PullFailed: As Ollama would say it.
        """
        base = f"http://{host}/v2/{repository}"
        with self._request("GET", f"{base}/manifests/{tag}", _ACCEPT) as response:
            raw = response.read()
        manifest = json.loads(raw)
        blobs = [*manifest["layers"], *([manifest["config"]] if manifest.get("config", {}).get("digest") else [])]
        fetched = {blob["digest"] for blob in blobs if not self._fetch(base, blob["digest"])}
        for digest in fetched:
            self._verify(digest)
        path = self.store / "manifests" / host.partition(":")[0] / repository / tag
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
        return raw

    def blob_path(self, digest: str) -> Path:
        """Where a blob is, or will be."""
        return self.store / "blobs" / digest.replace(":", "-")

    # --- one blob

    def _fetch(self, base: str, digest: str) -> bool:
        """Fetch a blob; return whether it was there."""
        path = self.blob_path(digest)
        if path.exists():
            return True
        path.parent.mkdir(parents=True, exist_ok=True)
        url = f"{base}/blobs/{digest}"
        parts = [_Part.read(each) for each in sorted(path.parent.glob(f"{path.name}-partial-*"))]
        parts = parts or list(self._new_parts(path, url))
        whole = path.with_name(f"{path.name}-partial")
        with whole.open("r+b" if whole.exists() else "x+b") as file:
            file.truncate(sum(part.size for part in parts))
        direct = self._direct_url(url)
        with ThreadPoolExecutor(_PARTS) as threads:
            todo = [part for part in parts if part.completed < part.size]
            for done in [threads.submit(self._fetch_part, direct, whole, part) for part in todo]:
                done.result()
        for part in parts:
            part.path.unlink()
        whole.rename(path)
        return False

    def _new_parts(self, path: Path, url: str) -> Iterator[_Part]:
        with self._request("HEAD", url, {}) as response:
            total = int(response.headers.get("Content-Length", "0"))
        size = min(max(total // _PARTS, self.least_part), self.most_part)
        for number, offset in enumerate(range(0, total, size)):
            part = _Part(path.with_name(f"{path.name}-partial-{number}"), number, offset, min(size, total - offset))
            part.write()
            yield part

    def _direct_url(self, url: str) -> str:
        """Return the first redirect to another host name; those within it are followed."""
        with self._request("GET", url, {}, leaves=False) as response:
            if response.status not in (200, 307):
                raise PullFailed(f"unexpected status code {response.status}")
            location = response.headers.get("Location")
            if not location:
                raise PullFailed("http: no Location header in response")
            return urljoin(response.asked_url, location)

    def _fetch_part(self, direct: str, whole: Path, part: _Part) -> None:
        tries, problem = 0, ""
        while tries < _TRIES:
            try:
                self._fetch_chunk(direct, whole, part)
            except _Stalled:
                continue
            except (OSError, HTTPException, _EndedEarly) as exc:
                problem = f"{type(exc).__name__} {exc}"
                time.sleep(self.second * 2**tries)  # a backoff is what Ollama does
                tries += 1
            else:
                return
        raise PullFailed(f"max retries exceeded: {problem}")

    def _fetch_chunk(self, direct: str, whole: Path, part: _Part) -> None:
        """Read the rest of a part. The status is not looked at: whatever comes is taken for the blob."""
        start = part.offset + part.completed
        wanted, got = part.size - part.completed, 0
        headers = {"Range": f"bytes={start}-{part.offset + part.size - 1}"}
        self._count(1)
        try:
            with self._follow("GET", direct, headers, leaves=True, timeout=self.stall_seconds) as response:
                with whole.open("r+b") as file:
                    file.seek(start)
                    try:
                        while got < wanted:
                            piece = response.read1(min(_COPY_BYTES, wanted - got))
                            if not piece:
                                break
                            file.write(piece)
                            got += len(piece)
                            self.received(len(piece))
                    except TimeoutError:
                        raise _Stalled from None
                    except (IncompleteRead, ConnectionError) as exc:
                        part.completed += got
                        part.write()
                        raise OSError("unexpected EOF") from exc
                unexpected = got < wanted and response.length not in (None, 0)
        except TimeoutError:
            raise _Stalled from None
        finally:
            self._count(-1)
        if got < wanted and not unexpected:
            raise _EndedEarly("EOF")
        part.completed += got
        part.write()
        if got < wanted:
            raise OSError("unexpected EOF")

    def _verify(self, digest: str) -> None:
        path = self.blob_path(digest)
        with path.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if found != digest:
            path.unlink()
            raise PullFailed(f"digest mismatch, file must be downloaded again: want {digest}, got {found}")

    # --- requests

    def _request(self, method: str, url: str, headers: dict[str, str], *, leaves: bool = True) -> _Response:
        response = self._follow(method, url, headers, leaves=leaves)
        if response.status == 401:
            response.close()
            realm = response.headers.get("WWW-Authenticate", "").partition('realm="')[2].partition('"')[0]
            there, own = urlsplit(realm).netloc, urlsplit(url).netloc
            if there != own:
                raise PullFailed(f'realm host "{there}" does not match original host "{own}"')
            raise PullFailed("unauthorized: access denied")  # this client has no key
        if response.status == 404:
            response.close()
            raise PullFailed("file does not exist")
        if response.status >= 400:
            with response:
                raise PullFailed(f"{response.status}: {response.read().decode()}")
        return response

    def _follow(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        *,
        leaves: bool,
        timeout: float = _PATIENCE_SECONDS,
    ) -> _Response:
        """Send a request; follow redirects, to other host names only where it may leave."""
        name = urlsplit(url).hostname
        for _ in range(_MOST_REDIRECTS + 1):
            response = self._send(method, url, headers, timeout)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                return response
            target = urljoin(url, location)
            if not leaves and urlsplit(target).hostname != name:
                return response
            response.close()
            url = target
        raise PullFailed("maximum redirects exceeded (10) for directURL")

    def _send(self, method: str, url: str, headers: dict[str, str], timeout: float) -> _Response:
        parts = urlsplit(url)
        assert parts.scheme == "http", "this client speaks plain HTTP"
        with self._guard:
            self.asked.append((method, url, headers.get("Range", "")))
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
        try:
            connection.request(method, f"{parts.path}{f'?{parts.query}' if parts.query else ''}", headers=headers)
            return _Response(connection, connection.getresponse(), url)
        except BaseException:
            connection.close()
            raise

    def _count(self, change: int) -> None:
        with self._guard:
            self._at_once += change
            self.most_at_once = max(self.most_at_once, self._at_once)


class _Response:
    """A response, and its connection, which its block closes."""

    def __init__(self, connection: HTTPConnection, raw: HTTPResponse, url: str) -> None:
        self._connection = connection
        self._raw = raw
        self.status = raw.status
        self.headers = raw.headers
        self.asked_url = url
        self.read = raw.read
        self.read1 = raw.read1

    @property
    def length(self) -> int | None:
        """Bytes of the body that are still to come; ``None`` when it does not say."""
        return self._raw.length

    def close(self) -> None:
        self._raw.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

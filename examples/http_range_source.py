"""A model that lies on a web server, read by ranges: as S3, GCS or nginx serve files.

Below the URL there are ``manifest.json`` and ``sha256-<digits>`` for each blob. It keeps every promise of a source, as
``tests/contract/test_examples.py`` shows.

    source = HttpRangeSource("https://bucket.s3.amazonaws.com/my-llama")
    with RegistryClient() as client:
        client.copy(source, "registry.example.com/team/my-llama:v1")
"""

from __future__ import annotations

from collections.abc import Iterator

import urllib3

from ollama_push.core.errors import UsedAfterClose
from ollama_push.core.facts import PlaceProblem, Side
from ollama_push.core.registry.places import place_failed


class HttpRangeSource:
    """The source; an entry point ``http-ranges = "this_module:HttpRangeSource"`` makes it ``http-ranges:URL``."""

    def __init__(self, url: str) -> None:
        self.label = url.partition("?")[0]
        self._url = url.rstrip("/")
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=10, read=60))
        self._closed = False

    def read_manifest(self) -> bytes:
        return b"".join(self._get("manifest.json", {}, ""))

    def read_blob(self, digest: str, offset: int, size: int, /) -> Iterator[bytes]:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)
        return self._range(digest, offset, size) if size else iter(())

    def _range(self, digest: str, offset: int, size: int) -> Iterator[bytes]:
        left = size
        headers = {"Range": f"bytes={offset}-{offset + size - 1}"}
        for piece in self._get(digest.replace(":", "-"), headers, digest):
            left -= len(piece)
            yield piece
        if left:
            raise place_failed(Side.SOURCE, self.label, PlaceProblem.ENDS_EARLY, digest=digest)

    def _get(self, path: str, headers: dict[str, str], digest: str) -> Iterator[bytes]:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)
        try:
            response = self._pool.request("GET", f"{self._url}/{path}", headers=headers, preload_content=False)
            try:
                if response.status != (206 if headers else 200):
                    raise self._refused(response.status, digest)
                yield from response.stream(65536)
            finally:
                response.close()  # a read that is left early keeps no connection
        except urllib3.exceptions.HTTPError as exc:
            raise place_failed(Side.SOURCE, self.label, PlaceProblem.BROKEN, words=str(exc)) from exc

    def _refused(self, status: int, digest: str) -> Exception:
        problems = {404: PlaceProblem.NO_BLOB if digest else PlaceProblem.NO_MODEL, 416: PlaceProblem.ENDS_EARLY}
        problem = problems.get(status, PlaceProblem.BROKEN)
        return place_failed(Side.SOURCE, self.label, problem, digest=digest, words=f"HTTP {status}")

    def close(self) -> None:
        self._closed = True
        self._pool.clear()

"""A registry of one blob that sends it as badly as some do: in pieces, without ranges, or not to its end."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import attrs
from tests.support.blobs import digest_of

__all__ = ["BlobPeer", "blob_peer"]

_PATIENCE_SECONDS: Final = 20.0
_RANGE: Final = re.compile(r"bytes=([0-9]+)-([0-9]*)")


@attrs.define(eq=False)
class BlobPeer:
    """What it does, and what it has seen.

    Attributes:
        blob: What it has.
        most_bytes: Of one response, after which the connection breaks; ``None`` for no limit.
        knows_ranges: Whether it sends a range; else the whole.
        tells_size: Whether the response to ``HEAD`` says how large the blob is.
        tells_length: Whether that to ``GET`` does.
        shifts: By how many bytes a range begins later than it should.
        holds: Whether it stops in mid-blob, until the client closes the connection.
        holds_size: Whether it does so instead of responding to a ``HEAD``.
        refuses_after: Requests for the blob after which it says 404.
        ranges: The ranges that were asked for.
        gone: Set when a client closed a connection on which it held.
        sending: Set when it holds.
    """

    blob: bytes
    most_bytes: int | None = None
    knows_ranges: bool = True
    tells_size: bool = True
    tells_length: bool = True
    shifts: int = 0
    holds: bool = False
    holds_size: bool = False
    refuses_after: int | None = None
    ranges: list[str] = attrs.field(factory=list)
    gone: threading.Event = attrs.field(factory=threading.Event)
    sending: threading.Event = attrs.field(factory=threading.Event)
    host: str = ""

    @property
    def digest(self) -> str:
        """Of the blob."""
        return digest_of(self.blob)


def _handler(peer: BlobPeer) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - what a peer does, case by case
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            if peer.holds_size:
                self._hold()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(peer.blob) if peer.tells_size else 0))
            self.end_headers()

        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            peer.ranges.append(asked)
            if peer.refuses_after is not None and len(peer.ranges) > peer.refuses_after:
                self.send_error(404)
                return
            found = _RANGE.fullmatch(asked) if peer.knows_ranges else None
            start = int(found[1]) + peer.shifts if found else 0
            end = int(found[2]) + 1 if found and found[2] else len(peer.blob)
            self.send_response(206 if found else 200)
            if found:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(peer.blob)}")
            if peer.tells_length:
                self.send_header("Content-Length", str(end - start))
            else:
                self.close_connection = True
            self.end_headers()
            self._send(peer.blob[start:end])

        def _send(self, data: bytes) -> None:
            if peer.holds:
                self.wfile.write(data[:1000])
                self._hold()
                return
            limit = len(data) if peer.most_bytes is None else peer.most_bytes
            self.wfile.write(data[:limit])
            self.close_connection = self.close_connection or limit < len(data)

        def _hold(self) -> None:
            peer.sending.set()
            with contextlib.suppress(OSError):
                self.connection.settimeout(_PATIENCE_SECONDS)
                if not self.connection.recv(1):
                    peer.gone.set()
            self.close_connection = True

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def blob_peer(peer: BlobPeer) -> Iterator[BlobPeer]:
    """Let *peer* listen."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(peer))
    server.daemon_threads = True
    peer.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_PATIENCE_SECONDS)

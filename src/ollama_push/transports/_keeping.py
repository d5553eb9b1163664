"""Tells a request that died with a kept connection, unread, from one that its peer broke off."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import attrs

from ollama_push.core.errors import ConnectionLost, TransportError

__all__ = ["SentRequest"]

_BUFFERED_BYTES: Final = 4 << 20
"""Most of a body that nobody need have read. Source: tcp(7), ``tcp_wmem``: the largest buffer of a sender. That of a
receiver grows only while its program reads."""
_SOON_SECONDS: Final = 2.0
"""A peer that has closed a connection responds to what still comes by a reset, after one way there and back."""


@attrs.define(eq=False)
class SentRequest:
    """What is known of a request without a response.

    Attributes:
        fresh: Whether it wants a new connection.
        bodiless: Whether its response has no body, whatever follows its head (RFC 9112, 6.3).
        head: What has come of the head of a bodiless response.
        connected: Whether it got a connection, through a proxy and with TLS where need be.
        kept: Whether that connection had served another request.
        answered: Whether a byte of a response has arrived.
        body_bytes: Bytes of its body that were handed to the operating system.
    """

    _clock: Callable[[], float] = time.monotonic
    fresh: bool = False
    bodiless: bool = False
    head: bytearray = attrs.field(factory=bytearray, repr=False)
    connected: bool = False
    kept: bool = False
    answered: bool = False
    body_bytes: int = 0
    _began: float = attrs.field(default=0.0, init=False)

    def begin(self, *, kept: bool) -> None:
        """Note that it is sent now, by a connection that is *kept* or new."""
        self.connected, self.kept, self._began = True, kept, self._clock()

    def judged(self, error: TransportError) -> TransportError:
        """Return *error*, which this request has ended in, with what it says of its peer."""
        if isinstance(error, ConnectionLost):
            soon = self._clock() - self._began <= _SOON_SECONDS
            error.unread = self.kept and not self.answered and soon and self.body_bytes <= _BUFFERED_BYTES
        return error

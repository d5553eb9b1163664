"""What both servers of the kit do to a socket."""

from __future__ import annotations

import socket
import struct
from asyncio.trsock import TransportSocket
from typing import Final

__all__ = ["reset_on_close"]

_LINGER_ON_FOR_0_S: Final = struct.pack("ii", 1, 0)  # struct linger: l_onoff, l_linger


def reset_on_close(connection: socket.socket | TransportSocket) -> None:
    """Let the end of *connection* be an RST instead of a FIN.

    Source: socket(7), ``SO_LINGER``; a linger time of 0 discards what is unsent.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ON_FOR_0_S)

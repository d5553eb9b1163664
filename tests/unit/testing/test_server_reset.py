"""A socket can be made to end with a reset."""

from __future__ import annotations

import socket

import pytest

from ollama_push.testing.server import reset_on_close


def test_the_peer_sees_a_reset_instead_of_the_end() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), 5) as peer,
    ):
        connection, _address = listener.accept()
        reset_on_close(connection)
        connection.close()
        with pytest.raises(ConnectionResetError):
            peer.recv(1)

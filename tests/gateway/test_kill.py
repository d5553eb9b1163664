"""``kill -9`` of the gateway in the middle of a push: the next gateway goes on where that one was."""

from __future__ import annotations

import hashlib
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from tests.support.blobs import MIB
from tests.support.counting_proxy import CountingProxy
from tests.support.gateway_process import GatewayProcess
from tests.support.large_models import put_large_model

from ollama_push.testing.registry import EmbeddedRegistry

pytestmark = [
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL"),
]

_NAME: Final = "myuser/my-llama"
_LAYER_BYTES: Final = 48 * MIB
_MOMENTS: Final = (1 * MIB, 5 * MIB + 7, 11 * MIB)
"""So many more bytes has the registry got at each kill; what is in buffers then arrives, too."""
_PATIENCE_SECONDS: Final = 30.0


def _die_in_the_middle(gateway: GatewayProcess, proxy: CountingProxy, more_bytes: int) -> None:
    """Push, and kill the gateway exactly when the registry got *more_bytes* more."""
    dead = threading.Event()

    def kill() -> None:
        gateway.kill()
        dead.set()

    proxy.at(more_bytes, kill)
    with gateway, closing(gateway.start_push(_NAME)):
        assert dead.wait(_PATIENCE_SECONDS)
    proxy.wait_until_idle()


def test_push_goes_on_after_kill_9_of_the_gateway(tmp_path: Path) -> None:
    model = put_large_model(tmp_path / "models", _LAYER_BYTES)
    put = tmp_path / "models" / "manifests" / "registry.ollama.ai"
    (put / "library").rename(put / "myuser")
    with EmbeddedRegistry(tmp_path / "registry") as registry, CountingProxy(registry.host) as proxy:

        def new_gateway() -> GatewayProcess:
            return GatewayProcess(model.root, tmp_path / "uploads", proxy.host)

        for more_bytes in _MOMENTS:
            _die_in_the_middle(new_gateway(), proxy, more_bytes)
        received = registry.received_bytes
        assert sum(_MOMENTS) <= received < _LAYER_BYTES
        with new_gateway() as gateway:
            lines = gateway.push(_NAME)
            sent = gateway.metric("ollama_push_delivered_bytes_total", how="sent")
            resumed = gateway.metric("ollama_push_delivered_bytes_total", how="resumed")
        assert lines[-1] == {"status": "success"}
        assert registry.manifest(_NAME, "latest") == model.raw
        with registry.blob_path(model.layers[0]).open("rb") as blob:
            assert f"sha256:{hashlib.file_digest(blob, 'sha256').hexdigest()}" == model.layers[0]
        # One whose opening a killed gateway had no time to note down is nobody's, and empty.
        assert [session.size for session in registry.sessions() if session.size] == []
        assert registry.received_bytes <= model.total_bytes + MIB
        assert sent == registry.received_bytes - received
        assert resumed >= sum(_MOMENTS)

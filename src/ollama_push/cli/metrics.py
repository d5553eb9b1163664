"""Metrics of the command's own pushes: served while it runs, or written to a file at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from ollama_push.cli.addresses import parse_address, system_message
from ollama_push.cli.display.streams import say
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.ports import Hook

__all__ = ["metrics_hooks"]


@contextmanager
def metrics_hooks(port: str | None, file: str | None) -> Iterator[list[Hook]]:
    """Yield the hooks that measure; none if neither *port* nor *file* is given.

    Args:
        port: ``[ADDRESS:]PORT`` to serve on; the default address is loopback.
        file: Text file for node_exporter, replaced atomically.

    Raises:
        InvalidSetting: The extra is missing, the port is taken, or the file cannot be written; before a push begins.
    """
    if port is None and file is None:
        yield []
        return
    try:
        from prometheus_client import CollectorRegistry, generate_latest, start_http_server

        from ollama_push.contrib.metrics import MetricsHook, PrometheusSink
    except ImportError as exc:
        option = "--metrics-file" if port is None else "--metrics-port"
        raise InvalidSetting(option, port or file, "needs: pip install 'ollama-push[prometheus]'") from exc

    registry = CollectorRegistry()
    hook = MetricsHook(PrometheusSink(registry))
    if file is not None:
        _write(file, generate_latest(registry))
    server = None
    if port is not None:
        address, number = parse_address("--metrics-port", port)
        try:
            server, thread = start_http_server(number, address, registry)
        except OSError as exc:
            problem = f"cannot listen there: {system_message(exc)}; choose another"
            raise InvalidSetting("--metrics-port", port, problem) from exc
    try:
        yield [hook]
    finally:
        if server is not None:
            server.shutdown()
            server.server_close()
            thread.join()
        if file is not None:
            try:
                _write(file, generate_latest(registry))
            except InvalidSetting as exc:
                # A warning only: the file could be written before the pushes, and the pushes are done.
                say(f"warning: {exc}")


def _write(file: str, text: bytes) -> None:
    # Not by prometheus_client (seen in 0.26, "exposition.py"): the name of its temporary file can be guessed, and it is
    # written through a link that another user has put there.
    temporary = Path(f"{file}.{token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as output:
            output.write(text)
        temporary.replace(file)
    except OSError as exc:
        with suppress(OSError):
            temporary.unlink()
        raise InvalidSetting("--metrics-file", file, f"cannot be written: {system_message(exc)}") from exc

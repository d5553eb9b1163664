"""Metrics of the command's own pushes: served while it runs, or written to a file at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
        from prometheus_client import CollectorRegistry, start_http_server, write_to_textfile

        from ollama_push.contrib.metrics import MetricsHook, PrometheusSink
    except ImportError as exc:
        option = "--metrics-file" if port is None else "--metrics-port"
        raise InvalidSetting(option, port or file, "needs: pip install 'ollama-push[prometheus]'") from exc

    registry = CollectorRegistry()
    hook = MetricsHook(PrometheusSink(registry))
    if file is not None:
        _write(lambda: write_to_textfile(file, registry), file)
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
                _write(lambda: write_to_textfile(file, registry), file)
            except InvalidSetting as exc:
                # A warning only: the file could be written before the pushes, and the pushes are done.
                say(f"warning: {exc}")


def _write(write: Callable[[], None], file: str) -> None:
    try:
        write()
    except OSError as exc:
        raise InvalidSetting("--metrics-file", file, f"cannot be written: {system_message(exc)}") from exc

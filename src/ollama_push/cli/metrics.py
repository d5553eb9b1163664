"""Metrics of the command's own pushes: served while it runs, or written to a file at its end."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from ollama_push.cli.addresses import parse_address, system_message
from ollama_push.cli.display.streams import say
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.ports import Hook
from ollama_push.local.files import write_public

__all__ = ["metrics_hooks"]


@contextmanager
def metrics_hooks(port: str | None, file: str | None) -> Iterator[list[Hook]]:
    """Yield the hooks that measure; none if neither *port* nor *file* is given.

    Args:
        port: ``[ADDRESS:]PORT`` to serve on; the default address is loopback.
        file: Text file for node_exporter, replaced atomically; or a pipe or a device.

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
    with nullcontext() if file is None else _written_to(file, lambda: generate_latest(registry)):
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


@contextmanager
def _written_to(file: str, metrics: Callable[[], bytes]) -> Iterator[None]:
    """Write *metrics* to *file* at the end of the block; what shows then that it cannot be written is a warning.

    A regular file is replaced, and that is tried at the beginning, too. A pipe or a device is opened at the beginning
    and written once; so is the command's own output, which may be a regular file: replaced, it would be lost.

    Raises:
        InvalidSetting: It cannot be written; before the block.
    """
    path = Path(file)
    try:
        # Not by prometheus_client (seen in 0.26, "exposition.py"): the name of its temporary file can be guessed, and
        # it is written through a link that another user has put there.
        output = _opened(path) if _is_written_in_place(path) else None
        if output is None:
            write_public(path, metrics())
    except OSError as exc:
        raise _unwritable(file, exc) from exc
    try:
        yield
    finally:
        try:
            if output is None:
                write_public(path, metrics())
            else:
                with open(output, "wb") as stream:  # noqa: PTH123 - a descriptor, not a path
                    stream.write(metrics())
        except OSError as exc:
            # The pushes are done, and their exit code counts.
            say(f"warning: {_unwritable(file, exc)}")


def _is_written_in_place(path: Path) -> bool:
    try:
        state = path.stat()
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(state.st_mode) or any(os.path.samestat(state, own) for own in _own_outputs())


def _own_outputs() -> Iterator[os.stat_result]:
    for descriptor in (1, 2):
        with suppress(OSError):  # closed by the parent process
            yield os.fstat(descriptor)


def _opened(path: Path) -> int:
    # O_NONBLOCK: otherwise opening a pipe waits for a reader, perhaps for ever (POSIX, open()).
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0))
    os.set_blocking(descriptor, True)
    return descriptor


def _unwritable(file: str, exc: OSError) -> InvalidSetting:
    problem = "nothing reads this pipe" if exc.errno == errno.ENXIO else system_message(exc)
    return InvalidSetting("--metrics-file", file, f"cannot be written: {problem}")

"""Run by an interpreter of its own: the whole core at work while everything impure raises.

``python guarded_core.py core`` must end with 0; ``python guarded_core.py NAME`` commits one impurity of
``IMPURITIES`` on purpose and must not. The guard is up before the first module of ours is imported.
"""

from __future__ import annotations

import builtins
import datetime as dt
import importlib.util
import os
import random
import runpy
import secrets
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

IMPURITIES: Final[dict[str, Callable[[], object]]] = {
    "open": lambda: open(__file__),  # noqa: PTH123, SIM115 - must raise
    "os.open": lambda: os.open(__file__, os.O_RDONLY),
    "listdir": lambda: os.listdir("."),  # noqa: PTH208 - must raise
    "print": lambda: print("x"),  # noqa: T201 - must raise
    "socket": socket.socket,
    "getaddrinfo": lambda: socket.getaddrinfo("localhost", 80),
    "time": lambda: time.time(),  # noqa: PLW0108 - looked up under the guard
    "monotonic": lambda: time.monotonic(),  # noqa: PLW0108 - looked up under the guard
    "sleep": lambda: time.sleep(0),
    "now": lambda: dt.datetime.now(dt.UTC),
    "random": lambda: random.random(),  # noqa: PLW0108 - looked up under the guard
    "randint": lambda: random.randint(1, 2),
    "urandom": lambda: os.urandom(1),
    "uuid": lambda: uuid.uuid4(),  # noqa: PLW0108 - looked up under the guard
    "token": lambda: secrets.token_hex(),  # noqa: PLW0108 - looked up under the guard
    "environ": lambda: os.environ["HOME"],
    "getenv": lambda: os.getenv("HOME"),
    "thread": lambda: threading.Thread(target=repr).start(),
    "module": lambda: exec(compile("import time; time.time()", "module.py", "exec")),
    "subprocess": lambda: subprocess.run(["true"], check=False),
}

# Functions that raise no audit event.
_REPLACED: Final = {
    time: ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "sleep",
           "gmtime", "localtime", "thread_time"),
    os: ("urandom", "getrandom", "getpid", "getcwd", "stat", "fork"),
    random: ("random", "randint", "choice", "uniform", "randrange", "shuffle", "seed", "getrandbits", "SystemRandom"),
    threading: ("Thread", "Timer"),
    builtins: ("print", "input"),
}  # fmt: skip


class Impure(BaseException):
    """The guard fired; a BaseException, so that no handler of ours hides it."""


class _NoEnvironment(MutableMapping[str, str]):
    def _raise(self, *_: object) -> NoReturn:
        raise Impure("os.environ")

    __getitem__ = __setitem__ = __delitem__ = __len__ = _raise

    def __iter__(self) -> Iterator[str]:
        self._raise()


class Guard:
    """Raises ``Impure`` while it is up; what the import system itself does is let through."""

    def __init__(self) -> None:
        self.up = False

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.up or event in _HARMLESS or event.startswith(("object.", "sys._", "code.", "cpython.")):
            return
        if not _importing(sys._getframe()):
            raise Impure(f"{event} {arguments!r:.80}")

    def profile(self, frame: FrameType, event: str, called: Any) -> None:
        # Some cannot be replaced, or were bound before they were; calling them can be seen.
        if self.up and event == "c_call" and not _importing(frame):
            name = getattr(called, "__name__", "")
            if name in _SEEN or getattr(called, "__module__", "") in ("time", "_random"):
                raise Impure(name)

    def raise_it(self) -> None:
        def refusing(module: Any, name: str) -> Callable[..., object]:
            original = getattr(module, name)

            def refuse(*arguments: Any, **named: Any) -> object:
                if self.up and not _importing(sys._getframe()):
                    raise Impure(f"{module.__name__}.{name}")
                return original(*arguments, **named)

            return refuse

        for module, names in _REPLACED.items():
            for name in names:
                setattr(module, name, refusing(module, name))
        os.environ = _NoEnvironment()  # type: ignore[assignment]  # noqa: B003 - nobody may look
        sys.addaudithook(self.audit)
        sys.setprofile(self.profile)
        self.up = True


_SEEN: Final = frozenset({"now", "utcnow", "today", "urandom", "getrandom"})

# Compiling and importing: what attrs does to build a class, and what "import" does.
_HARMLESS: Final = frozenset({"import", "compile", "exec", "marshal.loads", "sys.setprofile", "builtins.id"})


def _importing(frame: FrameType | None) -> bool:
    """Say whether the innermost caller is the import system, not a module that it is running."""
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith("<frozen ")


def core_modules() -> list[str]:
    """Return the names of all modules of the core, none of them imported."""
    spec = importlib.util.find_spec("ollama_push")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent.parent
    files = (path.relative_to(root) for path in root.glob("ollama_push/core/**/*.py"))
    return sorted(".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files)


def main(what: str) -> None:
    """Do *what* under the guard."""
    names, guard = core_modules(), Guard()
    assert len(names) > 20
    assert not set(names) & set(sys.modules)
    guard.raise_it()
    try:
        if what in IMPURITIES:
            IMPURITIES[what]()
        else:
            for name in names:
                importlib.import_module(name)
            for script in ("guarded_server_push", "guarded_registry_push"):
                runpy.run_path(__file__.replace("guarded_core", script))
    finally:
        guard.up = False


if __name__ == "__main__":
    main(sys.argv[1])

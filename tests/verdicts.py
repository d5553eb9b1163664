"""Prints the catalogue of misbehaviours with our verdict beside the official client's, on the same bytes.

``python -m tests.verdicts [WORD ...]`` shows the cases whose theme or name holds one of the words.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Final

import ollama
from tests.catalogue.case import Case
from tests.catalogue.drivers import play, served
from tests.catalogue.table import THEMES
from tests.support.server_push import MODEL, Told

__all__ = ["HANGS", "counted", "is_failed", "main", "official_verdict", "our_verdict"]

_BOUND_SECONDS: Final = 1.0
_WIDTHS: Final = (42, 37, 37)
_OK: Final = "OK"
HANGS: Final = "hangs"


def main(words: Sequence[str] = ()) -> None:
    """Print one line a case, and how often each client calls a failed push a success."""
    official, ours = f"ollama {version('ollama')} (official)", "ollama-push"
    _print_row("what the server does", ours, official)
    of_failed: dict[str, list[str]] = {official: [], ours: []}
    for theme, case in _chosen(words):
        verdicts = {official: official_verdict(case), ours: our_verdict(case)}
        _print_row(f"{theme}: {case.id}", verdicts[ours], verdicts[official])
        if is_failed(case):
            for client, verdict in verdicts.items():
                of_failed[client].append(verdict)
    for client, ended in of_failed.items():
        print(f"{client}: {counted(ended)}")  # noqa: T201 - the table is what this is for


def is_failed(case: Case) -> bool:
    """Whether nobody may call this push a success: where one was said that nobody had to hear, OK is nobody's fault."""
    return case.expected.error is not None and not case.says_success


def counted(verdicts: Sequence[str]) -> str:
    """Return how many of the *verdicts* on failed pushes are wrong, in words."""
    return (
        f"of {len(verdicts)} failed pushes, {verdicts.count(_OK)} reported as OK,"
        f" {verdicts.count(HANGS)} never reported"
    )


def our_verdict(case: Case) -> str:
    """Return how a push through ``PushClient`` ends."""
    return _told_in_words(play(case, "urllib3", stream=case.ways[0]))


def official_verdict(case: Case, bound_seconds: float = _BOUND_SECONDS) -> str:
    """Return how the same push through the official client ends, which has no time limit unless told: it gets one."""
    verdict: list[str] = []
    read = threading.Event()

    def push(host: str) -> None:
        try:
            _push_officially(host, read, stream=case.ways[0])
        except Exception as exc:  # noqa: BLE001 - a peer may raise anything
            verdict.append(_in_words(exc))
        else:
            verdict.append(_OK)

    with served(case, read) as host:
        pushing = threading.Thread(target=push, args=(host,), daemon=True)
        pushing.start()
        pushing.join(bound_seconds)
        ended = verdict[0] if verdict else HANGS
    # The server is gone: whoever hung gets an end now.
    pushing.join()
    return ended


def _push_officially(host: str, read: threading.Event, *, stream: bool) -> None:
    with ollama.Client(host=host, trust_env=False) as client:
        if not stream:
            client.push(MODEL)
            return
        for _ in client.push(MODEL, stream=True):
            read.set()


def _chosen(words: Sequence[str]) -> Iterator[tuple[str, Case]]:
    for theme, cases in THEMES.items():
        for case in cases:
            if not words or any(word in f"{theme}: {case.id}" for word in words):
                yield theme, case


def _told_in_words(told: Told) -> str:
    return _OK if told.error is None else _in_words(told.error)


def _in_words(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"


def _print_row(*cells: str) -> None:
    shown = [_fit(cell, width) for cell, width in zip(cells, _WIDTHS, strict=True)]
    print("  ".join(shown).rstrip())  # noqa: T201 - the table is what this is for


def _fit(text: str, width: int) -> str:
    """Return *text* on one line of printable characters, exactly *width* wide."""
    line = "".join(character if character.isprintable() else " " for character in " ".join(text.split()))
    return line.ljust(width) if len(line) <= width else f"{line[: width - 3]}..."


if __name__ == "__main__":
    main(sys.argv[1:])

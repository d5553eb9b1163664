"""``--report FILE``: one JSON object a model, as its push ends, from which the next run may go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from ollama_push.cli.display.json_lines import failure_fields
from ollama_push.cli.exit_codes import BUG, INTERRUPTED, OK
from ollama_push.cli.messages import MessageFormatter
from ollama_push.core.batch import PushItem, PushVerdict
from ollama_push.core.errors import InvalidSetting, OllamaPushError

__all__ = ["ReportFile"]


class ReportFile:
    """Appends verdicts to a file; a context manager. Without a path it does nothing.

    Args:
        path: The file, which may hold the verdicts of earlier runs.
        words: Formats errors.

    Attributes:
        problem: Why it can be written no more; ``None`` while it can.

    Raises:
        InvalidSetting: It cannot be read or written.
    """

    def __init__(self, path: str | None, words: MessageFormatter) -> None:
        self.problem: str | None = None
        self._words = words
        self._file: TextIO | None = None
        self._pushed: dict[str, str] = {}
        if path is None:
            return
        try:
            # A pipe or a device is written alone: reading one might not end.
            before = Path(path).read_text("utf-8", "replace") if Path(path).is_file() else ""
            self._pushed = _pushed_in(before)
            self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115, PTH123 - closed by __exit__
            if before and not before.endswith("\n"):
                self._file.write("\n")  # the process before was killed in the middle of a line
        except OSError as exc:
            raise InvalidSetting("--report", path, (exc.strerror or str(exc)).lower()) from exc

    def digest_of(self, model: str) -> str | None:
        """Return the digest of the manifest that *model* was pushed with, in the last line about it."""
        return self._pushed.get(model)

    def add(self, verdict: PushVerdict) -> None:
        """Write *verdict*; if that fails, note the problem and write no more: the pushes matter more."""
        self._write(self._fields(verdict))

    def add_cancelled(self, item: PushItem) -> None:
        """Write that the push of *item* was cancelled: it has no verdict."""
        self._write({"model": item.model, "source": item.source, "verdict": "cancelled", "exit_code": INTERRUPTED})

    def _write(self, fields: Mapping[str, Any]) -> None:
        if self._file is None or self.problem is not None:
            return
        try:
            self._file.write(f"{json.dumps(fields, separators=(',', ':'))}\n")
            self._file.flush()
        except OSError as exc:
            self.problem = (exc.strerror or str(exc)).lower()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._file is not None:
            with suppress(OSError):  # of what is still buffered, which is known
                self._file.close()

    def _fields(self, verdict: PushVerdict) -> dict[str, Any]:
        item, receipt, error = verdict.item, verdict.receipt, verdict.error
        common: dict[str, Any] = {"model": item.model, "source": item.source}
        if receipt is not None:
            return {
                **common,
                "verdict": "succeeded",
                "exit_code": OK,
                "manifest_digest": receipt.manifest_digest,
                "total_bytes": receipt.total_bytes,
                "sent_bytes": receipt.sent_bytes,
                "verified": receipt.verified,
                "elapsed_seconds": round(receipt.elapsed_seconds, 3),
            }
        if isinstance(error, OllamaPushError):
            fields = failure_fields(error, self._words.format(error), error.attempts)
        else:
            fields = {"error": type(error).__name__, "message": repr(error), "exit_code": BUG}
        return {**common, "verdict": "failed", **fields}


def _pushed_in(text: str) -> dict[str, str]:
    """Return the models that were pushed, with the digests of their manifests; lines that are none are left out."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            model, verdict, digest = entry["model"], entry["verdict"], entry.get("manifest_digest")
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if verdict == "succeeded" and isinstance(digest, str):
            found[str(model)] = digest
        else:
            found.pop(str(model), None)
    return found

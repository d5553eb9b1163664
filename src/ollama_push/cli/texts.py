"""How verdicts and checks are put into words for people."""

from __future__ import annotations

from ollama_push.core.errors import InvalidModelName, OllamaPushError
from ollama_push.core.readiness import Readiness
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.units import bytes_text, seconds_text

__all__ = ["failure_text", "printable", "readiness_lines", "receipt_text"]


def printable(text: str) -> str:
    """Spell out what would move a cursor or begin a line: a peer's words are one line, and only words."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def receipt_text(receipt: PushReceipt) -> str:
    """Return a success in one line."""
    parts = [f"pushed {receipt.model}"]
    if receipt.layers:
        layers = len(receipt.layers)
        parts.append(f"{layers} layer{'s' if layers > 1 else ''}, {bytes_text(receipt.total_bytes)}")
    parts.append(f"in {seconds_text(receipt.elapsed_seconds)}")
    if receipt.attempts > 1:
        parts.append(f"after {receipt.attempts} attempts")
    return ", ".join(parts)


def failure_text(model: str, error: OllamaPushError) -> str:
    """Return a failure in one line."""
    if isinstance(error, InvalidModelName):
        return str(error)  # names it, with what a terminal should not get spelled out
    tried = f" (after {error.attempts} attempts)" if error.attempts > 1 else ""
    return f"{model}: {error}{tried}"


def readiness_lines(readiness: Readiness) -> list[str]:
    """Return what a check found, a fact a line."""
    lines = []
    if readiness.server_version is not None:
        lines.append(f"server: Ollama {readiness.server_version}")
    if readiness.total_bytes is not None:
        lines.append(f"model: {readiness.model}, {bytes_text(readiness.total_bytes)}")
    if readiness.account is not None:
        lines.append(f"signed in as: {readiness.account}")
    lines += [f"problem: {problem}" for problem in readiness.problems]
    return [printable(line) for line in lines]

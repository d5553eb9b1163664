"""One machine of a fleet, as a process of its own: ``python fleet_worker.py SETTINGS-AS-JSON``.

It says that it is ready, and then what came of each push that a line of its input asks for, as one JSON object a line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ollama_push import RegistryClient
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.observations import Observation, RequestPaused
from ollama_push.core.retry import RetryPolicy
from ollama_push.fleet import RedisResumeStore


def _say(**said: Any) -> None:
    sys.stdout.write(f"{json.dumps(said)}\n")
    sys.stdout.flush()


def main() -> None:
    asked = json.loads(sys.argv[1])
    paused: list[str] = []

    def hook(observation: Observation) -> None:
        if isinstance(observation, RequestPaused):
            paused.append(observation.reason.value)

    client = RegistryClient(
        store=Path(asked["store"]),
        credentials=("a", "b"),
        plain_http=True,
        concurrency=1,
        resume=RedisResumeStore(asked["redis"]),
        retry=RetryPolicy(attempts=5, base=0),
        hooks=[hook],
    )
    _say(ready=True)
    for line in sys.stdin:
        paused.clear()
        try:
            receipt = client.push(line.strip(), source="m")
        except OllamaPushError as exc:
            _say(error=type(exc).__name__, paused=paused)
        else:
            _say(verified=receipt.verified, paused=paused)


if __name__ == "__main__":
    main()

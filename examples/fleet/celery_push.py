"""Pushes models from a durable queue: celery, with a Redis as broker and for unfinished uploads.

    pip install 'ollama-push[redis]' 'celery[redis]'
    celery --app celery_push worker --concurrency 2
    python -c "import celery_push; celery_push.push.delay('registry.example.com/team/my-llama', 'my-llama')"

A task is acknowledged when its push has a verdict, so that of a worker that dies another one takes the task over, and
goes on behind the bytes that the registry has. If a push takes longer than the visibility timeout, celery hands it to a
second worker, too: that one waits for the first, and finds everything stored.
"""

from __future__ import annotations

import os

from celery import Celery  # type: ignore[import-untyped]  # it has no types

from ollama_push import RegistryClient, ServerError, TransportError
from ollama_push.fleet import RedisResumeStore

REDIS = os.environ["FLEET_REDIS"]
PLAIN_HTTP = os.environ.get("FLEET_PLAIN_HTTP") == "1"

# After this time a task without a verdict is given to another worker.
VISIBILITY = int(os.environ.get("FLEET_VISIBILITY_SECONDS", "21600"))

app = Celery("fleet", broker=REDIS, backend=REDIS)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": VISIBILITY,
        # How often a worker looks for such tasks; kombu 5.7 looks at every tenth of these times only.
        "unacked_restore_interval": min(10, VISIBILITY),
        "unacked_restore_throttle": 1,
    },
)


@app.task(autoretry_for=(TransportError, ServerError), retry_backoff=True, max_retries=5)  # type: ignore[untyped-decorator]  # celery's
def push(model: str, source: str | None = None) -> str | None:
    """Push a model, and return the digest of what the registry holds now."""
    lease = float(os.environ.get("FLEET_LEASE_SECONDS", "15"))
    with RegistryClient(resume=RedisResumeStore(REDIS, lease_seconds=lease), plain_http=PLAIN_HTTP) as client:
        return client.push(model, source=source).manifest_digest

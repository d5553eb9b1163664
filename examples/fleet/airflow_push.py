"""Pushes models from Airflow with plain functions: no operator of ours is needed.

In a DAG::

    from airflow.decorators import dag, task
    from airflow_push import models_of, push_one


    @dag(schedule="@daily", catchup=False)
    def mirror():
        task(push_one, retries=3).partial(place="registry.example.com/team").expand(model=task(models_of)())

A retry of the task, on whichever worker, goes on behind the bytes that the registry has.
"""

from __future__ import annotations

import os

from ollama_push import ModelName, ModelStore, RegistryClient
from ollama_push.core.registry.target import name_below
from ollama_push.fleet import RedisResumeStore

__all__ = ["models_of", "push_one"]


def models_of() -> list[str]:
    """Return the names of all models of the store, each of which becomes a task."""
    return [name.shortest for name in ModelStore().models()]


def push_one(model: str, place: str) -> dict[str, object]:
    """Push a model below *place*, and return what other tasks may want to know; a failure fails the task."""
    target = name_below(place, ModelName.parse_local(model))
    with RegistryClient(
        resume=RedisResumeStore(os.environ["FLEET_REDIS"]), plain_http=os.environ.get("FLEET_PLAIN_HTTP") == "1"
    ) as client:
        receipt = client.push(target, source=model)
    return {"model": receipt.model, "digest": receipt.manifest_digest, "sent_bytes": receipt.sent_bytes}

"""The servers of a plan as they are made, here or in a process of its own, and the secrets that nobody may see."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.faults.models import REPOSITORY
from tests.faults.plans import Login
from tests.support.gateway import settings_for

from ollama_push.core.registry.credentials import GivenCredential
from ollama_push.core.retry import RetryPolicy
from ollama_push.fleet import RedisPushes, RedisResumeStore
from ollama_push.gateway import GatewaySettings
from ollama_push.local import FileResumeStore, ModelStore
from ollama_push.testing.registry import Auth, BasicAuth, BrokenPartPolicy, EmbeddedRegistry, Quirks, TokenAuth

__all__ = [
    "BASIC",
    "IMPATIENT",
    "PASSWORD",
    "REDIS_PASSWORD",
    "SECRETS",
    "TOKEN",
    "USER",
    "gateway_settings",
    "new_redis_store",
    "new_registry",
    "retry_policy",
]

USER: Final = "ann"
PASSWORD: Final = "c0rrect-h0rse-b4ttery"
REDIS_PASSWORD: Final = "r3dis-st4ple"
TOKEN: Final = "g4teway-t0ken-of-ours"
BASIC: Final = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SECRETS: Final = (PASSWORD, BASIC, base64.b64encode(PASSWORD.encode()).decode(), REDIS_PASSWORD, TOKEN)
IMPATIENT: Final = 0.6
"""Seconds without progress after which a run that things happen to gives a request up."""
_LEASE_SECONDS: Final = 1.5


def new_registry(
    folder: Path,
    login: Login,
    policy: BrokenPartPolicy = BrokenPartPolicy.KEEPS_BROKEN_PARTS,
    quirks: Quirks | None = None,
) -> EmbeddedRegistry:
    """Return a registry, also in a process of its own."""
    auth: Auth | None = None
    if login is Login.BASIC:
        auth = BasicAuth({USER: PASSWORD})
    elif login is Login.TOKEN:
        auth = TokenAuth({USER: PASSWORD}, {USER: {REPOSITORY: ("pull", "push")}}, same_origin=True)
    return EmbeddedRegistry(folder, auth=auth, broken_parts=policy, quirks=quirks)


def retry_policy() -> RetryPolicy:
    return RetryPolicy(attempts=3, base=0.02)


def new_redis_store(url: str) -> RedisResumeStore:
    return RedisResumeStore(
        url, password=REDIS_PASSWORD, lease_seconds=_LEASE_SECONDS, timeout=IMPATIENT, pause=IMPATIENT
    )


def gateway_settings(given: Mapping[str, Any]) -> GatewaySettings:
    """Return the settings of a gateway, also in a process of its own."""
    folder, redis = given["folder"], given["redis"]
    options: dict[str, Any] = {"resume": given.get("resume")}
    if options["resume"] is None:
        options["resume"] = new_redis_store(redis) if redis else FileResumeStore(folder / "state" / "uploads")
    if redis and given["is_shared"]:
        options["shared"] = RedisPushes(redis, password=REDIS_PASSWORD, timeout=IMPATIENT, pause=IMPATIENT)
    if given["keeps"]:
        options |= {"cache": folder / "target" / "cache", "pull_key": b"k" * 32}
    else:
        options["token"] = TOKEN
    return settings_for(
        ModelStore(folder / "models"),
        credentials=GivenCredential(given["credential"]),
        retry=retry_policy(),
        stall_timeout=2 * IMPATIENT,
        plain_http=True,
        default_registry=given["registry"],
        allow=(given["registry"],),
        **options,
    )

"""Who is measured: each takes a server's base URL, pushes once and returns the verdict it saw.

The bare loops are the least that a program can do by hand: they check nothing but the last line, and decode
each line themselves, because ``json.loads`` takes a quarter longer when it has to guess the encoding of bytes.
"""

# ruff: noqa: PLC0415 - each contender loads its own library only, in a process of its own

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

__all__ = ["CONTENDERS", "Contender"]

_MODEL: Final = "myuser/my-llama"
_BODY: Final = json.dumps({"model": _MODEL}).encode()
_READ_BYTES: Final = 65536


@attrs.frozen
class Contender:
    """One row of the tables.

    Attributes:
        label: What the row is called.
        colour: ``sync`` or ``async``.
        push: Pushes once, returns the verdict.
        speed: Whether the extra ``speed`` (msgspec) may be used.
        peer: Whether it is a library of others, which is measured with the realistic mix only.
        bare: Whether the others of its colour are compared with it.
        official: Whether memory is compared with it.
    """

    label: str
    colour: str
    push: Callable[[str], str]
    speed: bool = False
    peer: bool = False
    bare: bool = False
    official: bool = False


def _bare_urllib3(url: str) -> str:
    import urllib3

    with urllib3.PoolManager() as pool:
        response = pool.request("POST", f"{url}/api/push", body=_BODY, preload_content=False)
        rest = b""
        for chunk in response.stream(_READ_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                event = json.loads(line.decode())
        response.release_conn()
    return str(event["status"])


def _requests(url: str) -> str:
    import requests

    with requests.post(f"{url}/api/push", data=_BODY, stream=True, timeout=60) as response:
        for line in response.iter_lines(_READ_BYTES):
            event = json.loads(line)
    return str(event["status"])


def _official(url: str) -> str:
    import ollama

    for event in ollama.Client(url).push(_MODEL, stream=True):  # noqa: B007 - the last one is the verdict
        pass
    return str(event.status)


def _ours(url: str, hooks: tuple[Callable[[Any], None], ...] = ()) -> str:
    from ollama_push import PushClient

    with PushClient(url, hooks=hooks) as client, client.stream(_MODEL) as events:
        for event in events:  # noqa: B007 - the last one is the verdict
            pass
    return event.status


def _ours_with_hooks(url: str) -> str:
    return _ours(url, _shipped_hooks())


async def _bare_aiohttp(url: str) -> str:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.post(f"{url}/api/push", data=_BODY) as response:
        rest = b""
        async for chunk in response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                event = json.loads(line.decode())
    return str(event["status"])


async def _official_async(url: str) -> str:
    import ollama

    async for event in await ollama.AsyncClient(url).push(_MODEL, stream=True):  # noqa: B007 - as above
        pass
    return str(event.status)


async def _ours_async(url: str, hooks: tuple[Callable[[Any], None], ...] = ()) -> str:
    from ollama_push import AsyncPushClient

    async with AsyncPushClient(url, hooks=hooks) as client, client.stream(_MODEL) as events:
        async for event in events:  # noqa: B007 - as above
            pass
    return event.status


async def _ours_async_with_hooks(url: str) -> str:
    return await _ours_async(url, _shipped_hooks())


def _shipped_hooks() -> tuple[Callable[[Any], None], ...]:
    """Return logging, metrics and progress, as a program would attach them; the log goes nowhere."""
    from prometheus_client import CollectorRegistry

    from ollama_push.contrib.logs import LogHook
    from ollama_push.contrib.metrics import MetricsHook, PrometheusSink
    from ollama_push.contrib.progress import ProgressCallback

    return LogHook(), MetricsHook(PrometheusSink(CollectorRegistry())), ProgressCallback(lambda _now: None)


def _run(push: Callable[[str], Any]) -> Callable[[str], str]:
    return lambda url: asyncio.run(push(url))


CONTENDERS: Final[Mapping[str, Contender]] = {
    one.label: one
    for one in (
        Contender("bare urllib3 loop", "sync", _bare_urllib3, bare=True),
        Contender("PushClient.stream", "sync", _ours),
        Contender("PushClient.stream, speed extra", "sync", _ours, speed=True),
        Contender("PushClient.stream, three hooks", "sync", _ours_with_hooks),
        Contender("requests iter_lines", "sync", _requests, peer=True),
        Contender("ollama.Client.push", "sync", _official, peer=True, official=True),
        Contender("bare aiohttp loop", "async", _run(_bare_aiohttp), bare=True),
        Contender("AsyncPushClient.stream", "async", _run(_ours_async)),
        Contender("AsyncPushClient.stream, speed extra", "async", _run(_ours_async), speed=True),
        Contender("AsyncPushClient.stream, three hooks", "async", _run(_ours_async_with_hooks)),
        Contender("ollama.AsyncClient.push", "async", _run(_official_async), peer=True, official=True),
    )
}

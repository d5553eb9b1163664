"""The program that ``twins/test_forked.py`` starts: it uses a client, forks, and prints what came of it as JSON.

A process of its own, since the one that runs the tests has threads, which no child inherits.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import urllib3

from ollama_push import AsyncPushClient, AsyncRegistryClient, PushClient, RegistryClient, RetryPolicy
from ollama_push.core.observations import Observation
from ollama_push.core.registry.resume import ResumePoint, UploadKey
from ollama_push.local import FileResumeStore, NoResume
from ollama_push.transports import AiohttpTransport, Urllib3Transport

ONCE = RetryPolicy(attempts=1)


def caught(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """Call, and return the name of the type of what came of it."""
    try:
        return type(call(*arguments, **options)).__name__
    except Exception as exc:  # noqa: BLE001 - the test judges it
        return type(exc).__name__


def in_child(call: Callable[[], object]) -> str:
    """Return the text of what *call* returns in a forked child."""
    ours, theirs = os.pipe()
    if os.fork() == 0:
        try:
            os.write(theirs, str(call()).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read().decode()
    os.wait()
    return said


class Sleeper:
    """A forked child that does nothing, with copies of all that is open, until it is ended."""

    def __init__(self) -> None:
        self._ours, theirs = os.pipe()
        reader, self._writer = os.pipe()
        if os.fork() == 0:
            os.close(self._writer)
            os.read(reader, 1)
            os._exit(0)
        os.close(theirs)
        os.close(reader)

    def end(self) -> None:
        os.close(self._writer)
        os.wait()


def idle(kind: str, url: str) -> list[str]:
    """Use a client, then let a child push and close it, and push again."""
    if kind == "sync":
        with PushClient(url, retry=ONCE) as client:
            client.check("a/b")

            def push() -> str:
                with client:
                    return caught(client.push, "a/b")

            return [in_child(push), caught(client.push, "a/b")]
    transport = AiohttpTransport()

    async def use(times: int) -> str:
        client = AsyncPushClient(url, transport=transport, retry=ONCE)
        for _ in range(times):
            await client.check("a/b")
        return type(await client.push("a/b")).__name__

    async def push_in_child() -> str:
        try:
            return await use(0)
        finally:
            await transport.aclose()

    async def parent() -> list[str]:
        client = AsyncPushClient(url, transport=transport, retry=ONCE)
        await client.check("a/b")
        child = in_child(lambda: asyncio.run(push_in_child()))
        return [child, await use(0)]

    return asyncio.run(parent())


def injected(kind: str, url: str) -> list[str]:
    """The same with a pool, or a session, of the program's own."""
    if kind == "sync":
        with urllib3.PoolManager() as pool:
            client = PushClient(url, transport=Urllib3Transport(pool), retry=ONCE)
            client.check("a/b")
            return [in_child(lambda: caught(client.push, "a/b")), caught(client.push, "a/b")]

    async def parent() -> list[str]:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            client = AsyncPushClient(url, transport=AiohttpTransport(session), retry=ONCE)
            await client.check("a/b")
            child = in_child(lambda: caught(asyncio.run, client.push("a/b")))
            return [child, type(await client.push("a/b")).__name__]

    return asyncio.run(parent())


def leave(kind: str, url: str) -> list[str]:
    """Leave a stream while a child has a copy of its connection; read from stdin before the child ends."""
    if kind.startswith("sync"):
        with urllib3.PoolManager() as pool:
            transport = Urllib3Transport(pool if kind == "sync injected" else None)
            with PushClient(url, transport=transport) as client, client.stream("a/b") as events:
                next(events)
                sleeper = Sleeper()
            say("left")
            sys.stdin.readline()
            sleeper.end()
            return []

    async def run() -> None:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            transport = AiohttpTransport(session if kind == "async injected" else None)
            async with AsyncPushClient(url, transport=transport) as client:
                async with client.stream("a/b") as events:
                    await anext(events)
                    sleeper = Sleeper()
                say("left")
                await asyncio.to_thread(sys.stdin.readline)
                sleeper.end()
            await transport.aclose()

    asyncio.run(run())
    return []


def close(kind: str, url: str) -> list[str]:
    """Close a client with an idle connection while a child has a copy of that."""
    if kind == "sync":
        with PushClient(url) as client:
            client.check("a/b")
            sleeper = Sleeper()
        say("left")
        sys.stdin.readline()
        sleeper.end()
        return []

    async def run() -> None:
        async with AsyncPushClient(url) as client:
            await client.check("a/b")
            sleeper = Sleeper()
        say("left")
        await asyncio.to_thread(sys.stdin.readline)
        sleeper.end()

    asyncio.run(run())
    return []


def unwind(kind: str, url: str) -> list[str]:
    """Fork within a stream; the child leaves the block with an exception, and the parent reads on."""
    seen: list[Observation] = []
    statuses: list[str] = []

    class Child(Exception):
        """Leaves the child's copy of the block."""

    def told() -> str:
        return ",".join(type(one).__name__ for one in seen)

    if kind == "sync":
        said, theirs = os.pipe()
        try:
            with PushClient(url, hooks=[seen.append]) as client, client.stream("a/b") as events:
                next(events)
                if os.fork() == 0:
                    raise Child
                os.close(theirs)
                with os.fdopen(said, "rb") as pipe:
                    child = pipe.read().decode()
                statuses += [event.status for event in events]
        except Child:
            os.write(theirs, told().encode())
            os._exit(0)
        return [child, statuses[-1], told()]
    raise ValueError(kind)


def direct(kind: str, host: str) -> list[str]:
    """Push straight to a registry before a fork, in the child, and after it."""
    options: dict[str, Any] = {"store": os.environ["OLLAMA_MODELS"], "plain_http": True, "resume": NoResume()}
    if kind == "sync":
        with RegistryClient(**options) as client:
            names = [f"{host}/a/{name}" for name in ("one", "two", "three")]
            first = caught(client.push, names[0], source="my-llama")

            def push() -> str:
                with client:
                    return caught(client.push, names[1], source="my-llama")

            return [first, in_child(push), caught(client.push, names[2], source="my-llama")]

    async def push_async(name: str, client: AsyncRegistryClient) -> str:
        return type(await client.push(f"{host}/a/{name}", source="my-llama")).__name__

    async def child(client: AsyncRegistryClient) -> str:
        async with client:
            return await push_async("two", client)

    async def parent() -> list[str]:
        async with AsyncRegistryClient(**options) as client:
            first = await push_async("one", client)
            second = in_child(lambda: asyncio.run(child(client)))
            return [first, second, await push_async("three", client)]

    return asyncio.run(parent())


def resume(_kind: str, folder: str) -> list[str]:
    """Claim an upload before a fork; the child claims it too, saves and releases."""
    store, key = FileResumeStore(Path(folder)), UploadKey("http://h", "a/b", f"sha256:{'0' * 64}")
    claimed = store.claim(key)
    store.save(key, ResumePoint("http://h/parent", 5))

    def use() -> str:
        got = type(store.claim(key)).__name__
        store.save(key, ResumePoint("http://h/child", 9))
        store.forget(key)
        store.release(key)
        return got

    in_child(use)
    kept = next(Path(folder).glob("*.json")).read_text()
    return [str(claimed), str(json.loads(kept)["offset"]), type(FileResumeStore(Path(folder)).claim(key)).__name__]


def say(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _, scenario, kind, url = sys.argv
    scenarios = {each.__name__: each for each in (idle, injected, leave, close, unwind, direct, resume)}
    say(scenarios[scenario](kind, url))

"""The program that ``twins/test_stress.py`` starts: it pushes, forks, is interrupted and stopped, and judges.

Its plan comes from a seed. On stdout it says what was wrong, and when callers left the pushes that go on by themselves.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ollama_push import AsyncPushClient, PushClient, RetryPolicy
from ollama_push.core.errors import PushInterrupted, PushRejected
from ollama_push.core.events import PushEvent
from ollama_push.transports import AiohttpTransport

OPTIONS: Final[dict[str, Any]] = {"retry": RetryPolicy(attempts=1), "stall_timeout": 5.0}
CHILD_SECONDS: Final = 40
AGAIN_SECONDS: Final = 3.0
ENOUGH: Final = 20
LONGEST_SECONDS: Final = 40.0


class TimeLimit(Exception):
    """What a task queue raises."""


class Report:
    """What was wrong, and which pushes were left when."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.left: dict[str, float] = {}
        self.verdicts = 0
        self.interruptions = 0

    def goes_on(self, ends_at: float) -> bool:
        """Say whether there is time left; on a busy machine more of it, until enough is judged."""
        late = time.monotonic() - ends_at
        return late < 0 or (self.verdicts < ENOUGH and late < LONGEST_SECONDS)

    def judge(self, model: str, got: object, events: list[PushEvent], *, interrupted: bool) -> None:
        """Note a problem unless *got* is what the model's name says."""
        self.verdicts += 1
        strangers = [event for event in events if hasattr(event, "digest") and event.digest != f"sha256:{model}"]
        if strangers:
            self.problems.append(f"{model} was told of {strangers[0]!r}")
        match got:
            case PushInterrupted() if interrupted:
                self.left[model] = time.monotonic()
            case "receipt" if model.startswith("good"):
                pass
            case PushRejected() if model.startswith("bad") and model in str(got):
                pass
            case "left" | TimeLimit() | TimeoutError() if model.startswith("long"):
                self.left[model] = time.monotonic()
            case _:
                self.problems.append(f"{model} ended in {got!r}, caused by {getattr(got, '__cause__', None)!r}")


def names(chance: random.Random, prefix: str) -> Callable[..., str]:
    """Return what makes names that nobody else uses."""
    count = 0

    def name(*kinds: str) -> str:
        nonlocal count
        count += 1
        return f"{chance.choice(kinds)}/{prefix}-{os.getpid()}-{count}"

    return name


def forked(work: Callable[[], list[str]], report: Report) -> None:
    """Have a child do *work*, and note what it says was wrong."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(CHILD_SECONDS)
        said = ["the child has crashed"]
        with suppress(BaseException):
            said = work()
        os.write(theirs, json.dumps(said).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        text = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    report.problems += [f"child: {each}" for each in json.loads(text or f'["it ended with {status}"]')]


# --- threads


class Sync:
    """Pushes by threads of one client."""

    def __init__(self, url: str, seed: int, seconds: float) -> None:
        self.report = Report()
        self.client = PushClient(url, **OPTIONS)
        self.chance = random.Random(seed)
        self.ends_at = time.monotonic() + seconds
        self.seed = seed

    def one(self, model: str, events_before_leaving: int | None = None) -> None:
        before, events, got = self.report.interruptions, list[PushEvent](), "left"
        outcome: object = got
        try:
            with self.client.stream(model) as stream:
                for event in stream:
                    events.append(event)
                    if len(events) == events_before_leaving:
                        break
                else:
                    outcome = "receipt"
        except Exception as exc:  # noqa: BLE001 - judged
            outcome = exc
        self.report.judge(model, outcome, events, interrupted=self.report.interruptions != before)

    def in_thread(self, number: int) -> None:
        chance = random.Random(f"{self.seed} {number}")
        name = names(chance, f"t{number}")
        while self.report.goes_on(self.ends_at):
            model = name("good", "bad", "good", "bad", "long")
            self.one(model, chance.randint(2, 20) if model.startswith("long") else None)

    def limited(self, model: str) -> None:
        """Push with a time limit that a signal handler raises."""
        error = self.chance.choice([TimeLimit, TimeoutError])("the job's limit")
        raised_at = -math.inf

        def handle(_number: int, _frame: object) -> None:
            nonlocal raised_at
            # Once more after a while: what is raised in the callback of a weak reference is lost.
            if time.monotonic() - raised_at > AGAIN_SECONDS:
                raised_at = time.monotonic()
                raise error

        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, self.chance.uniform(0.001, 0.15), 0.02)
        got: object = "receipt"
        before = self.report.interruptions
        try:
            self.client.push(model)
        except Exception as exc:  # noqa: BLE001 - judged
            got = exc
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if isinstance(got, TimeLimit | TimeoutError) and got is not error:
            self.report.problems.append(f"{model} ended in another time limit: {got!r}")
        self.report.judge(model, got, [], interrupted=self.report.interruptions != before)

    def as_child(self) -> list[str]:
        self.report = Report()
        name = names(self.chance, "c")
        for _ in range(3):
            self.one(name("good", "bad"))
        self.client.close()
        return self.report.problems

    def run(self) -> Report:
        name = names(self.chance, "m")
        self.one(name("good"))  # all that is imported late is there before the first fork
        threads = [threading.Thread(target=self.in_thread, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        while self.report.goes_on(self.ends_at):
            match self.chance.choice(["fork", "limit", "limit", "interrupt", "leave"]):
                case "fork":
                    forked(self.as_child, self.report)
                case "limit":
                    self.limited(name("long"))
                case "interrupt":
                    self.report.interruptions += 1
                    self.client.interrupt()
                case "leave":
                    self.one(name("long"), self.chance.randint(1, 10))
        for thread in threads:
            thread.join()
        self.client.close()
        return self.report


# --- tasks


class Async:
    """Pushes by tasks of one client."""

    def __init__(self, url: str, seed: int, seconds: float) -> None:
        self.report = Report()
        self.transport = AiohttpTransport()
        self.client = AsyncPushClient(url, transport=self.transport, **OPTIONS)
        self.chance = random.Random(seed)
        self.ends_at = time.monotonic() + seconds
        self.seed = seed

    async def one(self, model: str, events_before_leaving: int | None = None) -> None:
        before, events = self.report.interruptions, list[PushEvent]()
        outcome: object = "left"
        try:
            async with self.client.stream(model) as stream:
                async for event in stream:
                    events.append(event)
                    if len(events) == events_before_leaving:
                        break
                else:
                    outcome = "receipt"
        except Exception as exc:  # noqa: BLE001 - judged
            outcome = exc
        self.report.judge(model, outcome, events, interrupted=self.report.interruptions != before)

    async def in_task(self, number: int) -> None:
        chance = random.Random(f"{self.seed} {number}")
        name = names(chance, f"t{number}")
        while self.report.goes_on(self.ends_at):
            model = name("good", "bad", "good", "bad", "long")
            await self.one(model, chance.randint(2, 20) if model.startswith("long") else None)

    async def limited(self, model: str) -> None:
        got: object = "receipt"
        before = self.report.interruptions
        try:
            async with asyncio.timeout(self.chance.uniform(0.001, 0.15)):
                await self.client.push(model)
        except Exception as exc:  # noqa: BLE001 - judged
            got = exc
        self.report.judge(model, got, [], interrupted=self.report.interruptions != before)

    async def pushed_as_child(self) -> list[str]:
        self.report = Report()
        name = names(self.chance, "c")
        await asyncio.gather(*(self.one(name("good", "bad")) for _ in range(3)))
        await self.client.aclose()
        await self.transport.aclose()
        return self.report.problems

    async def pushed(self) -> None:
        name = names(self.chance, "m")
        await self.one(name("good"))
        tasks = [asyncio.create_task(self.in_task(number)) for number in range(5)]
        while self.report.goes_on(self.ends_at):
            match self.chance.choice(["fork", "limit", "limit", "interrupt", "leave"]):
                case "fork":
                    forked(lambda: asyncio.run(self.pushed_as_child()), self.report)
                case "limit":
                    await self.limited(name("long"))
                case "interrupt":
                    self.report.interruptions += 1
                    self.client.interrupt()
                    await asyncio.sleep(0)
                case "leave":
                    await self.one(name("long"), self.chance.randint(1, 10))
        await asyncio.gather(*tasks)
        await self.client.aclose()
        await self.transport.aclose()

    def run(self) -> Report:
        asyncio.run(self.pushed())
        return self.report


def sockets() -> int:
    """Return how many sockets this process has open."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += str(link.readlink()).startswith("socket:")
    return found


if __name__ == "__main__":
    _, kind, url, seed, seconds = sys.argv
    before = sockets()
    stress = (Sync if kind == "sync" else Async)(url, int(seed), float(seconds))
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    done = stress.run()
    done.problems += [f"{sockets() - before} sockets are open"] if sockets() != before else []
    done.problems += [f"{each.name} runs" for each in threading.enumerate() if each is not threading.main_thread()]
    sys.stdout.write(json.dumps({"problems": done.problems, "left": done.left, "verdicts": done.verdicts}) + "\n")

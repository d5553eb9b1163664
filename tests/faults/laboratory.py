"""Carries out a plan: pushes a model while things happen to it, and says which promise did not hold.

The promises, for every plan:

1. A success means that the registry holds exactly the model. A failure is an error of ours, and never a success too.
2. The push ends.
3. The next push, to which nothing happens, succeeds and is verified.
4. No connection, thread or task is left.
5. What is sent twice is bounded: a part for each request that was sent again, where the registry keeps parts.
6. No password, in no form, is in an error, a traceback, an event, a log record or an output.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import os
import random
import resource
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs
from tests.faults.link import FaultyLink
from tests.faults.plans import Act, Damage, Event, Login, Plan, Way
from tests.support.command import command
from tests.support.gateway import Gateway, settings_for
from tests.support.stores import CONFIG, put_manifest, put_model

from ollama_push import AsyncPushClient, AsyncRegistryClient, PushClient, RegistryClient
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.observations import Observation, RequestRetried
from ollama_push.core.registry.credentials import GivenCredential
from ollama_push.core.registry.credentials import Login as GivenLogin
from ollama_push.core.retry import RetryPolicy
from ollama_push.local import FileResumeStore, ModelStore
from ollama_push.testing.registry import (
    Auth,
    BasicAuth,
    BrokenPartPolicy,
    EmbeddedRegistry,
    Fault,
    Quirks,
    Reply,
    TokenAuth,
)
from ollama_push.transports import AiohttpTransport, Urllib3Transport

__all__ = ["run_plan"]

_USER: Final = "ann"
_PASSWORD: Final = "c0rrect-h0rse-b4ttery"
_SECRETS: Final = (
    _PASSWORD,
    base64.b64encode(f"{_USER}:{_PASSWORD}".encode()).decode(),
    base64.b64encode(_PASSWORD.encode()).decode(),
)
_REPOSITORY: Final = "myuser/my-llama"
_TAG: Final = "v1"
_END_SECONDS: Final = 120.0
"""No push of a few hundred kB may take longer, however busy the machine is."""
_IMPATIENT: Final = 0.6
"""Seconds without progress after which a push that things happen to gives a request up."""
_PATIENT: Final = 60.0
_NO_SPACE: Final = Reply(
    500, {"Content-Type": "application/json"}, b'{"errors":[{"code":"UNKNOWN","detail":{"Err":28}}]}'
)


@attrs.frozen
class _Verdict:
    """How a push ended.

    Attributes:
        success: Whether it says that the model was pushed.
        verified: Whether it says that it was seen in the registry.
        problem: What is wrong with the ending itself; empty when nothing is.
        retries: Requests that were sent again.
        output: Everything that anybody could have seen.
    """

    success: bool
    verified: bool = False
    problem: str = ""
    retries: int = 0
    output: tuple[str, ...] = ()


def run_plan(plan: Plan, folder: Path, quirks: Quirks | None = None) -> list[str]:
    """Carry out *plan* with everything below *folder*; return what did not hold.

    Args:
        plan: What is pushed, and what happens.
        folder: Empty.
        quirks: Of the registry.
    """
    with ExitStack() as stack:
        return stack.enter_context(closing(_Laboratory(plan, folder, quirks, stack))).run()


class _Laboratory:
    def __init__(self, plan: Plan, folder: Path, quirks: Quirks | None, stack: ExitStack) -> None:
        self._plan = plan
        self._quirks = quirks
        self._folder = folder
        chance = random.Random(plan.seed)
        self._layers = tuple(chance.randbytes(size) for size in plan.layers)
        self._raw = put_model(folder / "models", layers=self._layers)
        self._clock_offset = 0.0
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._started = threading.Event()
        self._problems: list[str] = []
        self._records = stack.enter_context(_all_records())
        self._threads = set(threading.enumerate())
        self._registry = self._new_registry(("127.0.0.1", 0))
        self._far = FaultyLink(self._registry.host, [fault for fault in plan.wire if not fault.near])
        self._near: FaultyLink | None = None
        self._gateway: Gateway | None = None
        put_manifest(folder / "models", f"{self._far.host}/{_REPOSITORY}/{_TAG}", self._raw)

    def close(self) -> None:
        if self._near is not None:
            self._near.close()
        if self._gateway is not None:
            self._gateway.stop()
        self._far.close()
        self._registry.close()

    def run(self) -> list[str]:
        plan = self._plan
        if plan.way in (Way.SYNC_GATEWAY, Way.ASYNC_GATEWAY):
            self._start_gateway()
        first = self._push(_IMPATIENT, while_it_runs=self._happen)
        self._check("the first push", first)
        received = self._registry.received_bytes
        self._restore()
        second = self._push(_PATIENT)
        self._check("the next push", second)
        if not second.success:
            self._problems.append(f"the next push fails: {second.output[-1:]}")
        if second.success and not second.verified:
            self._problems.append("the next push is not verified")
        self._check_bytes(first, second, received)
        self._check_nothing_is_left()
        return self._problems

    # What is pushed, and how.

    def _new_registry(self, listen: tuple[str, int]) -> EmbeddedRegistry:
        auth: Auth | None = None
        if self._plan.login is Login.BASIC:
            auth = BasicAuth({_USER: _PASSWORD})
        elif self._plan.login is Login.TOKEN:
            auth = TokenAuth({_USER: _PASSWORD}, {_USER: {_REPOSITORY: ("pull", "push")}}, same_origin=True)
        return EmbeddedRegistry(
            self._folder / "registry", listen=listen, auth=auth, broken_parts=self._plan.policy, quirks=self._quirks
        )

    def _start_gateway(self) -> None:
        settings = settings_for(
            ModelStore(self._folder / "models"),
            credentials=GivenCredential(self._credential),
            resume=self._resume(),
            retry=self._retry,
            stall_timeout=2 * _IMPATIENT,
            plain_http=True,
            default_registry=None,
            allow=(self._far.host,),
        )
        self._gateway = Gateway(settings).__enter__()
        self._near = FaultyLink(f"127.0.0.1:{self._gateway.port}", [fault for fault in self._plan.wire if fault.near])

    @property
    def _retry(self) -> RetryPolicy:
        return RetryPolicy(attempts=3, base=0.02)

    @property
    def _credential(self) -> GivenLogin | None:
        return None if self._plan.login is Login.NONE else GivenLogin(_USER, _PASSWORD)

    @property
    def _name(self) -> str:
        return f"{self._far.host}/{_REPOSITORY}:{_TAG}"

    def _resume(self) -> FileResumeStore:
        return FileResumeStore(self._folder / "uploads", clock=lambda: time.time() + self._clock_offset)

    def _push(self, patience: float, while_it_runs: Callable[[], None] | None = None) -> _Verdict:
        push = {
            Way.SYNC: self._push_sync,
            Way.ASYNC: self._push_async,
            Way.SYNC_GATEWAY: self._push_sync_gateway,
            Way.ASYNC_GATEWAY: self._push_async_gateway,
            Way.COMMAND: self._push_command,
        }[self._plan.way]
        self._ended.clear()
        happening = threading.Thread(target=while_it_runs or (lambda: None), name="what-happens", daemon=True)
        ending: list[_Verdict] = []
        pushing = threading.Thread(target=lambda: ending.append(push(patience)), name="pushing", daemon=True)
        happening.start()
        pushing.start()
        pushing.join(_END_SECONDS)
        self._ended.set()
        happening.join(_END_SECONDS)
        return (
            ending[0]
            if ending
            else _Verdict(success=False, problem=f"no end after {_END_SECONDS} s, or a foreign error")
        )

    def _settings(self, patience: float, seen: list[Observation]) -> dict[str, Any]:
        return {
            "store": self._folder / "models",
            "credentials": self._credential,
            "hooks": [seen.append],
            "retry": self._retry,
            "concurrency": self._plan.concurrency,
            "plain_http": True,
            "verify": self._plan.verify or patience == _PATIENT,
            "resume": self._resume(),
            "part_bytes": self._plan.part_bytes,
            "stall_timeout": patience,
        }

    def _push_sync(self, patience: float) -> _Verdict:
        seen: list[Observation] = []

        def push() -> Any:
            with (
                closing(
                    Urllib3Transport(connect_timeout=_PATIENT, read_timeout=patience, trust_env=False)
                ) as transport,
                RegistryClient(transport=transport, **self._settings(patience, seen)) as client,
            ):
                return client.push(self._name, source="my-llama")

        return _verdict_of(push, seen)

    def _push_async(self, patience: float) -> _Verdict:
        seen: list[Observation] = []

        async def push() -> Any:
            transport = AiohttpTransport(connect_timeout=_PATIENT, read_timeout=patience, trust_env=False)
            try:
                async with AsyncRegistryClient(transport=transport, **self._settings(patience, seen)) as client:
                    return await client.push(self._name, source="my-llama")
            finally:
                await transport.aclose()
                self._note_tasks()

        return _verdict_of(lambda: asyncio.run(push()), seen)

    def _push_sync_gateway(self, patience: float) -> _Verdict:
        seen: list[Observation] = []

        def push() -> Any:
            transport = Urllib3Transport(connect_timeout=_PATIENT, trust_env=False)
            client = PushClient(self._gateway_url, transport=transport, **self._client_settings(patience, seen))
            with closing(transport), client:
                return client.push(self._name, insecure=True)

        return _verdict_of(push, seen)

    def _push_async_gateway(self, patience: float) -> _Verdict:
        seen: list[Observation] = []

        async def push() -> Any:
            transport = AiohttpTransport(connect_timeout=_PATIENT, trust_env=False)
            try:
                settings = self._client_settings(patience, seen)
                async with AsyncPushClient(self._gateway_url, transport=transport, **settings) as client:
                    return await client.push(self._name, insecure=True)
            finally:
                await transport.aclose()
                self._note_tasks()

        return _verdict_of(lambda: asyncio.run(push()), seen)

    @property
    def _gateway_url(self) -> str:
        assert self._near is not None
        return f"http://{self._near.host}"

    def _client_settings(self, patience: float, seen: list[Observation]) -> dict[str, Any]:
        # Longer than the gateway waits for the registry.
        return {"hooks": [seen.append], "retry": self._retry, "stall_timeout": 4 * patience}

    def _push_command(self, patience: float) -> _Verdict:
        arguments = [
            "push", self._name, "--direct", "--plain-http", "--from", "my-llama", "--retries", "1", "-vv",
            "--progress", "json", "--stall-timeout", str(patience), "--concurrency", str(self._plan.concurrency),
            "--part-size", str(max(self._plan.part_bytes, 256 * 1024)),
        ]  # fmt: skip
        limits = patience != _PATIENT and any(event.act is Act.FULL_STATE for event in self._plan.events)
        process = subprocess.Popen(
            command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment(),
            preexec_fn=_without_disk if limits else None,  # noqa: PLW1509 - it takes no lock
        )
        self._process = process
        self._started.set()
        try:
            out, err = process.communicate(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            return _Verdict(success=False, problem="no end", output=(out.decode(), err.decode()))
        output = (out.decode(), err.decode())
        if process.returncode == -signal.SIGKILL:
            return _Verdict(success=False, output=output)
        ends = [json.loads(line) for line in out.splitlines()]
        success = process.returncode == 0
        problem = ""
        if process.returncode not in range(12):
            problem = f"exit code {process.returncode}"
        elif not ends or (ends[-1]["event"] == "succeeded") != success:
            problem = f"exit code {process.returncode} after {ends[-1:]}"
        if "Traceback" in output[1]:
            problem = "a traceback"
        return _Verdict(success, success, problem, output=output)

    def _environment(self) -> dict[str, str]:
        given = {
            "HOME": str(self._folder),
            "PATH": os.environ["PATH"],
            "OLLAMA_MODELS": str(self._folder / "models"),
            "NO_PROXY": "*",
            **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
        }
        if self._credential is not None:
            given |= {"OLLAMA_USERNAME": _USER, "OLLAMA_PASSWORD": _PASSWORD}
        return given

    def _note_tasks(self) -> None:
        late = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("ollama-push")]
        if late:
            self._problems.append(f"tasks are left: {late}")

    # What happens meanwhile.

    def _happen(self) -> None:
        for event in sorted(self._plan.events, key=lambda event: event.after):
            if not self._has_come(event):
                return
            self._act(event)

    def _has_come(self, event: Event) -> bool:
        """Wait for the moment of *event*; return whether it comes before the push ends."""
        while not self._ended.is_set():
            if self._registry.wait_until(lambda: self._registry.received_bytes >= event.after, 0.05):
                return True
        return False

    def _act(self, event: Event) -> None:
        match event.act:
            case Act.RESTART:
                self._registry.restart()
            case Act.EXPIRE:
                self._registry.expire_sessions()
            case Act.CHANGE_BLOB | Act.SHORTEN_BLOB:
                data = self._layers[int(event.amount)]
                path = self._blob_path(data)
                path.write_bytes(data[: len(data) // 2] if event.act is Act.SHORTEN_BLOB else bytes(len(data)))
            case Act.JUMP:
                self._clock_offset += event.amount
            case Act.FULL_REGISTRY:
                for method in ("POST", "PATCH", "PUT"):
                    self._registry.add_fault(Fault(method, times=None, action=_NO_SPACE))
            case Act.KILL | Act.PAUSE:
                self._signal(event)
            case Act.FULL_STATE:
                pass  # the process begins with it

    def _signal(self, event: Event) -> None:
        assert self._started.wait(_PATIENT)
        assert self._process is not None
        with suppress(ProcessLookupError):
            if event.act is Act.KILL:
                self._process.kill()
            else:
                self._process.send_signal(signal.SIGSTOP)
                self._ended.wait(event.amount)
                self._process.send_signal(signal.SIGCONT)

    def _restore(self) -> None:
        """Mend everything, as people would: the machines run again, disks have room, and the model is whole."""
        self._far.heal()
        if self._near is not None:
            self._near.heal()
        for data in self._layers:
            self._blob_path(data).write_bytes(data)
        self._registry.close()
        host, _, port = self._far.target.partition(":")
        self._registry = self._new_registry((host, int(port)))

    def _blob_path(self, data: bytes) -> Path:
        return self._folder / "models" / "blobs" / f"sha256-{hashlib.sha256(data).hexdigest()}"

    # What must hold.

    def _check(self, which: str, verdict: _Verdict) -> None:
        if verdict.problem:
            self._problems.append(f"{which}: {verdict.problem}")
        if verdict.success and (missing := self._missing()):
            self._problems.append(f"{which} is a success, but {missing}")
        output = (*verdict.output, *self._records)
        if any(secret in text for secret in _SECRETS for text in output):
            self._problems.append(f"{which} shows a password")

    def _missing(self) -> str:
        """Say what of the model the registry does not hold; empty when it holds exactly the model."""
        if self._registry.manifest(_REPOSITORY, _TAG) != self._raw:
            return "the registry has no such manifest"
        for data in (*self._layers, CONFIG):
            if self._registry.blob(f"sha256:{hashlib.sha256(data).hexdigest()}") != data:
                return f"the registry lacks a blob of {len(data)} bytes"
        return ""

    def _check_bytes(self, first: _Verdict, second: _Verdict, received: int) -> None:
        plan = self._plan
        is_countable = (
            plan.way in (Way.SYNC, Way.ASYNC)
            and plan.policy is BrokenPartPolicy.KEEPS_BROKEN_PARTS
            and not plan.events
            and all(fault.damage not in (Damage.FLIP, Damage.DOUBLE) for fault in plan.wire)
        )
        if is_countable:
            # The closing request of an upload may carry the rest of a blob of up to 256 KiB.
            part = max(plan.part_bytes, 256 * 1024)
            lost = (first.retries + second.retries + plan.concurrency) * part
            total = received + self._registry.received_bytes
            if total > plan.total_bytes + len(CONFIG) + lost:
                self._problems.append(f"{total} bytes were sent of {plan.total_bytes}; {lost} more were to be expected")

    def _check_nothing_is_left(self) -> None:
        if self._gateway is not None:
            gateway, self._gateway = self._gateway, None
            gateway.stop()
        for link in (self._far, self._near):
            if link is not None and not link.is_idle(_PATIENT):
                self._problems.append("a connection is left open")
        for thread in set(threading.enumerate()) - self._threads:
            if thread.name.startswith("ollama-push"):
                thread.join(_PATIENT)
                if thread.is_alive():
                    self._problems.append(f"a thread is left: {thread.name}")


def _verdict_of(push: Callable[[], Any], seen: list[Observation]) -> _Verdict:
    problem, receipt = "", None
    output: list[str] = []
    try:
        receipt = push()
    except OllamaPushError as exc:
        output += [str(exc), repr(exc), "".join(traceback.format_exception(exc))]
    except BaseException as exc:  # noqa: BLE001 - whatever it is, it is none of ours
        problem = f"a foreign error: {''.join(traceback.format_exception(exc))}"
    output += map(repr, seen)
    retries = sum(isinstance(each, RequestRetried) for each in seen)
    verified = receipt is not None and receipt.verified is not False
    return _Verdict(receipt is not None, verified, problem, retries, tuple(output))


@contextmanager
def _all_records() -> Iterator[list[str]]:
    """Collect what is logged at any level."""
    records: list[str] = []

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(self.format(record))

    root, handler = logging.getLogger("ollama_push"), Collecting()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield records
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def _without_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

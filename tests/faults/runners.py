"""Carries out a task in each way, and says how it ended: what it claims, and all that anybody could have seen."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
from tests.faults.models import REPOSITORY, Model
from tests.faults.plans import Act, Plan, Task, Way, Wire
from tests.support.blobs import digest_of
from tests.support.command import command, without_coverage

from ollama_push import AsyncPushClient, AsyncRegistryClient, PushClient, RegistryClient
from ollama_push.core.batch import PushItem, PushVerdict
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.observations import Observation, RequestRetried
from ollama_push.core.ports import Hook
from ollama_push.core.receipts import PushReceipt
from ollama_push.transports import AiohttpTransport, Urllib3Transport

__all__ = ["PATIENT", "Places", "Runner", "Verdict"]

PATIENT: Final = 60.0
"""Seconds without progress after which a run that nothing happens to gives a request up."""
_END_SECONDS: Final = 120.0
_EXIT_CODES: Final = {*range(12), 130}
_JOBS: Final = 2
_TRIES: Final = 4


@attrs.frozen
class Verdict:
    """How a run ended.

    Attributes:
        succeeded: Tags of the models of which it says that they are there now.
        is_success: Whether it says that all went well.
        verified: Whether it says that it has looked.
        problem: What is wrong with the ending itself; empty when nothing is.
        retries: Requests that were sent again.
        output: Everything that anybody could have seen.
        was_killed: Whether nothing was said, because the process was killed.
    """

    succeeded: frozenset[str] = frozenset()
    is_success: bool = False
    verified: bool = False
    problem: str = ""
    retries: int = 0
    output: tuple[str, ...] = ()
    was_killed: bool = False


@attrs.frozen
class Places:
    """Where everything is.

    Attributes:
        folder: Everything of this machine is below it.
        source: What is copied, as people write it; empty for a model of the store.
        target: Where to, likewise; of a push the registry, as ``host:port``.
        store: The model store that is read or written.
        gateway: ``host:port``; empty where there is none.
        settings: Arguments of the direct clients that do not depend on the run.
        environ: Of the command.
        arguments: Of the command, likewise.
        token: Of the gateway.
        login: The header that shows the registry's login.
        is_limited: Whether the command may write nothing in its first run, where disks cannot be mounted.
    """

    folder: Path
    source: str
    target: str
    store: Path
    gateway: str
    settings: Mapping[str, Any]
    environ: Mapping[str, str]
    arguments: tuple[str, ...]
    token: str
    login: str
    is_limited: bool


class Runner:
    """Carries out the task of *plan*; each run is a new client or process.

    Args:
        plan: What, and how.
        models: All of the plan.
        places: Where.
        name: Of what no other runner writes.

    Attributes:
        process: The command that runs, or has run last.
        started: Set once there is one.
        late_tasks: Names of tasks of ours that outlived their client.
    """

    def __init__(self, plan: Plan, models: tuple[Model, ...], places: Places, name: str = "first") -> None:
        self._plan = plan
        self._name = name
        self._models = models
        self._places = places
        self.process: subprocess.Popen[bytes] | None = None
        self.started = threading.Event()
        self.late_tasks: list[str] = []

    def run(self, patience: float) -> Verdict:
        """Carry the task out.

        Args:
            patience: Seconds without progress after which a request is given up.
        """
        if self._plan.task is Task.PULL:
            return self._pull(patience)
        match self._plan.way:
            case Way.SYNC:
                return self._sync(patience)
            case Way.ASYNC:
                return self._async(patience)
            case Way.SYNC_GATEWAY | Way.REPLICAS:
                return self._sync_gateway(patience)
            case Way.ASYNC_GATEWAY:
                return self._async_gateway(patience)
            case Way.COMMAND:
                return self._command(patience)

    # Straight to the registry.

    def _settings(self, patience: float, hooks: list[Hook]) -> dict[str, Any]:
        return {
            **self._places.settings,
            "store": self._places.store,
            "hooks": hooks,
            "concurrency": self._plan.concurrency,
            "plain_http": True,
            "verify": self._plan.verify or patience == PATIENT,
            "part_bytes": self._plan.part_bytes,
            "stall_timeout": patience,
        }

    @property
    def _items(self) -> list[PushItem]:
        return [PushItem(f"{self._places.target}/{REPOSITORY}:{model.tag}") for model in self._models]

    def _sync(self, patience: float) -> Verdict:
        seen: list[Observation] = []

        def work() -> Iterable[PushVerdict]:
            with (
                closing(Urllib3Transport(connect_timeout=PATIENT, read_timeout=patience, trust_env=False)) as transport,
                RegistryClient(transport=transport, **self._settings(patience, [seen.append])) as client,
            ):
                match self._plan.task:
                    case Task.LIST:
                        return list(client.push_many(self._items, jobs=_JOBS))
                    case Task.PUSH:
                        return [self._one(client.push(self._items[0].model, source="my-llama"))]
                    case _:
                        return [self._one(client.copy(self._places.source, self._places.target))]

        return self._verdict_of(work, seen)

    def _async(self, patience: float) -> Verdict:
        seen: list[Observation] = []

        async def work() -> Iterable[PushVerdict]:
            transport = AiohttpTransport(connect_timeout=PATIENT, read_timeout=patience, trust_env=False)
            try:
                async with AsyncRegistryClient(
                    transport=transport, **self._settings(patience, [seen.append])
                ) as client:
                    match self._plan.task:
                        case Task.LIST:
                            return [each async for each in client.push_many(self._items, jobs=_JOBS)]
                        case Task.PUSH:
                            return [self._one(await client.push(self._items[0].model, source="my-llama"))]
                        case _:
                            return [self._one(await client.copy(self._places.source, self._places.target))]
            finally:
                await transport.aclose()
                self._note_tasks()

        return self._verdict_of(lambda: asyncio.run(work()), seen)

    # Through a gateway.

    def _client_settings(self, patience: float, seen: list[Observation]) -> dict[str, Any]:
        # Longer than the gateway waits for the registry.
        headers = {"Authorization": f"Bearer {self._places.token}"}
        return {
            "hooks": [seen.append],
            "retry": self._places.settings["retry"],
            "stall_timeout": 4 * patience,
            "headers": headers,
        }

    def _sync_gateway(self, patience: float) -> Verdict:
        seen: list[Observation] = []

        def work() -> Iterable[PushVerdict]:
            transport = Urllib3Transport(connect_timeout=PATIENT, trust_env=False)
            client = PushClient(
                f"http://{self._places.gateway}", transport=transport, **self._client_settings(patience, seen)
            )
            with closing(transport), client:
                return [self._one(client.push(self._items[0].model, insecure=True))]

        return self._verdict_of(work, seen)

    def _async_gateway(self, patience: float) -> Verdict:
        seen: list[Observation] = []

        async def work() -> Iterable[PushVerdict]:
            transport = AiohttpTransport(connect_timeout=PATIENT, trust_env=False)
            url, settings = f"http://{self._places.gateway}", self._client_settings(patience, seen)
            try:
                async with AsyncPushClient(url, transport=transport, **settings) as client:
                    return [self._one(await client.push(self._items[0].model, insecure=True))]
            finally:
                await transport.aclose()
                self._note_tasks()

        return self._verdict_of(lambda: asyncio.run(work()), seen)

    def _one(self, receipt: PushReceipt) -> PushVerdict:
        return PushVerdict(self._items[0], receipt)

    def _note_tasks(self) -> None:
        self.late_tasks += [name for task in asyncio.all_tasks() if (name := task.get_name()).startswith("ollama-push")]

    def _verdict_of(self, work: Callable[[], Iterable[PushVerdict]], seen: list[Observation]) -> Verdict:
        problem, ends = "", list[PushVerdict]()
        output: list[str] = []
        try:
            ends = list(work())
        except OllamaPushError as exc:
            output += [str(exc), repr(exc), "".join(traceback.format_exception(exc))]
        except BaseException as exc:  # noqa: BLE001 - whatever it is, it is none of ours
            problem = f"a foreign error: {''.join(traceback.format_exception(exc))}"
        for error in (end.error for end in ends if end.error is not None):
            output += [str(error), repr(error), "".join(traceback.format_exception(error))]
            if not isinstance(error, OllamaPushError):
                problem = f"a foreign error: {output[-1]}"
        output += map(repr, seen)
        receipts = {end.item.model.rpartition(":")[2]: end.receipt for end in ends if end.receipt is not None}
        is_success = len(receipts) == len(self._models)
        return Verdict(
            frozenset(receipts),
            is_success,
            is_success and all(receipt.verified is not False for receipt in receipts.values()),
            problem,
            sum(isinstance(each, RequestRetried) for each in seen),
            tuple(output),
        )

    # The command.

    def _command(self, patience: float) -> Verdict:
        is_limited = patience != PATIENT and self._places.is_limited
        environ = without_coverage(self._places.environ) if is_limited else self._places.environ
        process = subprocess.Popen(
            command(*self._words(), *self._places.arguments, "--stall-timeout", str(patience), *self._checks(patience)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
            preexec_fn=_without_disk if is_limited else None,  # noqa: PLW1509 - it takes no lock
        )
        self.process = process
        self.started.set()
        try:
            out, err = process.communicate(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            return Verdict(problem="no end", output=(out.decode(), err.decode()))
        output = (out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))
        if process.returncode in (-signal.SIGKILL, -signal.SIGTERM):
            # SIGTERM ends it at once while it does not handle it yet, or not any more.
            return Verdict(was_killed=True, output=output)
        return self._verdict_from(output, process.returncode)

    def _words(self) -> list[str]:
        folder, places = self._places.folder, self._places
        match self._plan.task:
            case Task.PUSH:
                return ["push", self._items[0].model, "--direct", "--from", "my-llama"]
            case Task.LIST:
                names = folder / f"names-{self._name}"
                names.write_text("".join(f"{item.model}\n" for item in self._items))
                return [
                    "push",
                    "--direct",
                    "--list",
                    str(names),
                    "--jobs",
                    str(_JOBS),
                    "--report",
                    str(folder / f"report-{self._name}"),
                ]
            case Task.SAVE:
                return ["save", "my-llama", "--output", places.target.removeprefix("oci-archive:")]
            case Task.LOAD:
                return ["load", places.source.removeprefix("oci-archive:").rpartition(":")[0]]
            case _:
                return ["copy", places.source, places.target]

    def _checks(self, patience: float) -> list[str]:
        return [] if self._plan.verify or patience == PATIENT else ["--no-verify"]

    def _verdict_from(self, output: tuple[str, str], code: int) -> Verdict:
        ends, problem = list[dict[str, Any]](), ""
        for line in output[0].splitlines():
            try:
                ends.append(json.loads(line))
            except ValueError:
                problem = f"not JSON on stdout: {line!r}"
        succeeded = [each for each in ends if each.get("event") == "succeeded"]
        is_success = code == 0
        if code not in _EXIT_CODES or code == 1:
            problem = f"exit code {code}"
        elif is_success != (len(succeeded) == len(self._models)):
            problem = f"exit code {code} after {ends[-1:]}"
        if "Traceback" in output[1]:
            problem = "a traceback"
        tags = [model.tag for model in self._models]
        if self._plan.task is Task.LIST:
            tags = [tag for tag in tags if any(f":{tag}" in str(each.get("model")) for each in succeeded)]
        return Verdict(frozenset(tags if succeeded else ()), is_success, is_success, problem, output=output)

    # As `ollama pull` and other clients of registries do.

    def _pull(self, patience: float) -> Verdict:
        puller = _Puller(self._places, max(8 * patience, 5.0), self._plan)
        found = False
        with suppress(OSError, HTTPException, ValueError):
            found = puller.pull(self._models[0])
        tags = frozenset({self._models[0].tag} if found else ())
        return Verdict(tags, found, found, puller.problem, output=tuple(puller.seen))


class _Puller:
    """Reads a model from a gateway, by ranges where a response broke; blobs are whole by their digests alone."""

    def __init__(self, places: Places, patience: float, plan: Plan) -> None:
        self._host = places.gateway
        self._patience = patience
        self._plan = plan
        # Half of all clients send a login, and are sent blobs at once.
        self._login = {"Authorization": places.login} if plan.seed % 2 else {}
        self.problem = ""
        self.seen: list[str] = []

    def pull(self, model: Model) -> bool:
        """Return whether all of *model* came."""
        status, manifest = self._get(f"/v2/{REPOSITORY}/manifests/{model.tag}", {})
        return status == HTTPStatus.OK and manifest == model.raw and all(self._blob(data) for data in model.blobs)

    def _blob(self, data: bytes) -> bool:
        got, path = b"", f"/v2/{REPOSITORY}/blobs/{digest_of(data)}"
        for _ in range(_TRIES):
            with suppress(OSError, HTTPException, ValueError):
                status, body = self._get(path, {"Range": f"bytes={len(got)}-"} if got else {})
                if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                    continue
                got = body if status == HTTPStatus.OK else got + body
                if got == data:
                    return True
                if len(got) >= len(data):
                    if status == HTTPStatus.OK and not self._may_be_wrong:
                        self.problem = f"other bytes than a blob of {len(data)} bytes are sent as that"
                    got = b""
        return False

    @property
    def _may_be_wrong(self) -> bool:
        """Whether what looks like a whole blob may be another: what is kept is checked before its last byte is sent."""
        plan = self._plan
        return (
            plan.flips(Wire.GATEWAY)
            or plan.has(Act.CHANGE_CACHE)
            or (plan.flips(Wire.REGISTRY) and plan.has(Act.FULL_DISK))
        )

    def _get(self, path: str, ranged: Mapping[str, str]) -> tuple[int, bytes]:
        """Return status and body, as far as it came; follow one redirect."""
        host, headers = self._host, {**ranged, **self._login}
        for _ in range(2):
            with closing(HTTPConnection(host, timeout=self._patience)) as connection:
                connection.request("GET", path, headers=headers)
                with connection.getresponse() as response:
                    location = response.getheader("Location", "")
                    if response.status != HTTPStatus.TEMPORARY_REDIRECT:
                        body = _body(response)
                        # aiohttp quotes a request that it cannot read to who has sent it.
                        if response.status > HTTPStatus.BAD_REQUEST:
                            self.seen.append(f"{response.headers}{body!r}")
                        return response.status, body
            parts = urlsplit(location)
            # An address of the link: whatever else a damaged one names is not ours to open.
            host = f"localhost:{self._host.rpartition(':')[2]}"
            path, headers = f"{parts.path}?{parts.query}", dict(ranged)
        return 0, b""


def _body(response: HTTPResponse) -> bytes:
    body = bytearray()
    with suppress(OSError, HTTPException):
        while data := response.read1(65536):
            body += data
    return bytes(body)


def _without_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

"""Carries out a plan: a task, while things happen to it; and says which promise did not hold.

The promises, for every plan:

1. A success means that the registry, store or archive holds exactly the model. A failure is an error of ours, and never
   a success too. What is visible is whole, after a failure as well: no manifest without its blobs, no half archive.
2. The run ends.
3. The next run, to which nothing happens, succeeds and is verified.
4. No connection, thread, task, descriptor, process or temporary file is left.
5. What is sent twice is bounded: a part for each request that was sent again, where the registry keeps parts.
6. No password, in no form, is in an error, a traceback, an event, a log record, an output, a page, a report or a file,
   and no signature where others may read it.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import re
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.faults.link import FaultyLink
from tests.faults.machines import (
    FAKE_CLOCK,
    HAS_REDIS,
    ChildProcess,
    SmallDisk,
    fake_clock,
    may_mount,
    redis_on_socket,
    run_gateway,
    run_registry,
    send_signal,
)
from tests.faults.models import REPOSITORY, Model, in_archive, in_registry, in_store, models_of
from tests.faults.plans import Act, Damage, Disk, Event, Login, Plan, RegistryHabit, Task, Way, Wire
from tests.faults.runners import PATIENT, Places, Runner, Verdict
from tests.faults.servers import (
    BASIC,
    IMPATIENT,
    PASSWORD,
    REDIS_PASSWORD,
    SECRETS,
    TOKEN,
    USER,
    gateway_settings,
    new_redis_store,
    new_registry,
    retry_policy,
)
from tests.support.blobs import digest_of
from tests.support.gateway import Gateway
from tests.support.redis_server import RedisServer
from tests.support.stores import CONFIG

from ollama_push import NoResume, RegistryClient
from ollama_push.core.registry.credentials import Login as GivenLogin
from ollama_push.core.registry.resume import ResumeStore
from ollama_push.local import Credentials, FileResumeStore
from ollama_push.testing.registry import (
    BrokenPartPolicy,
    EmbeddedRegistry,
    Fault,
    Quirks,
    Reply,
)

__all__ = ["run_plan"]

_SIGNATURE: Final = re.compile(r"[?&]sig=[0-9a-f]{16}|[?&]signature=[\w-]{16}")
_END_SECONDS: Final = 120.0
"""No push of a few hundred kB may take longer, however busy the machine is."""
_COMPLAINTS: Final = ("never retrieved", "was destroyed but it is pending", "nclosed", "was never awaited")
_LOOKS: Final = 30
_POLL_SECONDS: Final = 0.002
_NO_SPACE: Final = Reply(
    500, {"Content-Type": "application/json"}, b'{"errors":[{"code":"UNKNOWN","detail":{"Err":28}}]}'
)
_QUIRKS: Final[Mapping[RegistryHabit, Quirks]] = {
    RegistryHabit.PLAIN: Quirks(),
    RegistryHabit.SIGNS_PARTS: Quirks(redirect_uploads=True),
    RegistryHabit.SIGNS_BLOBS: Quirks(redirect_uploads=True, direct_uploads=True),
    RegistryHabit.RELATIVE: Quirks(relative_location=True),
    RegistryHabit.NO_STATUS: Quirks(no_status=True, no_range_in_202=True),
    RegistryHabit.MONOLITHIC: Quirks(monolithic_only=True),
}


def run_plan(plan: Plan, folder: Path, quirks: Quirks | None = None) -> list[str]:
    """Carry out *plan* with everything below *folder*; return what did not hold.

    Args:
        plan: What is done, and what happens.
        folder: Empty, with a short path: the path of a socket has 107 characters at most.
        quirks: Of the registry, instead of those of the plan.
    """
    ChildProcess.prepare()
    before = _descriptors()
    with ExitStack() as stack:
        problems = _Laboratory(plan, folder, quirks or _QUIRKS[plan.habit], stack).run()
    if left := _left_since(before):
        problems.append(f"descriptors are left: {left}")
    return problems


class _Laboratory:
    def __init__(self, plan: Plan, folder: Path, quirks: Quirks, stack: ExitStack) -> None:
        self._plan = plan
        self._quirks = quirks
        self._folder = folder
        self._stack = stack
        self._models = models_of(plan, folder / "models")
        self._layers = self._models[0].layers
        self._clock_offset = 0.0
        self._ended = threading.Event()
        self._problems: list[str] = []
        self._disks: list[SmallDisk] = []
        self._threads = set(threading.enumerate())
        self._records = stack.enter_context(_all_records("ollama_push"))
        self._complaints = stack.enter_context(_all_records("asyncio"))
        self._warnings = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always", ResourceWarning)
        for name in ("tmp", "state", "target"):
            (folder / name).mkdir(mode=0o700)
        self._fill_disks()
        self._redis: RedisServer | None = None
        self._links: dict[Wire, FaultyLink] = {}
        if plan.redis and HAS_REDIS:
            self._redis = stack.enter_context(redis_on_socket(folder, REDIS_PASSWORD))
            self._add_link(Wire.REDIS, str(folder / "redis.sock"))
        self._registry: EmbeddedRegistry | ChildProcess | None = None
        if plan.task.has_registry:
            if plan.task in (Task.FETCH, Task.PULL):
                self._models[0].put_into_registry(folder / "registry")
            self._registry = self._new_registry()
            stack.callback(lambda: _end(self._registry))
            self._add_link(Wire.SOURCE if plan.task is Task.FETCH else Wire.REGISTRY, self._registry.host)
        if plan.task is Task.COPY:
            self._models[0].put_into_registry(folder / "source")
            source = stack.enter_context(new_registry(folder / "source", plan.login))
            self._add_link(Wire.SOURCE, source.host)
        self._store_models()
        self._gateways: list[Gateway | ChildProcess] = []
        if plan.way.has_gateway:
            self._gateways = [self._new_gateway(number) for number in range(2 if plan.way is Way.REPLICAS else 1)]
            stack.callback(lambda: [_end(gateway) for gateway in self._gateways])
            self._add_link(Wire.GATEWAY, *map(_host_of, self._gateways))
        places = self._places()
        self._runner = Runner(plan, self._models, places)
        self._rival = Runner(plan, self._models, places, "rival") if plan.rival else None

    def run(self) -> list[str]:
        first, *rivals = self._run(IMPATIENT, while_it_runs=self._happen)
        self._check("the first run", first)
        for rival in rivals:
            self._check("the run beside the first", rival)
        self._check_modes()
        received = self._received_bytes
        self._restore()
        (second,) = self._run(PATIENT)
        self._check("the next run", second)
        if not second.is_success:
            self._problems.append(f"the next run fails: {second.output[-1:]}")
        elif not second.verified:
            self._problems.append("the next run is not verified")
        self._check_bytes(first, second, received)
        self._check_pages()
        self._check_nothing_is_left()
        self._check_modes()
        self._check_files()
        self._check_complaints()
        return self._problems

    # The machines.

    def _add_link(self, wire: Wire, *targets: str) -> None:
        faults = [fault for fault in self._plan.wire if fault.wire is wire]
        self._links[wire] = link = FaultyLink(targets, faults)
        self._stack.callback(link.close)

    def _new_registry(self) -> EmbeddedRegistry | ChildProcess:
        given = self._folder / "registry", self._plan.login, self._plan.policy, self._quirks
        return ChildProcess(run_registry, new_registry, *given) if self._plan.process else new_registry(*given)

    def _store_models(self) -> None:
        """Write what the task reads, but for what a registry has."""
        root = self._folder / "models"
        if self._plan.task.has_registry:
            for model in self._models:
                model.put_into_store(root, self._registry_host)
        if self._plan.task is Task.LOAD:
            with RegistryClient(store=root, credentials=(USER, "none"), resume=NoResume()) as client:
                client.copy("ollama:my-llama", f"oci-archive:{self._folder / 'in.tar'}:my-llama")

    def _new_gateway(self, number: int) -> Gateway | ChildProcess:
        plan = self._plan
        given = {
            "folder": self._folder,
            "credential": self._credential,
            "registry": self._registry_host,
            "redis": self._redis_url,
            "is_shared": plan.way is Way.REPLICAS,
            "keeps": plan.task is Task.PULL,
        }
        if plan.way is Way.REPLICAS:
            return ChildProcess(run_gateway, gateway_settings, self._folder / f"gateway-{number}.log", given)
        return Gateway(gateway_settings({**given, "resume": self._resume()})).__enter__()

    @property
    def _registry_host(self) -> str:
        link = self._links.get(Wire.REGISTRY) or self._links[Wire.SOURCE]
        return link.host

    @property
    def _redis_url(self) -> str:
        return f"redis://{self._links[Wire.REDIS].host}" if self._redis is not None else ""

    @property
    def _credential(self) -> GivenLogin | None:
        return None if self._plan.login is Login.NONE else GivenLogin(USER, PASSWORD)

    def _logins(self) -> GivenLogin | Credentials | None:
        """Return the login; of a copy those of both registries: a login that is given is shown to the target alone."""
        if self._plan.task is not Task.COPY or self._credential is None:
            return self._credential
        entries = {link.host: {"auth": BASIC} for link in self._links.values()}
        config = self._folder / ".docker" / "config.json"
        config.parent.mkdir(mode=0o700)
        config.write_text(json.dumps({"auths": entries}))
        return Credentials(environ={"DOCKER_CONFIG": str(config.parent)})

    def _resume(self) -> ResumeStore:
        if self._redis_url:
            store = new_redis_store(self._redis_url)
            self._stack.callback(store.close)
            return store
        return FileResumeStore(self._folder / "state" / "uploads", clock=lambda: time.time() + self._clock_offset)

    @property
    def _received_bytes(self) -> int:
        return self._registry.received_bytes if isinstance(self._registry, EmbeddedRegistry) else 0

    def _places(self) -> Places:
        plan, folder = self._plan, self._folder
        source, target, store = "", "", folder / "models"
        match plan.task:
            case Task.PUSH | Task.LIST | Task.PULL:
                target = self._registry_host
            case Task.COPY:
                source = f"docker://{self._links[Wire.SOURCE].host}/{REPOSITORY}:v1"
                target = f"docker://{self._registry_host}/{REPOSITORY}:v1"
            case Task.FETCH:
                source, target = f"docker://{self._registry_host}/{REPOSITORY}:v1", "ollama:my-llama"
                store = folder / "target" / "store"
            case Task.SAVE:
                source, target = "ollama:my-llama", f"oci-archive:{folder / 'target' / 'out.tar'}"
            case Task.LOAD:
                source, target = f"oci-archive:{folder / 'in.tar'}:my-llama", "ollama:my-llama"
                store = folder / "target" / "store"
        return Places(
            folder=folder,
            source=source,
            target=target,
            store=store,
            gateway=self._links[Wire.GATEWAY].host if plan.way.has_gateway else "",
            settings={"credentials": self._logins(), "retry": retry_policy(), "resume": self._resume()},
            environ=self._environment(store),
            arguments=self._arguments(),
            token=TOKEN,
            login=f"Basic {BASIC}",
            is_limited=not may_mount() and any(disk is not Disk.REGISTRY for disk, _ in self._full_disks()),
        )

    def _arguments(self) -> tuple[str, ...]:
        plan = self._plan
        part_bytes = max(plan.part_bytes, 256 * 1024)
        common = ("--retries", "1", "-vv", "--progress", "json", "--concurrency", str(plan.concurrency))
        redis = ("--resume", self._redis_url) if self._redis_url else ()
        return (*common, "--plain-http", "--part-size", str(part_bytes), *redis)

    def _environment(self, store: Path) -> dict[str, str]:
        folder = self._folder
        given = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "OLLAMA_MODELS": str(store),
            "NO_PROXY": "*",
            "TMPDIR": str(folder / "tmp"),
            "XDG_STATE_HOME": str(folder / "state"),
            **{name: value for name, value in os.environ.items() if name.startswith(("COVERAGE_", "PYTHONPATH"))},
        }
        if self._credential is not None and self._plan.task is not Task.COPY:
            given |= {"OLLAMA_USERNAME": USER, "OLLAMA_PASSWORD": PASSWORD}
        if self._redis_url:
            given["OLLAMA_PUSH_REDIS_PASSWORD"] = REDIS_PASSWORD
        if self._plan.has(Act.JUMP) and self._plan.way is Way.COMMAND and FAKE_CLOCK is not None:
            fake_clock(folder / "clock", 0.0)
            given |= {
                "LD_PRELOAD": str(FAKE_CLOCK),
                "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "NO_FAKE_STAT": "1",
            }
        return given

    # What happens.

    def _run(self, patience: float, while_it_runs: Callable[[], None] | None = None) -> list[Verdict]:
        """Run the task, and beside it what happens and who does the same; return the verdicts."""
        self._ended.clear()
        runners = [self._runner]
        if while_it_runs is not None:
            runners += [self._rival] if self._rival is not None else []
            for event in self._plan.events:
                if event.after < 0 and not _needs_process(event):
                    self._act(event)
        happening = threading.Thread(target=while_it_runs or (lambda: None), name="what-happens", daemon=True)
        happening.start()
        endings = [_Ending(runner, patience) for runner in runners]
        verdicts = [ending.wait() for ending in endings]
        self._ended.set()
        happening.join(_END_SECONDS)
        return verdicts

    def _happen(self) -> None:
        due = [event for event in self._plan.events if event.after >= 0 or _needs_process(event)]
        for event in sorted(due, key=lambda event: event.after):
            while self._moved_bytes < event.after:
                if self._ended.wait(_POLL_SECONDS):
                    return
            self._act(event)

    @property
    def _moved_bytes(self) -> int:
        links = (self._links.get(wire) for wire in (Wire.REGISTRY, Wire.SOURCE))
        moved = sum(link.moved_bytes for link in links if link is not None)
        return moved if self._plan.task.has_registry else _size_of(self._folder / "target")

    def _act(self, event: Event) -> None:
        match event.act:
            case Act.RESTART | Act.EXPIRE | Act.FULL_REGISTRY:
                self._trouble_registry(event)
            case Act.KILL_REGISTRY:
                self._replace_registry()
            case Act.PAUSE_REGISTRY:
                assert isinstance(self._registry, ChildProcess)
                self._pause(self._registry.pid, event.amount)
            case Act.CHANGE_BLOB | Act.SHORTEN_BLOB | Act.REPLACE_BLOB | Act.CHANGE_CACHE:
                self._change_files(event)
            case Act.JUMP:
                self._clock_offset += event.amount
                if (self._folder / "clock").exists():
                    fake_clock(self._folder / "clock", self._clock_offset)
            case Act.KILL | Act.TERMINATE | Act.PAUSE:
                self._signal(event)
            case Act.KILL_REDIS | Act.PAUSE_REDIS if self._redis is not None:
                self._trouble_redis(self._redis, event)
            case _:
                pass  # a disk that is full is so from the start, and there may be no Redis on this machine

    def _trouble_registry(self, event: Event) -> None:
        assert isinstance(self._registry, EmbeddedRegistry)
        match event.act:
            case Act.RESTART:
                self._registry.restart()
            case Act.EXPIRE:
                self._registry.expire_sessions()
            case _:
                for method in ("POST", "PATCH", "PUT"):
                    self._registry.add_fault(Fault(method, times=None, action=_NO_SPACE))

    def _trouble_redis(self, redis: RedisServer, event: Event) -> None:
        if event.act is Act.PAUSE_REDIS:
            redis.stop()
            self._ended.wait(event.amount)
            redis.resume()
            return
        redis.kill()
        self._ended.wait(event.amount / 10)
        (self._folder / "redis.sock").unlink(missing_ok=True)
        redis.start()

    def _change_files(self, event: Event) -> None:
        if event.act is Act.CHANGE_CACHE:
            for path in (self._folder / "target" / "cache").glob("sha256-*"):
                with suppress(OSError):
                    path.write_bytes(bytes(path.stat().st_size))
            return
        data = self._layers[int(event.amount)]
        path = self._blob_path(data)
        match event.act:
            case Act.SHORTEN_BLOB:
                path.write_bytes(data[: len(data) // 2])
            case Act.CHANGE_BLOB:
                with path.open("r+b") as file:
                    file.seek(len(data) // 3)
                    file.write(bytes(len(data) - len(data) // 3))
            case _:
                new = path.with_suffix(".new")
                new.write_bytes(data[::-1])
                new.replace(path)

    def _replace_registry(self) -> None:
        _end(self._registry)
        self._registry = self._new_registry()
        self._links[Wire.REGISTRY].targets = (self._registry.host,)

    def _signal(self, event: Event) -> None:
        if self._plan.way is Way.REPLICAS:
            self._signal_gateway(event)
            return
        assert self._runner.started.wait(PATIENT)
        assert self._runner.process is not None
        match event.act:
            case Act.KILL:
                self._runner.process.kill()
            case Act.TERMINATE:
                self._runner.process.send_signal(signal.SIGTERM)
            case _:
                self._pause(self._runner.process.pid, event.amount)

    def _signal_gateway(self, event: Event) -> None:
        gateway = self._gateways[0]
        assert isinstance(gateway, ChildProcess)
        if event.act is Act.PAUSE:
            self._pause(gateway.pid, event.amount)
            return
        if event.act is Act.KILL:
            gateway.kill()
        elif (code := gateway.terminate()) != 0:
            self._problems.append(f"a gateway ends with {code} after SIGTERM")
        self._gateways[0] = self._new_gateway(len(list(self._folder.glob("gateway-*.log"))))
        # Whoever comes now gets to the other one.
        self._links[Wire.GATEWAY].targets = [_host_of(each) for each in reversed(self._gateways)]

    def _pause(self, pid: int, seconds: float) -> None:
        send_signal(pid, signal.SIGSTOP)
        self._ended.wait(seconds)
        send_signal(pid, signal.SIGCONT)

    def _full_disks(self) -> Iterator[tuple[Disk, int]]:
        by_disk = {event.disk: event for event in self._plan.events if event.act is Act.FULL_DISK}
        for disk, event in by_disk.items():
            yield disk, round(event.amount * self._plan.total_bytes) if disk is not Disk.STATE else 0

    def _fill_disks(self) -> None:
        """Mount disks that are too small, where that is permitted."""
        folders = {Disk.STATE: "state", Disk.TARGET: "target", Disk.REGISTRY: "registry"}
        for disk, size in self._full_disks() if may_mount() else ():
            self._disks.append(SmallDisk(self._folder / folders[disk], size + (disk is Disk.REGISTRY) * 64 * 1024))
            self._stack.callback(self._disks[-1].close)

    def _restore(self) -> None:
        """Mend everything, as people would: the machines run again, disks have room, and the model is whole."""
        for link in self._links.values():
            link.heal()
        for disk in self._disks:
            disk.grow()
        if self._plan.has(Act.DAMAGE_KEPT):
            self._damage_kept()
        for model in self._models:
            for data in model.blobs:
                self._blob_path(data).write_bytes(data)
        if self._registry is not None and self._plan.task is not Task.FETCH:
            self._replace_registry()

    def _damage_kept(self) -> None:
        """Change some bytes of each resume point, lesson and unfinished file, or cut it."""
        chance = random.Random(self._plan.seed)
        unfinished = (each for each in (self._folder / "target").rglob("*") if each.suffix in (".part", ".partial"))
        for path in sorted((*(self._folder / "state").rglob("*.json"), *unfinished)):
            if not (data := bytearray(path.read_bytes())):
                continue
            for _ in range(chance.randrange(1, 4)):
                data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
            path.write_bytes(data[: chance.choice((len(data), len(data), chance.randrange(len(data))))])

    def _blob_path(self, data: bytes) -> Path:
        return self._folder / "models" / "blobs" / digest_of(data).replace(":", "-")

    # What must hold.

    def _check(self, which: str, verdict: Verdict) -> None:
        if verdict.problem:
            self._problems.append(f"{which}: {verdict.problem}")
        for model in self._models:
            missing = self._missing(model)
            if model.tag in verdict.succeeded and missing and not self._may_be_unseen(verdict):
                self._problems.append(f"{which} is a success, but {missing}")
            elif missing and not missing.startswith("there is no") and not self._plan.task.has_target_registry:
                self._problems.append(f"{which} is no success, but {missing}")
        self._check_secrets(which, verdict.output)

    def _may_be_unseen(self, verdict: Verdict) -> bool:
        """Whether a success may be wrong: nobody has looked, and a bit was flipped on the way."""
        looks = self._plan.verify or self._plan.way.has_gateway or verdict.verified
        return self._plan.flips(Wire.REGISTRY, Wire.GATEWAY) and not looks

    def _missing(self, model: Model) -> str:
        """Say what of *model* is not where it should be; empty when exactly it is there."""
        match self._plan.task:
            case Task.PULL:
                return ""  # who pulls has looked
            case Task.FETCH | Task.LOAD:
                return in_store(self._folder / "target" / "store", model)
            case Task.SAVE:
                return in_archive(self._folder / "target" / "out.tar", model)
            case _:
                return in_registry(self._folder / "registry", model)

    def _check_secrets(self, where: str, texts: tuple[str, ...]) -> None:
        for text in (*texts, *self._records):
            if any(secret in text for secret in SECRETS):
                self._problems.append(f"{where} shows a password")
                return
            if _SIGNATURE.search(text):
                self._problems.append(f"{where} shows a signature")
                return

    def _check_bytes(self, first: Verdict, second: Verdict, received: int) -> None:
        plan = self._plan
        is_countable = (
            plan.way in (Way.SYNC, Way.ASYNC)
            and plan.task in (Task.PUSH, Task.COPY)
            and plan.habit in (RegistryHabit.PLAIN, RegistryHabit.RELATIVE)
            and plan.policy is BrokenPartPolicy.KEEPS_BROKEN_PARTS
            and not plan.process
            and not plan.rival
            and not plan.events
            and all(
                fault.damage not in (Damage.FLIP, Damage.DOUBLE) and fault.wire is not Wire.REDIS for fault in plan.wire
            )
        )
        if is_countable:
            # The closing request of an upload may carry the rest of a blob of up to 256 KiB.
            part = max(plan.part_bytes, 256 * 1024)
            lost = (first.retries + second.retries + plan.concurrency) * part
            total = received + self._received_bytes
            if total > plan.total_bytes + len(CONFIG) + lost:
                self._problems.append(f"{total} bytes were sent of {plan.total_bytes}; {lost} more were to be expected")

    def _check_pages(self) -> None:
        """What the gateways show of it all has no secrets."""
        for gateway in self._gateways:
            if isinstance(gateway, Gateway):
                headers = {"Authorization": f"Bearer {TOKEN}"}
                bodies = [gateway.send("GET", path, headers=headers).body for path in ("/ui", "/metrics", "/healthz")]
                self._check_secrets("a page", tuple(body.decode() for body in bodies))
                if late := gateway.tasks():
                    late = [name for name in late if "push" in name and "replicas" not in name]
                    if late:
                        self._problems.append(f"tasks are left: {late}")

    def _check_nothing_is_left(self) -> None:
        gateways, self._gateways = self._gateways, []
        for gateway in gateways:
            if (code := _end(gateway)) not in (None, 0):
                self._problems.append(f"a gateway ends with {code}")
        for runner in (self._runner, self._rival):
            if runner is not None and runner.late_tasks:
                self._problems.append(f"tasks are left: {runner.late_tasks}")
        for wire, link in self._links.items():
            # Redis is asked over connections that are kept until the store is closed.
            if wire is not Wire.REDIS and not _comes_to_rest(link):
                self._problems.append(f"a connection to the {wire.value} is left open")
        for thread in set(threading.enumerate()) - self._threads:
            if thread.name.startswith(("ollama-push", "gateway")):
                thread.join(PATIENT)
                if thread.is_alive():
                    self._problems.append(f"a thread is left: {thread.name}")

    def _check_complaints(self) -> None:
        """Nobody has let an exception, a task or a connection go unnoticed."""
        gc.collect()
        logs = [path.read_text("utf-8", "replace") for path in self._folder.glob("gateway-*.log")]
        # A registry of ours that restarts leaves connections that it is just accepting.
        warned = [] if self._plan.has(Act.RESTART) else [str(each.message) for each in self._warnings]
        if found := [text for text in (*self._complaints, *logs, *warned) if any(each in text for each in _COMPLAINTS)]:
            self._problems.append(f"Python complains: {found}")

    def _check_modes(self) -> None:
        for path in (self._folder / "state").rglob("*"):
            with suppress(FileNotFoundError):  # of another run that ends
                if path.is_file() and (mode := path.stat().st_mode & 0o777) & 0o077:
                    self._problems.append(f"others may read {path.name}: {mode:o}")

    def _check_files(self) -> None:
        for path in (
            *(self._folder / "state").rglob("*"),
            *self._folder.glob("gateway-*.log"),
            self._folder / "report",
        ):
            if path.is_file() and (found := [each for each in SECRETS if each.encode() in path.read_bytes()]):
                self._problems.append(f"{path.name} holds a password: {found}")
        if self._plan.has(Act.KILL, Act.TERMINATE):
            return
        files = [*(self._folder / "tmp").iterdir()]
        files += [path for path in (self._folder / "target").rglob("*") if path.suffix in (".part", ".tmp", ".new")]
        if files:
            self._problems.append(f"files are left: {files}")


class _Ending:
    """A run in a thread of its own, which may hang."""

    def __init__(self, runner: Runner, patience: float) -> None:
        self._verdicts: list[Verdict] = []
        work = lambda: self._verdicts.append(runner.run(patience))  # noqa: E731 - as short as its name
        self._thread = threading.Thread(target=work, name="running", daemon=True)
        self._thread.start()

    def wait(self) -> Verdict:
        self._thread.join(_END_SECONDS)
        problem = f"no end after {_END_SECONDS} s, or a foreign error"
        return self._verdicts[0] if self._verdicts else Verdict(problem=problem)


def _needs_process(event: Event) -> bool:
    return event.act in (Act.KILL, Act.TERMINATE, Act.PAUSE)


def _host_of(machine: Gateway | ChildProcess) -> str:
    return machine.host if isinstance(machine, ChildProcess) else f"127.0.0.1:{machine.port}"


def _end(machine: EmbeddedRegistry | Gateway | ChildProcess | None) -> int | None:
    match machine:
        case Gateway():
            machine.stop()
        case ChildProcess():
            return machine.terminate()
        case EmbeddedRegistry():
            machine.close()
    return None


def _comes_to_rest(link: FaultyLink) -> bool:
    """Wait until nobody is connected any more; return whether that comes.

    A registry of ours that is restarted leaves a connection which it is just accepting to the garbage collector
    (asyncio, CPython 3.11: ``Server.close`` knows it not yet).
    """
    for _ in range(_LOOKS):
        if link.is_idle(PATIENT / _LOOKS):
            return True
        gc.collect()
    return False


def _size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def _descriptors() -> Counter[str]:
    found = Counter[str]()
    for number in os.listdir("/proc/self/fd") if sys.platform == "linux" else ():  # noqa: PTH208 - they vanish while one looks
        with suppress(OSError):
            found[str(Path(f"/proc/self/fd/{number}").readlink())] += 1
    return found


def _left_since(before: Counter[str]) -> list[str]:
    """Return the descriptors that are new, once they do not get fewer any more."""
    deadline = time.monotonic() + 10.0
    while left := sorted((_descriptors() - before).elements()):
        gc.collect()
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
    return left


@contextmanager
def _all_records(name: str) -> Iterator[list[str]]:
    """Collect what the logger *name* is told at any level, and let nobody else have it."""
    records: list[str] = []

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(self.format(record))

    logger, handler = logging.getLogger(name), Collecting()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]

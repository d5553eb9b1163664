"""Plans: what is to be done, and what happens meanwhile. Each is made from its seed alone, and written as JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, Final

import attrs

from ollama_push.testing.registry import BrokenPartPolicy

__all__ = [
    "Act",
    "Damage",
    "Disk",
    "Event",
    "Login",
    "Plan",
    "RegistryHabit",
    "Task",
    "Way",
    "Wire",
    "WireFault",
    "plan_of",
    "shrunk",
    "smaller_plans",
    "written",
]

_KIB: Final = 1024


class Way(Enum):
    """Who does it."""

    SYNC = "sync client"
    ASYNC = "async client"
    SYNC_GATEWAY = "sync client, gateway"
    ASYNC_GATEWAY = "async client, gateway"
    REPLICAS = "sync client, one of two gateways that are processes and share Redis"
    COMMAND = "command"

    @property
    def has_gateway(self) -> bool:
        """Whether the registry is behind a gateway."""
        return self in (Way.SYNC_GATEWAY, Way.ASYNC_GATEWAY, Way.REPLICAS)


class Task(Enum):
    """What is to be done."""

    PUSH = "push a model"
    LIST = "push three models, which share a layer"
    COPY = "copy a model from registry to registry"
    FETCH = "copy a model from a registry to a store"
    SAVE = "write a model of the store to an archive"
    LOAD = "write a model of an archive to a store"
    PULL = "pull a model through a gateway that keeps what is pulled"

    @property
    def has_target_registry(self) -> bool:
        """Whether a registry gets the model."""
        return self in (Task.PUSH, Task.LIST, Task.COPY)

    @property
    def has_registry(self) -> bool:
        """Whether a registry takes part."""
        return self not in (Task.SAVE, Task.LOAD)

    @property
    def reads_store(self) -> bool:
        """Whether the model comes from the store."""
        return self in (Task.PUSH, Task.LIST, Task.SAVE)


class Login(Enum):
    """What the registry asks for."""

    NONE = "none"
    BASIC = "basic"
    TOKEN = "token"


class RegistryHabit(Enum):
    """In what the registry differs."""

    PLAIN = "as distribution 3"
    SIGNS_PARTS = "signs URLs for parts, as Ollama's"
    SIGNS_BLOBS = "signs URLs for blobs, as Ollama's newer one"
    RELATIVE = "relative locations"
    NO_STATUS = "no status of uploads, and no range after a part"
    MONOLITHIC = "whole blobs only"


class Wire(Enum):
    """Between whom bytes are damaged."""

    REGISTRY = "registry"
    """Whoever pushes, or reads, and the registry."""
    SOURCE = "source"
    """Whoever copies and the registry it copies from."""
    GATEWAY = "gateway"
    """Client and gateway."""
    REDIS = "redis"
    """Whoever pushes and Redis."""


class Damage(Enum):
    """What happens to the bytes of one direction of one connection, from an offset on."""

    CLOSE = "close"
    RESET = "reset"
    DELAY = "delay"
    THROTTLE = "throttle"
    SILENCE = "silence"
    """Nothing is forwarded any more, in either direction; the connection stays open."""
    FLIP = "flip"
    """Bits of some bytes are flipped."""
    DOUBLE = "double"
    """All that the client sends on this connection arrives at the target twice."""


class Act(Enum):
    """What happens to machines."""

    RESTART = "restart the registry"
    EXPIRE = "forget the open uploads"
    FULL_REGISTRY = "the registry says that its disk is full"
    KILL_REGISTRY = "kill the registry's process, and start another"
    PAUSE_REGISTRY = "pause the registry's process"
    CHANGE_BLOB = "change a blob on disk"
    SHORTEN_BLOB = "shorten a blob on disk"
    REPLACE_BLOB = "put another file in the place of a blob on disk"
    CHANGE_CACHE = "change what the gateway keeps on disk"
    DAMAGE_KEPT = "damage what was kept to be resumed, once the run is over"
    JUMP = "let the clock jump"
    FULL_DISK = "a disk is full from the start"
    KILL = "kill the process that pushes, or a gateway"
    TERMINATE = "send it SIGTERM"
    PAUSE = "pause it"
    KILL_REDIS = "kill Redis, and start another"
    PAUSE_REDIS = "pause Redis"


class Disk(Enum):
    """Which disk is full."""

    STATE = "resume points"
    TARGET = "what is written: a store, an archive, what a gateway keeps"
    REGISTRY = "the registry's"


@attrs.frozen
class WireFault:
    """Damage to a connection.

    Attributes:
        damage: What happens.
        connection: Which connection through the link, from 1.
        upstream: Whether to what the client sends; otherwise to what it gets.
        after: Bytes of this direction that pass first.
        wire: Which link.
        seconds: Of ``DELAY``.
        bytes_per_second: Of ``THROTTLE``.
        mask: Bits that ``FLIP`` flips.
        count: Bytes that ``FLIP`` changes.
    """

    damage: Damage
    connection: int
    upstream: bool
    after: int
    wire: Wire = Wire.REGISTRY
    seconds: float = 0.0
    bytes_per_second: float = 0.0
    mask: int = 1
    count: int = 1


@attrs.frozen
class Event:
    """Something that happens to a machine.

    Attributes:
        act: What.
        after: Bytes that have moved first; below 0 for before it begins.
        amount: Seconds of a jump or a pause; the number of a blob; the size of a full disk, as a share of the model.
        disk: Of ``FULL_DISK``.
    """

    act: Act
    after: int
    amount: float = 0.0
    disk: Disk = Disk.STATE


@attrs.frozen
class Plan:
    """One task, and everything that happens meanwhile.

    Attributes:
        seed: Makes the model's bytes, too.
        layers: Bytes of each.
        part_bytes: Of the client.
        concurrency: Blobs at the same time.
        verify: Whether the registry is asked afterwards.
        redis: Whether unfinished uploads are kept there.
        process: Whether the registry is a process of its own.
        rival: Whether another does the same at the same time, with the same folders.
    """

    seed: int
    way: Way
    login: Login
    policy: BrokenPartPolicy
    layers: tuple[int, ...]
    part_bytes: int
    concurrency: int
    verify: bool
    task: Task = Task.PUSH
    habit: RegistryHabit = RegistryHabit.PLAIN
    redis: bool = False
    process: bool = False
    rival: bool = False
    wire: tuple[WireFault, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def total_bytes(self) -> int:
        """Bytes of all layers."""
        return sum(self.layers)

    @property
    def wires(self) -> tuple[Wire, ...]:
        """The links that there are."""
        return (
            *((Wire.REGISTRY,) if self.task.has_registry and self.task is not Task.FETCH else ()),
            *((Wire.SOURCE,) if self.task in (Task.COPY, Task.FETCH) else ()),
            *((Wire.GATEWAY,) if self.way.has_gateway else ()),
            *((Wire.REDIS,) if self.redis else ()),
        )

    def has(self, *acts: Act) -> bool:
        """Say whether one of *acts* happens."""
        return any(event.act in acts for event in self.events)

    def flips(self, *wires: Wire) -> bool:
        """Say whether bits are flipped on one of *wires*."""
        return any(fault.damage is Damage.FLIP and fault.wire in wires for fault in self.wire)


def plan_of(seed: int) -> Plan:
    """Return the plan of *seed*."""
    chance = random.Random(seed)
    way = chance.choices([*Way], [26, 26, 16, 10, 4, 14])[0]
    task = _task(chance, way)
    layers = tuple(
        chance.choice((0, 1, chance.randrange(2, 4 * _KIB), chance.randrange(4 * _KIB, 600 * _KIB)))
        for _ in range(chance.randrange(1, 4))
    )
    # Larger where nothing but disks takes time, so that something may happen in the middle.
    largest = 900 * _KIB if task.has_registry else 16_000 * _KIB
    layers = (*layers, chance.randrange(200 * _KIB, largest))
    habits = [6, 2, 2, 1, 1, 1] if task.has_target_registry else [1, 0, 0, 0, 0, 0]
    plan = Plan(
        seed=seed,
        way=way,
        login=chance.choice([*Login]),
        policy=chance.choice([*BrokenPartPolicy]),
        layers=layers,
        part_bytes=chance.choice((64 * _KIB, 128 * _KIB, 256 * _KIB, 2048 * _KIB)),
        concurrency=chance.randrange(1, 4),
        verify=chance.random() < 0.8,
        task=task,
        habit=chance.choices([*RegistryHabit], habits)[0],
        redis=way is Way.REPLICAS or (task in (Task.PUSH, Task.LIST, Task.COPY) and chance.random() < 0.25),
        process=task is not Task.FETCH and task.has_registry and chance.random() < 0.12,
        rival=chance.random() < 0.15,
    )
    # A list of events and one of damage; sometimes neither, more often much of both.
    wire = tuple(_wire_fault(chance, plan) for _ in range(chance.choices(range(5), [1, 4, 4, 3, 2])[0]) if plan.wires)
    plan = attrs.evolve(plan, wire=wire)
    most = 2 if task.has_registry else 3
    return attrs.evolve(
        plan, events=tuple(_events(chance, plan, chance.choices(range(most + 1), [4, 5, 3, 2][: most + 1])[0]))
    )


def _task(chance: random.Random, way: Way) -> Task:
    match way:
        case Way.SYNC_GATEWAY:
            return chance.choices([Task.PUSH, Task.PULL], [1, 1])[0]
        case Way.ASYNC_GATEWAY | Way.REPLICAS:
            return Task.PUSH
        case _:
            return chance.choices(
                [Task.PUSH, Task.LIST, Task.COPY, Task.FETCH, Task.SAVE, Task.LOAD], [12, 2, 3, 2, 2, 2]
            )[0]


def _wire_fault(chance: random.Random, plan: Plan) -> WireFault:
    damage = chance.choices([*Damage], [3, 3, 2, 2, 1, 4, 2])[0]
    weights = {Wire.REGISTRY: 7, Wire.SOURCE: 7, Wire.GATEWAY: 3, Wire.REDIS: 3}
    wire = chance.choices(plan.wires, [weights[wire] for wire in plan.wires])[0]
    reads = wire is Wire.SOURCE or plan.task is Task.PULL
    upstream = damage is Damage.DOUBLE or chance.random() < (0.2 if reads else 0.6)
    after = chance.choice((0, chance.randrange(400), chance.randrange(2000), chance.randrange(plan.total_bytes + 2000)))
    return WireFault(
        damage,
        connection=chance.choices((1, 2, 3, 4, 5), [5, 4, 3, 2, 1])[0],
        upstream=upstream,
        after=after if upstream is not reads and wire is not Wire.REDIS else min(after, chance.randrange(1500)),
        wire=wire,
        seconds=chance.choice((0.01, 0.05, 0.2)) if damage is Damage.DELAY else 0.0,
        bytes_per_second=chance.choice((200_000.0, 2_000_000.0)) if damage is Damage.THROTTLE else 0.0,
        mask=chance.choice((1 << chance.randrange(8), chance.randrange(1, 256))),
        count=chance.choice((1, 1, 1, chance.randrange(2, 40))),
    )


def _events(chance: random.Random, plan: Plan, count: int) -> Iterator[Event]:
    acts = [*_possible_acts(plan)]
    for _ in range(count if acts else 0):
        act = chance.choice(acts)
        amount = float(chance.randrange(len(plan.layers)))
        if act is Act.JUMP:
            amount = chance.choice((-1e7, -3600.0, 3600.0, 1e7))
        elif act in (Act.PAUSE, Act.PAUSE_REGISTRY, Act.PAUSE_REDIS):
            amount = chance.choice((0.05, 0.3, 0.9))
        elif act is Act.FULL_DISK:
            amount = chance.choice((0.0, chance.random()))
        after = chance.choice((-1, *(3 * [chance.randrange(plan.total_bytes)])))
        yield Event(act, after, amount, chance.choice([*_disks(plan)]))


def _disks(plan: Plan) -> Iterator[Disk]:
    if plan.task.has_target_registry:
        yield Disk.STATE
        yield Disk.REGISTRY
    else:
        yield Disk.TARGET


def _possible_acts(plan: Plan) -> Iterator[Act]:
    if plan.task.has_registry:
        yield from (Act.KILL_REGISTRY, Act.KILL_REGISTRY, Act.PAUSE_REGISTRY) if plan.process else (Act.RESTART,)
    if plan.task.has_target_registry and not plan.process:
        yield from (Act.EXPIRE, Act.FULL_REGISTRY)
    if plan.task.reads_store:
        yield from (Act.CHANGE_BLOB, Act.SHORTEN_BLOB, Act.REPLACE_BLOB)
    if plan.task is Task.PULL:
        yield from (Act.CHANGE_CACHE, Act.CHANGE_CACHE)
    else:
        yield Act.DAMAGE_KEPT
    yield Act.FULL_DISK
    if plan.way is not Way.REPLICAS:
        yield Act.JUMP
    if plan.way in (Way.COMMAND, Way.REPLICAS):
        # Whoever dies with a claim in Redis keeps the next one waiting for as long as its lease.
        yield from (Act.TERMINATE, Act.PAUSE)
        if plan.way is Way.REPLICAS or not plan.redis:
            yield from (Act.KILL, Act.KILL)
    if plan.redis:
        yield from (Act.KILL_REDIS, Act.PAUSE_REDIS)


def written(plan: Plan) -> str:
    """Return *plan* as JSON, for people and for a report."""

    def plain(_instance: object, _attribute: object, value: Any) -> Any:
        return value.value if isinstance(value, Enum) else value

    return json.dumps(attrs.asdict(plan, value_serializer=plain))


def smaller_plans(plan: Plan) -> Iterator[Plan]:
    """Yield plans that have one thing less than *plan*: the first that still fails tells more."""
    for index in range(len(plan.wire)):
        yield attrs.evolve(plan, wire=(*plan.wire[:index], *plan.wire[index + 1 :]))
    for index in range(len(plan.events)):
        yield attrs.evolve(plan, events=(*plan.events[:index], *plan.events[index + 1 :]))
    for index in range(len(plan.layers) - 1):
        yield attrs.evolve(plan, layers=(*plan.layers[:index], *plan.layers[index + 1 :]))
    if plan.login is not Login.NONE:
        yield attrs.evolve(plan, login=Login.NONE)
    if plan.habit is not RegistryHabit.PLAIN:
        yield attrs.evolve(plan, habit=RegistryHabit.PLAIN)
    if plan.rival:
        yield attrs.evolve(plan, rival=False)
    if plan.concurrency > 1:
        yield attrs.evolve(plan, concurrency=1)


def shrunk(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """Return the smallest plan found that still *fails*: none with one thing less does."""
    while (found := next(filter(fails, smaller_plans(plan)), None)) is not None:
        plan = found
    return plan

"""Plans: what a push is, and what happens to it. Each is made from its seed alone, and can be written down as JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

import attrs

from ollama_push.testing.registry import BrokenPartPolicy

__all__ = ["Act", "Damage", "Event", "Login", "Plan", "Way", "WireFault", "plan_of", "smaller_plans", "written"]

_KIB: Final = 1024


class Way(Enum):
    """Who pushes."""

    SYNC = "sync client"
    ASYNC = "async client"
    SYNC_GATEWAY = "sync client, gateway"
    ASYNC_GATEWAY = "async client, gateway"
    COMMAND = "command"


class Login(Enum):
    """What the registry asks for."""

    NONE = "none"
    BASIC = "basic"
    TOKEN = "token"


class Damage(Enum):
    """What happens to the bytes of one direction of one connection, from an offset on."""

    CLOSE = "close"
    RESET = "reset"
    DELAY = "delay"
    THROTTLE = "throttle"
    SILENCE = "silence"
    """Nothing is forwarded any more, in either direction; the connection stays open."""
    FLIP = "flip"
    """Bits of one byte are flipped."""
    DOUBLE = "double"
    """All that the client sends on this connection arrives at the target twice."""


class Act(Enum):
    """What happens to machines."""

    RESTART = "restart the registry"
    EXPIRE = "forget the open uploads"
    CHANGE_BLOB = "change a blob on disk"
    SHORTEN_BLOB = "shorten a blob on disk"
    JUMP = "let the clock jump"
    FULL_STATE = "fill the disk of the resume points"
    FULL_REGISTRY = "fill the registry's disk"
    KILL = "kill the pushing process"
    PAUSE = "pause the pushing process"


@attrs.frozen
class WireFault:
    """Damage to a connection.

    Attributes:
        damage: What happens.
        connection: Which connection through the link, from 1.
        upstream: Whether to what the client sends; otherwise to what it gets.
        after: Bytes of this direction that pass first.
        near: On the link between client and gateway; otherwise on the one to the registry.
        seconds: Of ``DELAY``.
        bytes_per_second: Of ``THROTTLE``.
        mask: Bits that ``FLIP`` flips.
    """

    damage: Damage
    connection: int
    upstream: bool
    after: int
    near: bool = False
    seconds: float = 0.0
    bytes_per_second: float = 0.0
    mask: int = 1


@attrs.frozen
class Event:
    """Something that happens to a machine.

    Attributes:
        act: What.
        after: Bytes of blobs that the registry has received first.
        amount: Seconds of ``JUMP`` and ``PAUSE``; the number of a blob.
    """

    act: Act
    after: int
    amount: float = 0.0


@attrs.frozen
class Plan:
    """One push, and everything that happens to it.

    Attributes:
        seed: Makes the model's bytes, too.
        layers: Bytes of each.
        part_bytes: Of the client.
        concurrency: Blobs at the same time.
    """

    seed: int
    way: Way
    login: Login
    policy: BrokenPartPolicy
    layers: tuple[int, ...]
    part_bytes: int
    concurrency: int
    verify: bool
    wire: tuple[WireFault, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def total_bytes(self) -> int:
        """Bytes of all layers."""
        return sum(self.layers)


def plan_of(seed: int) -> Plan:
    """Return the plan of *seed*."""
    chance = random.Random(seed)
    way = chance.choices([*Way], [30, 30, 12, 12, 16])[0]
    layers = tuple(
        chance.choice((0, 1, chance.randrange(2, 4 * _KIB), chance.randrange(4 * _KIB, 600 * _KIB)))
        for _ in range(chance.randrange(1, 4))
    )
    layers = (*layers, chance.randrange(200 * _KIB, 900 * _KIB))
    plan = Plan(
        seed=seed,
        way=way,
        login=chance.choice([*Login]),
        policy=chance.choice([*BrokenPartPolicy]),
        layers=layers,
        part_bytes=chance.choice((64 * _KIB, 128 * _KIB, 256 * _KIB, 2048 * _KIB)),
        concurrency=chance.randrange(1, 4),
        verify=chance.random() < 0.8,
    )
    wire = tuple(_wire_fault(chance, plan) for _ in range(chance.choices(range(5), [1, 4, 4, 3, 2])[0]))
    events = tuple(_events(chance, plan))
    return attrs.evolve(plan, wire=wire, events=events)


def _wire_fault(chance: random.Random, plan: Plan) -> WireFault:
    damage = chance.choices([*Damage], [3, 3, 2, 2, 1, 2, 2])[0]
    upstream = damage is Damage.DOUBLE or chance.random() < 0.6
    after = chance.choice((0, chance.randrange(400), chance.randrange(2000), chance.randrange(plan.total_bytes + 2000)))
    return WireFault(
        damage,
        connection=chance.choices((1, 2, 3, 4, 5), [5, 4, 3, 2, 1])[0],
        upstream=upstream,
        after=after if upstream else min(after, chance.randrange(1500)),
        near=plan.way in (Way.SYNC_GATEWAY, Way.ASYNC_GATEWAY) and chance.random() < 0.3,
        seconds=chance.choice((0.01, 0.05, 0.2)) if damage is Damage.DELAY else 0.0,
        bytes_per_second=chance.choice((200_000.0, 2_000_000.0)) if damage is Damage.THROTTLE else 0.0,
        mask=1 << chance.randrange(8),
    )


def _events(chance: random.Random, plan: Plan) -> Iterator[Event]:
    acts = [Act.RESTART, Act.EXPIRE, Act.CHANGE_BLOB, Act.SHORTEN_BLOB, Act.FULL_REGISTRY]
    if plan.way is Way.COMMAND:
        acts += [Act.KILL, Act.KILL, Act.PAUSE, Act.FULL_STATE]
    else:
        acts += [Act.JUMP]
    for _ in range(chance.choices(range(3), [5, 4, 1])[0]):
        act = chance.choice(acts)
        amount = {
            Act.JUMP: chance.choice((-1e7, -3600.0, 3600.0, 1e7)),
            Act.PAUSE: chance.choice((0.05, 0.3)),
        }.get(act, float(chance.randrange(len(plan.layers))))
        yield Event(act, chance.randrange(plan.total_bytes), amount)


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
    if plan.concurrency > 1:
        yield attrs.evolve(plan, concurrency=1)

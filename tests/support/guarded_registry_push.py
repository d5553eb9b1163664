"""A whole push straight to a registry; ``guarded_core`` runs this where everything impure raises.

It stands alone: under the guard nothing of the tests can be imported.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

from ollama_push.core.errors import ConnectionLost, OllamaPushError
from ollama_push.core.hooks import HookSet
from ollama_push.core.observations import PushContext
from ollama_push.core.registry.authorizer import Authorizer
from ollama_push.core.registry.blob_upload.part_sizes import PartSizes
from ollama_push.core.registry.credentials import Login
from ollama_push.core.registry.effects import (
    ClaimUpload,
    EmitEvent,
    Exclusive,
    FindCredential,
    Flow,
    Gather,
    HoldsUpload,
    Rehash,
    ReportRetry,
)
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.flows.login import login_flow
from ollama_push.core.registry.flows.plan import plan_flow
from ollama_push.core.registry.flows.push import Delivery, push_flow
from ollama_push.core.registry.manifests import Manifest
from ollama_push.core.registry.run import RegistryRun
from ollama_push.core.registry.target import direct_name, scopes_for
from ollama_push.core.responses import BufferedResponse, SendRequest
from ollama_push.core.retry import RetryPolicy

BLOBS = (b"\x00" * 1_300_000, b"small", b"")
NAME = direct_name("reg.test/me/llama:v1", plain_http=False)
LAYERS = [{"digest": f"sha256:{hashlib.sha256(blob).hexdigest()}", "size": len(blob)} for blob in BLOBS]
MANIFEST = Manifest.parse(json.dumps({"layers": LAYERS}).encode())
CHALLENGE = {"www-authenticate": 'Bearer realm="https://auth.test/t",service="s"'}


class Bench:
    """Plays driver and registry: wants a token, breaks one part, holds what it was sent."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.stored: dict[str, bytes] = {}
        self.session = b""
        self.broken = False
        endpoint = Endpoint.of(NAME.host, NAME.repository, plain_http=False)
        authorizer = Authorizer(
            endpoint,
            scopes_for(NAME, MANIFEST),
            plain_http=False,
            clock=self.clock,
            now=lambda: 1.0,
            nonce=bytes,
        )
        self.exchange = Exchange(
            endpoint,
            authorizer,
            retry=RetryPolicy(),
            random=lambda: 0.5,
            clock=self.clock,
            interrupted=lambda: False,
            body_timeout=900.0,
        )
        context, self.seen = PushContext(str(NAME), endpoint.origin), list[object]()
        hooks = HookSet([self.seen.append], context, lambda _hook, _exc: None)
        self.run = RegistryRun(MANIFEST, context=context, hooks=hooks, clock=self.clock)

    def clock(self) -> float:
        """Let time pass with every look at it."""
        self.seconds += 0.1
        return self.seconds

    def play(self, flow: Flow[Any]) -> Any:
        """Drive *flow*."""
        try:
            effect = next(flow)
            while True:
                effect = flow.send(self.perform(effect))
        except StopIteration as end:
            return end.value

    def perform(self, effect: object) -> Any:
        """Do what *effect* asks for."""
        match effect:
            case SendRequest():
                return self.response(effect)
            case Gather(flows):
                return [self.play(flow) for flow in flows]
            case Exclusive(flow):
                return self.play(flow)
            case FindCredential():
                return Login("me", "pw")
            case ClaimUpload():
                return False, None
            case HoldsUpload() | Rehash():
                return True
            case EmitEvent(event):
                self.run.receive_event(event)
            case ReportRetry():
                self.run.receive(effect)
        return None

    def response(self, sent: SendRequest) -> BufferedResponse | ConnectionLost:
        """Answer as a registry."""
        request, span, body = sent.request, sent.span, sent.request.body
        if span is not None:
            number = [layer["digest"] for layer in LAYERS].index(span.digest)
            body = BLOBS[number][span.offset : span.offset + span.size]
            self.run.counter(span, self.run.receive_event)(span.size)
        assert isinstance(body, bytes)
        path = urlsplit(request.url).path
        if "auth.test" in request.url:
            return BufferedResponse(200, {}, b'{"token":"t"}')
        if "Authorization" not in request.headers:
            return BufferedResponse(401, CHALLENGE, b"")
        if request.method in ("GET", "HEAD") and "uploads" not in path:
            held = self.stored.get(path)
            return (
                BufferedResponse(404, {}, b"")
                if held is None
                else BufferedResponse(200, {}, held if request.method == "GET" else b"")
            )
        if request.method == "POST":
            self.session = b""
        elif request.method == "PATCH" and not self.broken:
            self.broken, self.session = True, self.session + body[:1000]
            return ConnectionLost("https://reg.test")
        elif request.method == "PUT":
            digest = request.url.partition("digest=")[2]
            self.stored[path.replace("uploads/1", digest)] = self.session + body
            return BufferedResponse(201, {}, b"")
        else:
            self.session += body
        return BufferedResponse(
            202, {"location": "/v2/me/llama/blobs/uploads/1", "range": f"0-{len(self.session) - 1}"}, b""
        )


def _push() -> None:
    bench = Bench()
    bench.exchange.headers.update(bench.run.begin())
    delivery = bench.play(
        push_flow(bench.exchange, NAME, MANIFEST, sizes=PartSizes(NAME.host, 600_000), concurrency=2, verify=True)
    )
    assert delivery == Delivery(0, 0, verified=True, pullability=delivery.pullability)
    bench.run.succeed(delivery)
    bench.run.close()
    assert (bench.run.result().sent_bytes or 0) > MANIFEST.total_bytes, "one part was sent twice"
    assert sorted(bench.stored.values()) == sorted((*BLOBS, MANIFEST.raw))
    assert len(bench.seen) > 10


def _ask() -> None:
    bench = Bench()
    assert bench.play(plan_flow(bench.exchange, NAME, MANIFEST, concurrency=1)).missing_bytes == MANIFEST.total_bytes
    bench.stored["/v2/"] = b""
    assert bench.play(login_flow(bench.exchange))


def _fail() -> None:
    bench = Bench()
    bench.stored["/v2/me/llama/manifests/v1"] = b"{}"
    bench.run.begin()
    flow = push_flow(bench.exchange, NAME, MANIFEST, sizes=PartSizes(), concurrency=1, verify=False)
    next(flow)
    try:
        flow.throw(ConnectionLost("https://reg.test"))
    except OllamaPushError as error:
        bench.run.fail(error)
    assert "outcome=<PushOutcome.FAILED" in repr(bench.seen[-1])


_push()
_ask()
_fail()

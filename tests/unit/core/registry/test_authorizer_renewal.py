"""A token that is about to run out is renewed by one flow for all of them."""

from __future__ import annotations

import json

from tests.support.scripted_flow import HOST, ORIGIN, FlowPlayer, response

from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.credentials import Login
from ollama_push.core.registry.effects import Gather, result_of
from ollama_push.core.responses import BufferedResponse

REALM = "https://auth.test/token"
OK = response(200)


class Issuer:
    """A registry with a realm whose tokens are good for 100 s; it takes every token."""

    def __init__(self) -> None:
        self.issued = 0

    def __call__(self, request: HttpRequest, _body: bytes) -> BufferedResponse:
        if request.url.startswith(REALM):
            self.issued += 1
            return response(200, {}, json.dumps({"token": f"t{self.issued}", "expires_in": 100}).encode())
        if "Authorization" in request.headers:
            return OK
        return response(401, {"www-authenticate": f'Bearer realm="{REALM}",service="reg"'})


def test_flows_side_by_side_renew_a_token_once() -> None:
    issuer = Issuer()
    player = FlowPlayer(issuer, credentials={HOST: Login("me", "pa55")})
    request = HttpRequest("GET", f"{ORIGIN}/v2/")
    player.play(player.authorizer.send(request))
    for issued in (2, 3):  # the new one is renewed in its turn
        player.clock.now += 90.0
        before = len(player.requests)
        assert player.play(result_of(Gather([player.authorizer.send(request) for _ in range(4)], 4))) == [OK] * 4
        assert issuer.issued == issued
        shown = [one.headers["Authorization"] for one in player.requests[before:] if one.url == request.url]
        assert sorted(shown) == [f"Bearer t{issued - 1}"] * 3 + [f"Bearer t{issued}"]

"""Where credentials never go: to another origin, after a redirect, or in the clear to a realm elsewhere."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing, closing
from pathlib import Path
from typing import Final

import attrs
import pytest
import trustme
from tests.support.counting_proxy import CountingProxy
from tests.support.direct_push import BIG, BIG_DIGEST, Colour, Direct, either_colour, settings, stored

from ollama_push import AsyncRegistryClient, RegistryClient
from ollama_push.core.errors import PushRejected, RejectionReason
from ollama_push.core.ports import AsyncResponse, HttpRequest, Response
from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry, Fault, Quirks, Reply, TokenAuth
from ollama_push.transports import AiohttpTransport, Urllib3Transport

_PATIENCE_SECONDS: Final = 20.0
_PASSWORD: Final = "s3cret-of-ann"
_USERS: Final = {"ann": _PASSWORD}
_PROOF: Final = "Basic " + base64.b64encode(f"ann:{_PASSWORD}".encode()).decode()
_REALM_ELSEWHERE: Final = "http://198.51.100.1/token"


@either_colour
def test_a_location_on_another_origin_is_used_without_credentials(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    # The other origin is a proxy that lets everybody in, as storage with signed URLs does.
    with (
        CountingProxy(added_header=f"Authorization: {_PROOF}") as elsewhere,
        EmbeddedRegistry(
            tmp_path / "registry", auth=BasicAuth(_USERS), quirks=Quirks(foreign_location=elsewhere.url)
        ) as registry,
    ):
        elsewhere.target = registry.host
        told = colour(Direct(host=registry.host, home=tmp_path, credentials=("ann", _PASSWORD)))
        assert told.error is None
        assert registry.blob(BIG_DIGEST) == BIG
        assert {passed.method for passed in elsewhere.passed} == {"PATCH", "PUT"}
        assert not [passed for passed in elsewhere.passed if "authorization" in passed.head.lower()]


@either_colour
def test_another_origin_that_asks_for_a_login_gets_none(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    with (
        EmbeddedRegistry(tmp_path / "thief", auth=BasicAuth(_USERS)) as thief,
        EmbeddedRegistry(
            tmp_path / "registry", auth=BasicAuth(_USERS), quirks=Quirks(foreign_location=thief.url)
        ) as registry,
    ):
        told = colour(Direct(host=registry.host, home=tmp_path, credentials=("ann", _PASSWORD)))
        assert isinstance(told.error, PushRejected)
        assert told.error.reason is RejectionReason.UNAUTHORIZED
        assert thief.requests
        assert not [seen for seen in thief.requests if seen.had_authorization]


@either_colour
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("HEAD", "/manifests/"),
        ("HEAD", "/blobs/"),
        ("POST", "/uploads/"),
        ("PATCH", "/uploads/"),
        ("PUT", "/uploads/"),
        ("PUT", "/manifests/"),
        ("GET", "/manifests/"),
    ],
)
def test_a_redirect_elsewhere_is_followed_without_the_login(
    method: str, path: str, colour: Colour, tmp_path: Path
) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "thief") as thief:
        redirect = Reply(307, {"Location": f"{thief.url}/v2/myuser/my-llama/x"})
        faults = [Fault(method, path, times=None, action=redirect)]
        with EmbeddedRegistry(tmp_path / "registry", auth=BasicAuth(_USERS), faults=faults) as registry:
            told = colour(Direct(host=registry.host, home=tmp_path, credentials=("ann", _PASSWORD)))
            # A manifest that is looked for may be anywhere; the thief has nothing else that it is asked for.
            assert (told.error is None) is (method == "HEAD" and path == "/manifests/")
            assert any(seen.status == 307 for seen in registry.requests)
        assert bool(thief.requests) is (method != "HEAD")
        assert not [seen for seen in thief.requests if seen.had_authorization]


@attrs.define
class _Watched:
    """The sync transport, and where it was sent."""

    inner: Urllib3Transport
    urls: list[str] = attrs.field(factory=list)

    def open(self, request: HttpRequest, /) -> AbstractContextManager[Response]:
        self.urls.append(request.url)
        return self.inner.open(request)

    def close(self) -> None:
        self.inner.close()


@attrs.define
class _AsyncWatched:
    """The async transport, and where it was sent."""

    inner: AiohttpTransport
    urls: list[str] = attrs.field(factory=list)

    def open(self, request: HttpRequest, /) -> AbstractAsyncContextManager[AsyncResponse]:
        self.urls.append(request.url)
        return self.inner.open(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


def _sync_urls(asked: Direct) -> tuple[PushRejected, list[str]]:
    with closing(_Watched(Urllib3Transport(ca_file=asked.ca_file))) as transport:
        with pytest.raises(PushRejected) as caught:
            RegistryClient(transport=transport, **settings(asked)).push(asked.name, source=asked.source)
        return caught.value, transport.urls


def _async_urls(asked: Direct) -> tuple[PushRejected, list[str]]:
    async def main() -> tuple[PushRejected, list[str]]:
        async with (
            asyncio.timeout(_PATIENCE_SECONDS),
            aclosing(_AsyncWatched(AiohttpTransport(ca_file=asked.ca_file))) as transport,
        ):
            with pytest.raises(PushRejected) as caught:
                await AsyncRegistryClient(transport=transport, **settings(asked)).push(asked.name, source=asked.source)
            return caught.value, transport.urls

    return asyncio.run(main())


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """What a registry serves with, and the file of the authority that it is believed by."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return context, ca_file


@pytest.mark.parametrize("urls_of", [_sync_urls, _async_urls], ids=["sync", "async"])
def test_a_realm_in_the_clear_off_this_machine_is_refused_before_it_is_asked(
    urls_of: Callable[[Direct], tuple[PushRejected, list[str]]], tls: tuple[ssl.SSLContext, Path], tmp_path: Path
) -> None:
    stored(tmp_path)
    context, ca_file = tls
    challenge = Reply(401, {"WWW-Authenticate": f'Bearer realm="{_REALM_ELSEWHERE}",service="x"'})
    faults = [Fault("HEAD", times=None, action=challenge)]
    with EmbeddedRegistry(tmp_path / "registry", tls=context, faults=faults) as registry:
        error, urls = urls_of(
            Direct(host=registry.host, home=tmp_path, credentials=("ann", _PASSWORD), plain_http=False, ca_file=ca_file)
        )
        assert error.reason is RejectionReason.REALM_MISMATCH
        assert _REALM_ELSEWHERE in str(error)
        assert _PASSWORD not in str(error)
        assert urls == [f"{registry.url}/v2/myuser/my-llama/manifests/v1"]


@either_colour
def test_the_password_goes_to_the_realm_and_the_token_to_the_registry(
    colour: Colour, tls: tuple[ssl.SSLContext, Path], tmp_path: Path
) -> None:
    stored(tmp_path)
    context, ca_file = tls
    auth = TokenAuth(_USERS, {"ann": {"myuser/my-llama": ("pull", "push")}})
    with EmbeddedRegistry(tmp_path / "registry", tls=context, auth=auth) as registry:
        asked = Direct(
            host=registry.host, home=tmp_path, credentials=("ann", _PASSWORD), plain_http=False, ca_file=ca_file
        )
        assert colour(asked).error is None
        assert auth.realm.startswith("https://")
        assert {seen.scheme for seen in registry.requests} == {"", "bearer"}

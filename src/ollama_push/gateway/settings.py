"""The settings of a gateway: one checked value, from which everything else is built."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any, Final

import attrs
from attrs.validators import deep_iterable, optional

from ollama_push.core.arguments import checked_seconds
from ollama_push.core.errors import InvalidModelName, InvalidSetting
from ollama_push.core.names import DEFAULT_NAMESPACE, is_registry_host
from ollama_push.core.ports import Hook
from ollama_push.core.registry.credentials import CredentialSource
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.registry.resume import ResumeStore
from ollama_push.core.registry.target import RegistryName
from ollama_push.core.retry import RetryPolicy
from ollama_push.gateway.egress.rules import AddressRules
from ollama_push.gateway.replicas import SharedPushes
from ollama_push.local import ModelStore

__all__ = ["GatewaySettings", "origins_from"]

_ORIGIN: Final = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^\s/,*]*\*?[^\s/,*]*/?", re.IGNORECASE)
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_KEY_BYTES: Final = 32


def origins_from(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the origins that ``OLLAMA_ORIGINS`` in *environ* adds to Ollama's own list.

    Source: ollama ``envconfig/config.go`` ``AllowedOrigins`` and ``Var`` at fb3076099.
    """
    value = environ.get("OLLAMA_ORIGINS", "").strip().strip("\"'")
    return tuple(origin.strip() for origin in value.split(",") if origin.strip())


def _texts(values: str | Iterable[str]) -> tuple[str, ...]:
    # A text is an iterable of texts, too: of its letters.
    return (values,) if isinstance(values, str) else tuple(values)


# Not "tuple" itself: from a class as a converter, type checkers infer no type of the argument.
def _kept(hooks: Iterable[Hook]) -> tuple[Hook, ...]:
    return tuple(hooks)


def _host(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    if not isinstance(value, str) or not is_registry_host(value):
        raise InvalidSetting(attribute.name, value, "expected host or host:port, without a scheme or a path")


def _place(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    # A model of any name must do below it.
    try:
        host, _, path = value.partition("/")
        RegistryName(host, path if "/" in value else DEFAULT_NAMESPACE, "model")
    except (InvalidModelName, AttributeError, TypeError):
        problem = "expected host or host:port without a scheme, perhaps with a path of lower-case names"
        raise InvalidSetting(attribute.name, value, problem) from None


def _origin(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    if not _ORIGIN.fullmatch(value):
        raise InvalidSetting(attribute.name, value, "expected scheme://host[:port], with one * at most, or *")


def _token(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    if not _TOKEN.fullmatch(value):
        raise InvalidSetting(attribute.name, "<hidden>", "expected visible ASCII characters without spaces")


def _public_host(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    host = re.sub(r"^https?://", "", value) if isinstance(value, str) else ""
    if not is_registry_host(host):
        raise InvalidSetting(attribute.name, value, "expected host or host:port, perhaps behind http:// or https://")


def _key(_instance: object, attribute: attrs.Attribute[Any], value: bytes) -> None:
    if not isinstance(value, bytes) or len(value) < _KEY_BYTES:
        raise InvalidSetting(attribute.name, "<hidden>", f"expected at least {_KEY_BYTES} bytes")


def _positive(_instance: object, attribute: attrs.Attribute[Any], value: int) -> None:
    if type(value) is not int or value < 1:
        raise InvalidSetting(attribute.name, value, "expected a number above 0")


def _seconds(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    checked_seconds(attribute.name, value)


@attrs.frozen(kw_only=True)
class GatewaySettings:
    """What a gateway does, and for whom.

    Attributes:
        store: The models to push from.
        plain_http: Speak plain HTTP with every registry; otherwise only where a client says ``insecure``.
        default_registry: Registry of names without a host, ``"host"`` or ``"host:port"``, perhaps with the path
            that their repositories are below, ``"host/project/repository"``; ``None`` for Ollama's.
        allow: The only registries that may be pushed to, each ``"host"`` (any port) or ``"host:port"``; empty for
            all. These may resolve to any address.
        token: Bearer token that clients must send; ``None`` for none. Never shown.
        origins: Web pages that may use the gateway, besides those on this machine: ``scheme://host[:port]`` with
            one ``*`` at most, or ``*``; see :func:`origins_from`.
        max_pushes: Pushes at the same time.
        pull: Serve manifests and blobs of the default registry and of those of ``allow`` to those who pull.
        public_host: Another name of this gateway, ``"host"`` or ``"host:port"``, perhaps behind ``https://``: blobs
            are redirected there, as ``ollama pull`` wants it; ``None`` for the other name of the loopback.
        max_pulls: Manifests and blobs that are sent at the same time.
        cache: Folder that keeps the blobs that were pulled; ``None`` for none.
        cache_bytes: The most that it keeps.
        pull_key: Signs the addresses of blobs, at least 32 bytes; ``None`` for this user's. Never shown.
        max_body_bytes: Largest request body.
        body_timeout: Seconds that a request's body may take to arrive; with :func:`~ollama_push.gateway.serve`, also
            its head.
        response_timeout: With ``serve``, seconds in which a client must take a response that is not a push's.
        max_connections: With ``serve``, connections at the same time, and half of the process's descriptors at most.
            Beyond that, the connection that has waited longest for its client is closed.
        max_connections_per_client: Likewise for those from one address; a reverse proxy is one client.
        concurrency: Blobs of one push at the same time.
        max_bytes_per_second: The most that all pushes send together; ``None`` for no limit.
        verify: After a push, check that the registry holds what was sent.
        ui: Serve the status page.
        loopback: Whether the gateway can only be reached from this machine. If so, the ``Host`` header is checked
            as Ollama does, against web pages whose name resolves to this machine (DNS rebinding). If not, clients
            cannot push to addresses of this machine, unless they are allowed by name.
        credentials: The gateway's logins; ``None`` for docker's configuration, and for the login in the environment
            at the default registry and at those of ``allow``.
        resume: Keeps unfinished uploads; ``None`` for this user's store.
        shared: Where the replicas of this gateway meet: ``max_pushes`` is then the limit of all of them, and the status
            page shows the pushes of all; ``None`` for a gateway that is alone.
        ca_file: PEM file of CAs to trust in addition to the system's.
        client_cert: PEM file of the client certificate to show to registries, or its file and that of its key.
        hooks: Get the observations of every push.
        retry: When a request to a registry is sent again.
        stall_timeout: Seconds that a registry, or a client, may take nothing.
        shutdown_grace: Seconds that pushes get at a shutdown to finish the parts they are sending.

    Raises:
        InvalidSetting: A value cannot be used.
    """

    store: ModelStore = attrs.field(factory=ModelStore)
    plain_http: bool = False
    default_registry: str | None = attrs.field(default=None, validator=optional(_place))
    allow: tuple[str, ...] = attrs.field(default=(), converter=_texts, validator=deep_iterable(_host))
    token: str | None = attrs.field(default=None, repr=False, validator=optional(_token))
    origins: tuple[str, ...] = attrs.field(default=(), converter=_texts, validator=deep_iterable(_origin))
    max_pushes: int = attrs.field(default=64, validator=_positive)
    pull: bool = True
    public_host: str | None = attrs.field(default=None, validator=optional(_public_host))
    max_pulls: int = attrs.field(default=512, validator=_positive)
    cache: str | PathLike[str] | None = None
    cache_bytes: int = attrs.field(default=100_000_000_000, validator=_positive)
    pull_key: bytes | None = attrs.field(default=None, repr=False, validator=optional(_key))
    max_body_bytes: int = attrs.field(default=65_536, validator=_positive)
    body_timeout: float = attrs.field(default=30.0, validator=_seconds)
    response_timeout: float = attrs.field(default=30.0, validator=_seconds)
    max_connections: int = attrs.field(default=1024, validator=_positive)
    max_connections_per_client: int = attrs.field(default=512, validator=_positive)
    concurrency: int = attrs.field(default=4, validator=_positive)
    max_bytes_per_second: int | None = attrs.field(default=None, validator=optional(_positive))
    verify: bool = True
    ui: bool = True
    loopback: bool = True
    credentials: CredentialSource | None = attrs.field(default=None, repr=False)
    resume: ResumeStore | None = None
    shared: SharedPushes | None = None
    ca_file: str | PathLike[str] | None = None
    client_cert: str | PathLike[str] | tuple[str | PathLike[str], str | PathLike[str]] | None = None
    hooks: tuple[Hook, ...] = attrs.field(default=(), converter=_kept)
    retry: RetryPolicy = attrs.field(factory=RetryPolicy)
    stall_timeout: float = attrs.field(default=900.0, validator=_seconds)
    shutdown_grace: float = attrs.field(default=5.0, validator=_seconds)

    @property
    def rules(self) -> AddressRules:
        """The addresses that may be reached."""
        return AddressRules(frozenset(host.lower() for host in self.named_hosts), self.loopback)

    @property
    def named_hosts(self) -> tuple[str, ...]:
        """The registries that the operator names: those of ``allow``, and the default one."""
        return (*self.allow, *([self.default_registry.partition("/")[0]] if self.default_registry else ()))

    def allows(self, registry: Endpoint) -> bool:
        """Return whether *registry* may be pushed to."""
        return not self.allow or self.rules.allows_url(registry.origin)

"""URLs of one repository in a registry, and what a ``Location`` means.

Source: distribution-spec v1.1.1, "Endpoints" and "Pushing a blob in chunks" (a ``Location`` may be relative).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit, urlunsplit

import attrs

from ollama_push.core.errors import PushRejected, RejectionReason
from ollama_push.core.facts import ForbiddenAddress
from ollama_push.core.hosts import DEFAULT_PORTS, AddressProblem, host_problems, is_loopback

__all__ = ["Endpoint", "may_carry_secrets", "origin_key", "without_userinfo"]

# Hosts in names that are not the host of the registry: distribution/reference, "normalize.go".
_REGISTRY_HOSTS: Final[Mapping[str, str]] = {
    "docker.io": "registry-1.docker.io",
    "index.docker.io": "registry-1.docker.io",
}

# Of a request's first line, common servers take 8 KiB.
_MAX_LOCATION_CHARACTERS: Final = 8192


@attrs.frozen
class Endpoint:
    """One repository of one registry.

    Attributes:
        host: As in the name, ``"host"`` or ``"host:port"``: what credentials are looked up by.
        origin: Scheme, host and port requests go to.
        repository: ``namespace/model``; empty for the registry as such.
    """

    host: str
    origin: str
    repository: str

    @classmethod
    def of(cls, host: str, repository: str = "", *, plain_http: bool) -> Self:
        """Return the *repository* of the registry that names call *host*."""
        host = host.lower()
        return cls(host, f"{'http' if plain_http else 'https'}://{_REGISTRY_HOSTS.get(host, host)}", repository)

    @property
    def base(self) -> str:
        """URL of the registry's API, ``…/v2/``."""
        return f"{self.origin}/v2/"

    def blob(self, digest: str) -> str:
        """URL of a blob."""
        return f"{self.base}{self.repository}/blobs/{digest}"

    def manifest(self, reference: str) -> str:
        """URL of a manifest, by tag or digest."""
        return f"{self.base}{self.repository}/manifests/{reference}"

    def referrers(self, digest: str) -> str:
        """URL of the list of what refers to the manifest *digest*."""
        return f"{self.base}{self.repository}/referrers/{digest}"

    def tags(self, *, last: str = "") -> str:
        """URL of the repository's tags, those behind *last* in their order."""
        query = f"?{urlencode({'last': last})}" if last else ""
        return f"{self.base}{self.repository}/tags/list{query}"

    def uploads(self, *, mount: str = "", source: str = "", digest: str = "") -> str:
        """URL that opens an upload session, for *digest* where that is said.

        It may mount the blob *mount* from the repository *source* instead.
        """
        fields = {"mount": mount, "from": source} if mount else {"digest": digest} if digest else {}
        # A colon and a slash need no escape in a query (RFC 3986, 3.4), and some registries compare texts.
        query = f"?{urlencode(fields, safe=':/')}" if fields else ""
        return f"{self.base}{self.repository}/blobs/uploads/{query}"

    def owns(self, url: str) -> bool:
        """Return whether *url* is on the registry's own origin: only there may credentials go."""
        return origin_key(url) == origin_key(self.origin)

    def require_allowed(self, url: str, asked: str = "") -> None:
        """Refuse to go where the registry must not lead.

        That is: to plain HTTP when it, or what it has led to, is reached by TLS; to another host that
        :mod:`ollama_push.core.hosts` has a problem with, but from loopback to loopback.

        Args:
            url: What the registry names; an absolute URL.
            asked: The URL whose response names it, where that is not the registry's own.

        Raises:
            PushRejected: *url* is forbidden.
        """
        parts, own = urlsplit(url), urlsplit(self.origin)
        host, own_host = parts.hostname or "", own.hostname or ""
        if parts.scheme == "http" and "https" in (own.scheme, urlsplit(asked).scheme):
            problem: AddressProblem | None = AddressProblem.PLAIN_HTTP
        elif host == own_host:
            return
        else:
            both = set(host_problems(own_host)) & {AddressProblem.LOOPBACK}
            problem = next((each for each in host_problems(host) if each not in both), None)
        if problem is not None:
            raise PushRejected("", RejectionReason.UNKNOWN, ForbiddenAddress(host, problem))

    def located(self, headers: Mapping[str, str], asked: str) -> str | None:
        """Return the absolute URL of the session that the response to *asked* names; ``None`` when it names none.

        Ollama's registry names it in ``Docker-Upload-Location`` (ollama ``server/upload.go``). A registry behind a
        proxy that ends TLS often names an ``http://`` URL (similar: oras-go#177): on its own host, its own scheme
        is kept.

        Raises:
            PushRejected: The registry must not lead there; see :meth:`require_allowed`.
        """
        location = headers.get("docker-upload-location") or headers.get("location", "")
        url = self.resolved(location, asked)
        if url is None:
            return None
        self.require_allowed(url)
        return urlunsplit((*without_userinfo(url)[:4], ""))

    def resolved(self, location: str, asked: str) -> str | None:
        """Return the absolute URL of *location* in the response to *asked*; ``None`` when it is none.

        On the registry's own host, its own scheme is kept.
        """
        location = location.strip()
        if not 0 < len(location) <= _MAX_LOCATION_CHARACTERS:
            return None
        url = _joined(asked, location)
        return None if url is None else self._by_own_scheme(url)

    def signed(self, location: str, asked: str) -> str | None:
        """Return the absolute URL that the registry has signed in the response to *asked*; ``None`` when it is none.

        An absolute one stays as it is written: other spellings of the same URL have other signatures.

        Raises:
            PushRejected: The registry must not lead there; see :meth:`require_allowed`.
        """
        url = self.resolved(location, asked)
        if url is None:
            return None
        self.require_allowed(url, asked)
        as_written = location.strip()
        kept = as_written if origin_key(url) == origin_key(as_written) else url
        return without_userinfo(kept).geturl() if "@" in urlsplit(kept).netloc else kept

    def realm(self, text: str) -> str:
        """Return the URL that the realm *text* of a bearer challenge means; *text* itself when it means none.

        A path is one of the registry. On the registry's own host, its own scheme is kept: a registry behind a proxy
        that ends TLS may name an ``http://`` URL (harbor#3933).
        """
        url = _joined(self.base, text) if text.startswith("/") or _joined(text, "") else None
        return text if url is None else self._by_own_scheme(url)

    def _by_own_scheme(self, url: str) -> str:
        parts, own = urlsplit(url), urlsplit(self.origin)
        if parts.scheme == "http" and own.scheme == "https" and parts.hostname == own.hostname:
            port = _port(url)
            if port in (DEFAULT_PORTS["http"], origin_key(self.origin)[2]):
                return urlunsplit((own.scheme, own.netloc, parts.path, parts.query, ""))
        return url

    @staticmethod
    def finishing(location: str, digest: str) -> str:
        """Return the URL that ends the session at *location*; its own query is kept."""
        return f"{location}{'&' if urlsplit(location).query else '?'}{urlencode({'digest': digest}, safe=':')}"


def origin_key(url: str) -> tuple[str, str, int | None]:
    """Return what two URLs of one origin have in common: scheme, host and port, the default one filled in."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", _port(url)


def without_userinfo(url: str) -> SplitResult:
    """Return *url* in parts, without a user and a password: those of a peer's URL are no login of ours."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2])


def may_carry_secrets(url: str, *, plain_for: str | None) -> bool:
    """Return whether secrets may go to *url*: over TLS, on this machine, or in plain HTTP to the host *plain_for*."""
    checked = _joined(url, "")
    if checked is None:
        return False
    parts = urlsplit(checked)
    return parts.scheme == "https" or is_loopback(parts.hostname or "") or parts.hostname == plain_for


def _joined(base: str, location: str) -> str | None:
    """Return the absolute URL of *location*; ``None`` when it cannot be connected to, or is no text of a URL.

    Spaces and control characters, which no URL holds (RFC 3986, section 2), come of damage on the way; aiohttp (3.14)
    refuses to send a request with one, as if the connection had broken. Other characters may be of a host's name.
    """
    if " " in base + location or not (base + location).isprintable():
        return None
    try:
        url = urljoin(base, location)
        parts = urlsplit(url)
        # Reading the port checks it.
        usable = parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return url if usable else None


def _port(url: str) -> int | None:
    parts = urlsplit(url)
    return parts.port or DEFAULT_PORTS.get(parts.scheme)

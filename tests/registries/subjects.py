"""The registries that the suite runs against: how each is started, and what is known of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import attrs
from tests.registries.programs import HTPASSWD, LOGIN, Crane, NginxFront, Olareg, Zot, strict
from tests.support.counting_proxy import CountingProxy
from tests.support.registries import (
    CRANE,
    DEBIAN_REGISTRY,
    DISTRIBUTION_3,
    NGINX,
    OLAREG,
    ZOT,
    RealRegistry,
    ServerProcess,
)
from tests.support.signed_tokens import SignedTokens

from ollama_push import __version__
from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry

__all__ = ["DEEP", "OTHER", "REPOSITORY", "SUBJECTS", "Running", "Subject"]

_PATIENCE_SECONDS: Final = 20.0

REPOSITORY: Final = "team/my-llama"
OTHER: Final = "another/my-llama"
DEEP: Final = "group/sub/project/my-llama"
_RIGHTS: Final = dict.fromkeys((REPOSITORY, OTHER, DEEP), ("pull", "push"))


@attrs.frozen(kw_only=True)
class Running:
    """A registry that listens.

    Attributes:
        host: What clients are told.
        proxy: Right before the registry itself, behind what else stands before it. It takes nothing but HTTP.
        counted: What clients are told whose bytes are to pass the proxy.
        folder: Where it keeps everything.
        restart: Kills it and runs it again.
        login: What it wants to see; ``None`` when it lets everybody in.
        ca_file: What it is trusted by; ``None`` for plain HTTP.
        collect_garbage: Its own collector, told that nobody needs a repository any more; ``None`` for those
            whose blobs are taken from the disk instead.
    """

    host: str
    proxy: CountingProxy
    counted: str = attrs.field(default=attrs.Factory(lambda self: self.proxy.host, takes_self=True))
    folder: Path
    restart: Callable[[], object]
    login: tuple[str, str] | None = LOGIN
    ca_file: Path | None = None
    collect_garbage: Callable[[str], object] | None = None

    def files(self, digest: str) -> list[Path]:
        """Return where the content of *digest* is kept."""
        text = digest.removeprefix("sha256:")
        found = (path / "data" if path.is_dir() else path for path in self.folder.rglob(text))
        # Distribution also names the folders of its links by digests.
        return [path for path in found if path.is_file()]


@attrs.frozen(kw_only=True)
class Subject:
    """A registry of the suite.

    Attributes:
        name: Of its tests.
        title: For people.
        program: Where it is; ``None`` when it is missing.
        how: How to get the program.
        start: Starts it; gets a folder.
        read_version: Asks the program for its version.
        features: Which checks apply: ``"login"`` where logins are asked for, ``"front"`` for nginx with TLS, and
            ``"oci-only"`` for a program that is made to refuse manifests of docker's kind.
        by_hand: Whether no package index has it, so that CI does without: what was seen of it may be older than what
            the suite expects today.
    """

    name: str
    title: str
    program: str | None
    how: str
    start: Callable[[Path], AbstractContextManager[Running]]
    read_version: Callable[[], str]
    features: frozenset[str] = frozenset({"login"})
    by_hand: bool = False


def _said(*command: str | None) -> Callable[[], str]:
    """Return what runs *command* and returns its words, of both its outputs."""

    def run() -> str:
        assert command[0] is not None
        words = [word for word in command if word is not None]
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_PATIENCE_SECONDS, check=True
        )
        return done.stdout.strip().rpartition("\n")[2]

    return run


def _last_word(*command: str | None) -> Callable[[], str]:
    said = _said(*command)
    return lambda: said().rpartition(" ")[2]


def _zot_version() -> str:
    """Return what its line of JSON calls the commit: a tag, or a tag and what came after it."""
    return str(json.loads(_said(ZOT, "--version")())["commit"] or "unknown")


def _with_passwords(folder: Path) -> dict[str, object]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_text(HTPASSWD, "ascii")
    return {"htpasswd": {"realm": "staff", "path": str(folder / "htpasswd")}}


@contextmanager
def _distribution(program: str | None, folder: Path) -> Iterator[Running]:
    auth = _with_passwords(folder)
    with RealRegistry(program, folder, auth, remembers_blobs=True) as registry, CountingProxy(registry.host) as proxy:
        yield Running(
            host=registry.host,
            proxy=proxy,
            folder=folder,
            restart=registry.restart,
            collect_garbage=registry.collect_garbage,
        )


@contextmanager
def _with_tokens(folder: Path) -> Iterator[Running]:
    folder.mkdir(parents=True, exist_ok=True)
    with (
        SignedTokens(folder, LOGIN, _RIGHTS) as tokens,
        RealRegistry(DISTRIBUTION_3, folder / "registry", tokens.auth, remembers_blobs=True) as registry,
        CountingProxy(registry.host) as proxy,
    ):
        yield Running(
            host=registry.host,
            proxy=proxy,
            folder=folder,
            restart=registry.restart,
            collect_garbage=registry.collect_garbage,
        )


@contextmanager
def _behind_nginx(folder: Path) -> Iterator[Running]:
    with (
        RealRegistry(DISTRIBUTION_3, folder / "registry", remembers_blobs=True) as registry,
        CountingProxy(registry.host) as proxy,
        NginxFront(folder / "nginx", strict(proxy.host), tls=True) as front,
    ):
        yield Running(
            host=front.host,
            proxy=proxy,
            counted=front.host,
            folder=folder,
            restart=registry.restart,
            ca_file=front.ca_file,
            collect_garbage=registry.collect_garbage,
        )


def _alone(
    make: Callable[[Path], ServerProcess], login: tuple[str, str] | None
) -> Callable[[Path], AbstractContextManager[Running]]:
    """Return what starts a program that nothing else is known of."""

    @contextmanager
    def start(folder: Path) -> Iterator[Running]:
        with make(folder) as process, CountingProxy(process.host) as proxy:
            yield Running(host=process.host, proxy=proxy, folder=folder, restart=process.restart, login=login)

    return start


@contextmanager
def _embedded(folder: Path) -> Iterator[Running]:
    with (
        EmbeddedRegistry(folder, auth=BasicAuth(dict([LOGIN]))) as registry,
        CountingProxy(registry.host) as proxy,
    ):
        yield Running(host=registry.host, proxy=proxy, folder=folder, restart=registry.restart)


_GO: Final = "make test-all does it where Go is on the PATH"

SUBJECTS: Final = (
    Subject(
        name="distribution-2.8",
        title="distribution 2.8",
        program=DEBIAN_REGISTRY,
        how="apt-get install docker-registry",
        start=lambda folder: _distribution(DEBIAN_REGISTRY, folder),
        read_version=_last_word(DEBIAN_REGISTRY, "--version"),
    ),
    Subject(
        name="distribution-3",
        title="distribution 3",
        program=DISTRIBUTION_3,
        how=_GO,
        start=lambda folder: _distribution(DISTRIBUTION_3, folder),
        read_version=_last_word(DISTRIBUTION_3, "--version"),
    ),
    Subject(
        name="tokens",
        title="distribution 3 with a token server elsewhere",
        program=DISTRIBUTION_3,
        how=_GO,
        start=_with_tokens,
        read_version=_last_word(DISTRIBUTION_3, "--version"),
    ),
    Subject(
        name="nginx",
        title="distribution 3 behind nginx",
        program=NGINX and DISTRIBUTION_3,
        how=f"apt-get install nginx-light; distribution 3: {_GO}",
        start=_behind_nginx,
        read_version=lambda: f"{_last_word(DISTRIBUTION_3, '--version')()}, {_last_word(NGINX, '-v')()}",
        features=frozenset({"login", "front"}),
    ),
    Subject(
        name="crane",
        title="crane registry serve",
        program=CRANE,
        how=_GO,
        start=_alone(Crane, None),
        read_version=_last_word(CRANE, "version"),
        features=frozenset(),
    ),
    Subject(
        name="olareg",
        title="olareg",
        program=OLAREG,
        how="put olareg on the PATH: go install github.com/olareg/olareg/cmd/olareg@latest, where a Go proxy serves it",
        start=_alone(Olareg, LOGIN),
        read_version=_last_word(OLAREG, "version", "--format", "{{.VCSTag}}"),
        by_hand=True,
    ),
    Subject(
        name="zot",
        title="zot",
        program=ZOT,
        how="put zot, or its smaller zot-minimal under that name, on the PATH: its project offers the program",
        start=_alone(Zot, LOGIN),
        read_version=_zot_version,
        features=frozenset({"login", "oci-only"}),
        by_hand=True,
    ),
    Subject(
        name="embedded",
        title="ours, `ollama_push.testing.registry`",
        program="part of this package",
        how="",
        start=_embedded,
        read_version=lambda: __version__,
    ),
)
"""Every registry that the package indexes give, and those that are tested where their programs are at hand."""

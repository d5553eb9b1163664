"""TLS for each host: what docker and podman keep in ``certs.d`` beside the options of a transport.

Source: containers-certs.d(5); docker's "Verify repository client with certificates".
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ollama_push.core.errors import ConnectCause, ConnectFailed, InvalidSetting
from ollama_push.core.hosts import origin_of
from ollama_push.transports._machine import ClientCertificate, build_tls_context

__all__ = ["HostCertificates"]

_SYSTEM_FOLDERS: Final = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))
# A folder's name comes from a URL, and must not lead elsewhere.
_HOST: Final = re.compile(r"(?!\.)[A-Za-z0-9_.\[\]:-]+")


class HostCertificates:
    """The TLS contexts of one transport.

    Args:
        ca_file: PEM file of CAs to trust in addition to the system's.
        client_cert: Certificate and key to show, instead of one in ``certs.d``.
        search: Whether to look into ``certs.d``.

    Raises:
        InvalidSetting: A file cannot be used.
    """

    def __init__(
        self, ca_file: str | PathLike[str] | None, client_cert: ClientCertificate | None, *, search: bool
    ) -> None:
        self._ca_file = ca_file
        self._client_cert = client_cert
        self._search = search
        self._usual = build_tls_context(ca_file, client_cert)
        self._found: dict[Path, ssl.SSLContext] = {}

    def context_for(self, url: str) -> ssl.SSLContext | None:
        """Return the context for *url*; ``None`` for the library's own.

        Raises:
            ConnectFailed: A file in ``certs.d`` cannot be used.
        """
        folder = next(_folders_for(url), None) if self._search else None
        if folder is None:
            return self._usual
        if folder not in self._found:
            try:
                self._found[folder] = self._context_of(folder)
            except (OSError, ValueError, InvalidSetting) as exc:
                detail = exc.problem if isinstance(exc, InvalidSetting) else str(exc)
                raise ConnectFailed(origin_of(url), ConnectCause.TLS, f"{folder}: {detail}") from exc
        return self._found[folder]

    def _context_of(self, folder: Path) -> ssl.SSLContext:
        pairs = sorted((cert, cert.with_suffix(".key")) for cert in folder.glob("*.cert"))
        shown = self._client_cert or next((pair for pair in pairs if pair[1].exists()), None)
        context = build_tls_context(self._ca_file, shown) or ssl.create_default_context()
        for authority in sorted(folder.glob("*.crt")):
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as for ca_file
            context.load_verify_locations(cafile=authority)
        return context


def _folders_for(url: str) -> Iterator[Path]:
    """Yield the folders for the host of *url* that exist; the first one counts."""
    parts = urlsplit(url)
    name = parts.netloc.rpartition("@")[2].lower()
    if parts.scheme != "https" or not _HOST.fullmatch(name):
        return
    # docker takes the name as written in that of an image.
    names = (name, name.removesuffix(":443"), f"{name}:443")
    home = os.environ.get("HOME")
    own = [Path(home, ".config", program, "certs.d") for program in ("containers", "docker")] if home else []
    for place in (*own, *_SYSTEM_FOLDERS):
        for each in dict.fromkeys(names):
            if (folder := place / each).is_dir():
                yield folder

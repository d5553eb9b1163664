"""TLS settings that both adapters share."""

from __future__ import annotations

import ssl
from os import PathLike, fspath

from ollama_push.core.errors import InvalidSetting

__all__ = ["ClientCertificate", "build_tls_context"]

ClientCertificate = str | PathLike[str] | tuple[str | PathLike[str], str | PathLike[str]]
"""A PEM file with certificate and key, or the two files."""


def build_tls_context(
    ca_file: str | PathLike[str] | None, client_cert: ClientCertificate | None
) -> ssl.SSLContext | None:
    """Return a verifying context that trusts the system's CAs and those in *ca_file* (PEM).

    With neither file it is ``None``: libraries have a default, and to load the system's CAs takes tens of milliseconds.

    Raises:
        InvalidSetting: A file cannot be read or holds no usable PEM.
    """
    if ca_file is None and client_cert is None:
        return None
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=fspath(ca_file))
        except (OSError, ssl.SSLError) as exc:
            raise InvalidSetting("ca_file", fspath(ca_file), f"no readable PEM certificates: {_words(exc)}") from exc
    if client_cert is not None:
        cert, key = client_cert if isinstance(client_cert, tuple) else (client_cert, None)
        try:
            # An empty password keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(fspath(cert), None if key is None else fspath(key), password=str)
        except (OSError, ssl.SSLError, ValueError) as exc:
            raise InvalidSetting("client_cert", fspath(cert), f"no usable certificate and key: {_words(exc)}") from exc
    return context


def _words(exc: Exception) -> str:
    return (getattr(exc, "strerror", None) or str(exc)).lower()

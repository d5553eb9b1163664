"""A token endpoint that distribution trusts: it signs what a user may do, with a key whose certificate it knows."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

__all__ = ["SignedTokens"]

_ISSUER: Final = "tests"
_SERVICE: Final = "registry-of-tests"
_LIFE_SECONDS: Final = 300


class SignedTokens:
    """Hands out tokens while the block lasts.

    Args:
        folder: For the certificate.
        login: The one user and password.
        rights: Actions by repository.

    Attributes:
        scopes: What was asked for, request by request.

    Source: distribution "Token Authentication Implementation" (JWT, header ``x5c``).
    """

    def __init__(self, folder: Path, login: tuple[str, str], rights: Mapping[str, Collection[str]]) -> None:
        self.scopes: list[str] = []
        self._rights = rights
        self._proof = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(self._key)
        self._x5c = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
        self._bundle = folder / "tokens.pem"
        self._bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="tokens", daemon=True)

    @property
    def auth(self) -> dict[str, Any]:
        """Section ``auth`` of a registry's configuration."""
        realm = f"http://127.0.0.1:{self._server.server_port}/token"
        return {"token": {"realm": realm, "service": _SERVICE, "issuer": _ISSUER, "rootcertbundle": str(self._bundle)}}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def response(self, path: str, authorization: str) -> tuple[int, dict[str, Any]]:
        """Return the status and the body that a request is answered with."""
        asked = parse_qs(urlsplit(path).query)
        scope = " ".join(asked.get("scope", []))
        self.scopes.append(scope)
        if authorization != self._proof or asked.get("service") != [_SERVICE]:
            return 401, {"errors": [{"code": "UNAUTHORIZED", "message": "who are you"}]}
        return 200, {"token": self._token(scope), "expires_in": _LIFE_SECONDS}

    def _token(self, scope: str) -> str:
        now = int(time.time())
        access = []
        for kind, name, actions in (part.split(":") for part in scope.split()):
            granted = [action for action in actions.split(",") if action in self._rights.get(name, ())]
            access.append({"type": kind, "name": name, "actions": granted})
        header = {"typ": "JWT", "alg": "ES256", "x5c": [self._x5c]}
        claims = {"iss": _ISSUER, "sub": "ann", "aud": _SERVICE, "jti": str(now), "access": access}
        times = {"iat": now, "nbf": now - 1, "exp": now + _LIFE_SECONDS}
        text = f"{_encoded(header)}.{_encoded({**claims, **times})}"
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        tokens = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, value = tokens.response(self.path, self.headers.get("Authorization", ""))
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has above
                """Say nothing."""

        return Handler


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _ISSUER)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def _encoded(value: Mapping[str, Any]) -> str:
    return _base64url(json.dumps(value).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

"""Registries and fronts beside distribution, as processes: each with its configuration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trustme
from tests.support.registries import CRANE, NGINX, OLAREG, ZOT, ServerProcess

__all__ = ["HTPASSWD", "LOGIN", "Crane", "NginxFront", "Olareg", "Zot", "few_requests", "strict", "to_https"]

LOGIN: Final = ("ann", "s3cret-of-ann")
_BCRYPT: Final = "$2b$04$yKhZzs87wDXpjCND1xgqiOdx7wAhHXFaTTezLeUEKe34F1IKHjQ1C"
"""The password of ``LOGIN``: ``htpasswd -nbB -C 4 ann s3cret-of-ann``."""
HTPASSWD: Final = f"ann:{_BCRYPT}\n"


class Crane(ServerProcess):
    """``crane registry serve``: blobs on disk, uploads and manifests in memory."""

    LISTENS = b"serving on port"

    def command(self, port: int) -> Sequence[str | Path]:
        assert CRANE is not None
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        return CRANE, "registry", "serve", "--address", f"127.0.0.1:{port}", "--disk", data


class Olareg(ServerProcess):
    """olareg, with Basic authentication."""

    LISTENS = b""

    def command(self, port: int) -> Sequence[str | Path]:
        assert OLAREG is not None
        users = self.folder / "users.yml"  # JSON is YAML
        rights = {"repo": "*", "members": ["staff"], "access": ["*"]}
        ping = {"repo": "", "members": ["staff"], "access": ["read"]}
        config = {
            "users": {"ann": {"cred": _BCRYPT}},
            "groups": {"staff": {"members": ["ann"]}},
            "acls": [rights, ping],
        }
        users.write_text(json.dumps(config), "utf-8")
        data = self.folder / "data"
        address = ("--addr", "127.0.0.1", "--port", str(port))
        return OLAREG, "serve", *address, "--dir", data, "--auth-basic", users


class Zot(ServerProcess):
    """zot, with Basic authentication.

    Args:
        folder: As for any.
        takes_docker: Whether it is told to take manifests of docker's kind; as it comes it takes OCI's alone.
    """

    LISTENS = b""

    def __init__(self, folder: Path, *, takes_docker: bool = True) -> None:
        super().__init__(folder)
        self._compat = {"compat": ["docker2s2"]} if takes_docker else {}

    def command(self, port: int) -> Sequence[str | Path]:
        assert ZOT is not None
        users, config = self.folder / "htpasswd", self.folder / "config.json"
        users.write_text(HTPASSWD, "ascii")
        http = {"address": "127.0.0.1", "port": str(port), "auth": {"htpasswd": {"path": str(users)}}}
        settings = {
            "storage": {"rootDirectory": str(self.folder / "data"), "gc": False},
            "http": {**http, **self._compat},
        }
        config.write_text(json.dumps(settings), "utf-8")
        return ZOT, "serve", config


class NginxFront(ServerProcess):
    """nginx in front of something.

    Args:
        folder: As for any.
        server: The inside of its ``server`` block but for ``listen``; see :func:`strict`, :func:`few_requests` and
            :func:`to_https`.
        tls: Whether it speaks TLS; what it is trusted by is ``ca_file``.
    """

    LISTENS = b""

    def __init__(self, folder: Path, server: str, *, tls: bool) -> None:
        super().__init__(folder)
        self._server = server
        self._tls = tls

    @property
    def ca_file(self) -> Path:
        """Of the authority that issued its certificate."""
        return self.folder / "ca.pem"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(self.folder / "server.pem"))
        (self.folder / "users").write_text("{}:{{PLAIN}}{}\n".format(*LOGIN), "ascii")
        super().start()

    def command(self, port: int) -> Sequence[str | Path]:
        assert NGINX is not None
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        folders = "".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in kinds)
        certificate = f"ssl_certificate {self.folder}/server.pem; ssl_certificate_key {self.folder}/server.pem;"
        tls = f" ssl; {certificate}" if self._tls else ";"
        users = f"auth_basic_user_file {self.folder}/users;"
        config = self.folder / "nginx.conf"
        config.write_text(
            # One process, so that ending it ends all of it.
            f"daemon off; master_process off; pid {self.folder}/pid; error_log {self.folder}/errors; events {{}}"
            f"http {{ access_log off; {folders} {users} limit_req_zone all zone=all:32k rate=2r/s;"
            f"server {{ listen 127.0.0.1:{port}{tls} {self._server} }} }}\n",
            "utf-8",
        )
        return NGINX, "-p", self.folder, "-e", self.folder / "errors", "-c", config


def strict(target: str) -> str:
    """A login, bodies of a mebibyte at most, passed on unbuffered, short timeouts, connections of few requests."""
    return f"""
      client_max_body_size 1m; client_body_timeout 5s; send_timeout 5s; keepalive_timeout 2s; keepalive_requests 10;
      location / {{
        auth_basic staff; {_passing(target)} proxy_set_header Authorization "";
        proxy_request_buffering off; proxy_buffering off; proxy_read_timeout 5s; proxy_send_timeout 5s;
      }}"""


def few_requests(target: str) -> str:
    """Two requests a second, none more at once, and 429 for all others."""
    limit = "limit_req zone=all; limit_req_status 429;"
    return f"client_max_body_size 0; location / {{ {limit} {_passing(target)} }}"


def to_https(target: str) -> str:
    """Sends everybody to *target*, which speaks TLS."""
    return f"return 301 https://{target}$request_uri;"


def _passing(target: str) -> str:
    return (
        f"proxy_pass http://{target}; proxy_http_version 1.1; proxy_set_header Host $http_host;"
        "proxy_set_header X-Forwarded-Proto $scheme;"
    )

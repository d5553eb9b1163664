"""Whose certificates are trusted: the operating system is asked with an extra, unless a variable says otherwise."""

from __future__ import annotations

import ssl
import sys

import pytest
import trustme

from ollama_push.transports._machine import build_tls_context


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_with_the_extra_the_operating_system_is_asked() -> None:
    truststore = pytest.importorskip("truststore")
    assert isinstance(build_tls_context(None, None), truststore.SSLContext)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_variable_says_whom_to_trust(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "/nowhere")
    assert build_tls_context(None, None) is None


def test_without_the_extra_the_library_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    # None in sys.modules makes the import fail (Python reference, 5.3.1).
    monkeypatch.setitem(sys.modules, "truststore", None)
    assert build_tls_context(None, None) is None


def test_a_chosen_authority_need_not_follow_rfc_5280(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    context = build_tls_context(path, None)
    assert context is not None
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT

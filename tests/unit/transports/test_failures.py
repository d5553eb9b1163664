"""What a library's exception says about certificates."""

from __future__ import annotations

import ssl

import pytest

from ollama_push.core.errors import ConnectCause
from ollama_push.transports._failures import refused_certificate

URL = "https://registry.example.com/v2/"


@pytest.mark.parametrize("alert", ["TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV1_ALERT_UNKNOWN_CA"])
def test_a_certificate_that_is_refused_after_the_handshake_is_found(alert: str) -> None:
    wrapped = OSError("broken")
    wrapped.__cause__ = ssl.SSLError(1, f"[SSL: {alert}] {alert.lower()} (_ssl.c:2580)")
    error = refused_certificate(URL, wrapped)
    assert error is not None
    assert (error.cause, error.address) == (ConnectCause.CLIENT_CERTIFICATE, "https://registry.example.com")
    assert "pass the right one with client_cert=" in str(error)


@pytest.mark.parametrize("exc", [ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), ConnectionResetError(), ValueError()])
def test_other_failures_are_none(exc: Exception) -> None:
    assert refused_certificate(URL, exc) is None

"""Servers that are not there, or are not what the address says."""

from __future__ import annotations

from typing import Final

from tests.catalogue.case import START, SUCCESS, Case, Place, told
from tests.support.server_push import ADDRESS, Expected

from ollama_push.core.errors import ConnectCause, ConnectFailed, ConnectionLost

__all__ = ["CASES"]

_WHOLE: Final = told(START, SUCCESS)


def _unreached(what: str, place: Place, cause: ConnectCause) -> Case:
    return Case(what, _WHOLE, Expected(0, ConnectFailed(ADDRESS, cause)), place=place)


CASES: Final = (
    _unreached("nothing listens", Place.REFUSED, ConnectCause.REFUSED),
    _unreached("https:// to a plain server", Place.HTTPS_TO_PLAIN, ConnectCause.NOT_TLS),
    _unreached("a certificate that nobody trusts", Place.UNTRUSTED, ConnectCause.UNTRUSTED_CERTIFICATE),
    Case("http:// to a TLS server", _WHOLE, Expected(0, ConnectionLost(ADDRESS)), place=Place.HTTP_TO_TLS),
)

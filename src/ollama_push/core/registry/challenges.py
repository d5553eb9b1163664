"""Reads ``WWW-Authenticate``: which credentials a registry asks for.

Source: RFC 9110, 11.6.1 (several challenges in one field, commas inside quotes) and 5.6.4 (quoted pairs);
distribution "Token Authentication Specification"; ollama ``server/auth.go`` ``parseRegistryChallenge``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

__all__ = ["Challenge", "parse_challenges"]

# RFC 9110, 5.6.2, "token"
_WORD: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_MAX_CHARACTERS: Final = 16_384
_BETWEEN: Final = re.compile(r"[\s,]*")
_PARAMETER: Final = re.compile(rf'({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD})(?!=))')
_SCHEME: Final = re.compile(rf"({_WORD})(?:[ \t]+([A-Za-z0-9._~+/-]+=*)(?=\s*(?:,|\Z)))?")
_QUOTED_PAIR: Final = re.compile(r"\\(.)")


@attrs.frozen
class Challenge:
    """One way to authenticate that a registry offers.

    Attributes:
        scheme: Lower case: ``"basic"``, ``"bearer"``.
        parameters: Names in lower case, values unquoted; the last of a repeated name counts.
    """

    scheme: str
    parameters: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def realm(self) -> str:
        """The ``realm``: of a bearer challenge, the URL that hands out tokens; empty when absent."""
        return self.parameters.get("realm", "")

    @property
    def service(self) -> str:
        """The ``service`` that tokens are for; empty when absent."""
        return self.parameters.get("service", "")

    @property
    def scope(self) -> str:
        """The ``scope`` that was missing; empty when absent."""
        return self.parameters.get("scope", "")

    @property
    def error(self) -> str:
        """Why what was shown is refused, as in ``"invalid_token"`` (RFC 6750, 3.1); empty when absent."""
        return self.parameters.get("error", "")


def parse_challenges(text: str) -> tuple[Challenge, ...]:
    """Return the challenges in *text* in order; what cannot be read, or is too long, ends the list.

    >>> [c.scheme for c in parse_challenges('Basic realm="a, b", Bearer realm="https://a/token",scope="s:x:pull,push"')]
    ['basic', 'bearer']
    """
    text = text[:_MAX_CHARACTERS]
    found: list[tuple[str, dict[str, str]]] = []
    at = _skip(text, 0)
    while at < len(text):
        parameter = _PARAMETER.match(text, at) if found else None
        if parameter is not None:
            quoted, plain = parameter[2], parameter[3]
            found[-1][1][parameter[1].lower()] = plain if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
            at = _skip(text, parameter.end())
            continue
        scheme = _SCHEME.match(text, at)
        if scheme is None:
            break
        found.append((scheme[1].lower(), {}))
        at = _skip(text, scheme.end())
    return tuple(Challenge(scheme, parameters) for scheme, parameters in found)


def _skip(text: str, at: int) -> int:
    between = _BETWEEN.match(text, at)
    return at if between is None else between.end()

"""Decides how a registry wants to be asked: what WWW-Authenticate says, and which token to get.

Pure. Bearer as registries do it: a realm that gives tokens, for a service and a scope. The scope is
the one that this side needs, never the one that the registry names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from sealane_manager.errors import Refused, RegistryError
from sealane_manager.registry.origins import led, origin_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHALLENGE_CHARS: Final = 4096
TOKEN_CHARS: Final = 64 * 1024
"""A token: a signed list of rights, a few thousand characters."""

_SCHEME: Final = re.compile(r"(?:^|,)\s*(bearer|basic)(?=\s|,|$)", re.IGNORECASE)
_PARAMETER: Final = re.compile(r'\b(realm|service)\s*=\s*"([^"]*)"', re.IGNORECASE)
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True, slots=True)
class Challenge:
    """How to be let in.

    Attributes:
        scheme: `bearer` or `basic`.
        realm: where tokens are given; for `basic` nothing that matters.
    """

    scheme: str
    realm: str = ""
    service: str = ""


def read_challenge(headers: Sequence[str]) -> Challenge:
    """The best way in that these WWW-Authenticate headers offer; raises RegistryError."""
    found = [each for header in headers for each in _challenges(header[:CHALLENGE_CHARS])]
    for scheme in ("bearer", "basic"):
        for each in found:
            if each.scheme == scheme:
                return each
    raise RegistryError(
        "the registry wants to know who asks, but by no way that is known here",
        hint="Bearer and Basic are known",
    )


def _challenges(header: str) -> Iterator[Challenge]:
    starts = [*_SCHEME.finditer(header)]
    for start, after in zip_longest(starts, starts[1:]):
        end = after.start() if after else len(header)
        said = {
            name.lower(): value for name, value in _PARAMETER.findall(header[start.end() : end])
        }
        yield Challenge(start[1].lower(), said.get("realm", ""), said.get("service", ""))


@dataclass(frozen=True, slots=True)
class TokenDesk:
    """Where tokens are given, and what is wanted there, encoded as a form."""

    url: str
    wanted: str

    @property
    def address(self) -> str:
        """The address that gives a token to whoever reads it."""
        return f"{self.url}{'&' if '?' in self.url else '?'}{self.wanted}"


def token_desk(
    challenge: Challenge, registry: str, trusted: Sequence[str], scopes: Sequence[str]
) -> TokenDesk:
    """Where to get a token.

    `registry` is the address that asked; a realm on another host is asked only when it is among
    `trusted`. Raises Refused, or RegistryError for a realm that is no address.
    """
    realm = led(registry, challenge.realm)
    origin = origin_of(realm)
    if origin.host not in {origin_of(registry).host, *trusted}:
        raise Refused(
            f"the registry sends you to {origin.host} for a token",
            hint=f"if your credentials are meant for that host too, say --token-host {origin.host}",
        )
    query = [("service", challenge.service)] if challenge.service else []
    query += [("scope", scope) for scope in scopes]
    return TokenDesk(realm, urlencode(query))


def check_token(found: object) -> str:
    """The token that was given, or raise RegistryError."""
    if not isinstance(found, str) or len(found) > TOKEN_CHARS or not _TOKEN.fullmatch(found):
        raise RegistryError("the registry gives something else than a token")
    return found

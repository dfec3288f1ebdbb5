"""Decides who a person of an identity provider is here: settings, groups to roles, claims. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from sealane_manager.errors import NotAllowed, Refused
from sealane_manager.people.access import SINGLE_SIGN_ON, Grant, Role, parse_grant

if TYPE_CHECKING:
    from collections.abc import Mapping

CALLBACK: Final = "/sso/callback"
"""Where the provider sends browsers back to."""

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "ES256",
    "ES384",
    "EdDSA",
)
"""Signatures that count: never `none`, and never one made with a shared secret."""

NAME_CHARS: Final = 128
"""Longest name of a person, without the prefix."""

GROUPS_SEEN: Final = 2000
"""Groups of one person that are looked at."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class GroupRole:
    """What the members of a group may do."""

    group: str
    grant: Grant


@dataclass(frozen=True, slots=True)
class SsoSettings:
    """How people log in with an identity provider.

    Attributes:
        name: what the button says.
        issuer: as the provider writes it in its tokens.
        secret: empty for a public client.
        address: of this dashboard, as browsers see it; the provider sends them back there.
        ca: PEM file that the provider's certificate is checked with; empty is the system's.
    """

    name: str
    issuer: str
    client_id: str
    secret: str
    address: str
    roles: tuple[GroupRole, ...]
    name_claim: str = "preferred_username"
    groups_claim: str = "groups"
    scope: str = "openid profile"
    ca: str = ""

    @property
    def redirect(self) -> str:
        """Where the provider sends browsers back to."""
        return self.address.rstrip("/") + CALLBACK


def parse_settings(found: Any) -> SsoSettings:
    """What sso.json says; raises Refused."""
    try:
        roles = tuple(
            GroupRole(str(each["group"]), parse_grant(each["role"], each.get("sites", ())))
            for each in found["roles"]
        )
        optional = {key: str(found[key]) for key in _OPTIONAL if key in found}
        settings = SsoSettings(
            name=str(found.get("name", "single sign-on")),
            issuer=str(found["issuer"]),
            client_id=str(found["client_id"]),
            secret=str(found.get("client_secret", "")),
            address=str(found["address"]),
            roles=roles,
            **optional,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise Refused(f"sso.json lacks or misspells {error}", hint="see docs/sso.md") from error
    for what, url in (("issuer", settings.issuer), ("address", settings.address)):
        if not is_safe(url):
            raise Refused(f"the {what} in sso.json must begin with https://", hint=url[:80])
    return settings


_OPTIONAL: Final = ("name_claim", "groups_claim", "scope", "ca")


def is_safe(url: str) -> bool:
    """Whether what goes there is encrypted, or does not leave this machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )


def user_of(claims: Mapping[str, Any], settings: SsoSettings) -> str:
    """The name of the person here; raises NotAllowed when the provider gives none."""
    name = claims.get(settings.name_claim)
    if not isinstance(name, str) or len(name) > NAME_CHARS or not _NAME.fullmatch(name):
        raise NotAllowed(
            f"the identity provider gives no usable {settings.name_claim}",
            hint="ask whoever runs it, or name another claim in sso.json",
        )
    return SINGLE_SIGN_ON + name


def grant_of(claims: Mapping[str, Any], settings: SsoSettings) -> Grant:
    """The highest role that the person's groups give; raises NotAllowed when there is none.

    Several groups with that role add up their sites, and one without sites means everywhere.
    """
    groups = claims.get(settings.groups_claim, ())
    named = set(map(str, groups[:GROUPS_SEEN])) if isinstance(groups, list) else {str(groups)}
    grants = [each.grant for each in settings.roles if each.group in named]
    if not grants:
        raise NotAllowed(
            "none of your groups has a role here", hint="ask an admin, who looks into sso.json"
        )
    order = tuple(Role)
    highest = max((grant.role for grant in grants), key=order.index)
    sites = [grant.sites for grant in grants if grant.role is highest]
    return Grant(highest, frozenset().union(*sites) if all(sites) else frozenset())

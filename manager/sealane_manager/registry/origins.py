"""Decides which addresses a registry may lead to, and which of them may see credentials. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from sealane_manager.errors import Refused, RegistryError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

URL_CHARS: Final = 8192
"""An address that a registry answers with: signed ones of object stores are about 2,000 long."""

_PORTS: Final = {"https": 443, "http": 80}
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """A server: what credentials given for one are never sent to another."""

    scheme: str
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, so that nobody listens in between."""
        return is_loopback(self.host)

    @property
    def is_private(self) -> bool:
        """Whether what is sent there can be read by nobody else: TLS, or this machine."""
        return self.scheme == "https" or self.is_loopback

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is that of this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def registry_origin(host: str, *, plain: bool, over_network: bool) -> Origin:
    """Where a registry's host is asked; raises Refused for HTTP without TLS to another machine."""
    scheme = "http" if plain or over_network else "https"
    origin = origin_of(f"{scheme}://{host}")
    if not (origin.is_private or over_network):
        raise Refused(
            f"{host} is another machine, and without TLS everybody between may read and change",
            hint="give the registry a certificate and use --ca; or say --plain-http-over-network",
        )
    return origin


def origin_of(url: str) -> Origin:
    """The server of an address; raises RegistryError when it is not an HTTP address."""
    parts = _split(url)
    try:
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError) as error:
        raise RegistryError(f"the registry leads to {url[:80]!r}, which is no address") from error
    return Origin(parts.scheme, (parts.hostname or "").lower(), port)


def led(start: str, location: str) -> str:
    """Where an answer to `start` leads; raises RegistryError.

    From TLS it leads to TLS only, and an address never brings a name and a password with it.
    """
    if len(location) > URL_CHARS or not _PRINTABLE.fullmatch(location):
        raise RegistryError("the registry leads to an address that is none or too long")
    try:
        target = urljoin(start, location)
    except ValueError as error:
        raise RegistryError(f"the registry leads to {location[:80]!r}, no address") from error
    parts, before = origin_of(target), origin_of(start)
    if _split(target).username is not None:
        raise RegistryError(f"the registry leads to {parts} with a name and a password in it")
    if before.scheme == "https" and parts.scheme != "https":
        raise RegistryError(
            f"the registry leads from TLS to {parts}, which has none",
            hint="this is a mistake in the registry's set-up, or an attack",
        )
    if not parts.is_private and before != parts:
        raise RegistryError(f"the registry leads to {parts}, on another machine and without TLS")
    return target


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise RegistryError(f"the registry leads to {url[:80]!r}, which is no address") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise RegistryError(f"the registry leads to {url[:80]!r}, which is no address of HTTP")
    return parts

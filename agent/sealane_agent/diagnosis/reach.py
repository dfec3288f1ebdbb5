"""Walks the way to the manager, one step after the other: name, port, TLS, an answer."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sealane.errors import SealaneError

from sealane_agent.diagnosis.findings import failed, well

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sealane_agent.diagnosis.findings import Finding
    from sealane_agent.identity.membership import Membership

STEP_S: Final = 5.0
CHECK: Final = "manager"


@dataclass(frozen=True, slots=True)
class Way:
    """The steps; each returns what it found, and raises OSError or SealaneError.

    Attributes:
        resolve: addresses of a host's name.
        connect: opens a port.
        handshake: TLS with the authorities in PEM; nothing is shown of the device's own.
        greet: the manager's own answer to this device.
    """

    resolve: Callable[[str, int], tuple[str, ...]]
    connect: Callable[[str, int], object]
    handshake: Callable[[str, int, bytes], object]
    greet: Callable[[Membership], object]


def walk(way: Way, membership: Membership) -> Iterator[Finding]:
    """A finding a step, up to the first that fails: what comes after it could only fail too."""
    address = membership.address
    host, _, text = address.rpartition(":")
    host, port = host.strip("[]"), int(text)
    steps: tuple[tuple[str, Callable[[], object], str], ...] = (
        (f"the name {host}", lambda: way.resolve(host, port), _NAME),
        (f"the port {address}", lambda: way.connect(host, port), _PORT),
        (f"TLS with {address}", lambda: way.handshake(host, port, membership.ca), _TLS),
        ("the manager's answer", lambda: way.greet(membership), _ANSWER),
    )
    for name, step, hint in steps:
        try:
            step()
        except (OSError, SealaneError) as error:
            yield failed(CHECK, f"{name}: {_reason(error)}", _hint(error) or hint)
            return
        yield well(CHECK, f"{name}: good")


_NAME: Final = "see this machine's DNS servers (resolvectl query), or write it into /etc/hosts"
_PORT: Final = "is the manager running, and does no firewall drop this port?"
_TLS: Final = "something else answers there, or intercepts TLS; ask for a new token if it is right"
_ANSWER: Final = "ask the operator: sealane device show"


def _reason(error: OSError | SealaneError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {error.verify_message}"
    if isinstance(error, OSError):
        return str(error.strerror or error)
    return str(error)


def _hint(error: OSError | SealaneError) -> str:
    if isinstance(error, SealaneError):
        return error.hint
    dates = ("expired", "not yet valid")
    if isinstance(error, ssl.SSLCertVerificationError) and any(
        word in error.verify_message for word in dates
    ):
        now = datetime.now(UTC)
        return f"is the clock of this machine right? it says {now:%Y-%m-%d %H:%M} UTC"
    return ""


def resolve(host: str, port: int) -> tuple[str, ...]:
    """Addresses of a name; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(str(each[4][0]) for each in found)


def connect(host: str, port: int) -> None:
    """Open the port and close it; raises OSError."""
    socket.create_connection((host, port), timeout=STEP_S).close()


def handshake(host: str, port: int, authorities: bytes) -> None:
    """TLS up to the point where the manager has proved who it is; raises OSError."""
    context = ssl.create_default_context(cadata=authorities.decode())
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, port), timeout=STEP_S) as line,
        context.wrap_socket(line, server_hostname=host) as secured,
        suppress(OSError),  # who shows no certificate is sent away, but has seen the manager's
    ):
        secured.unwrap()

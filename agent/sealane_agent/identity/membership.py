"""What makes a machine a member of a fleet, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Application:
    """What a machine tells the manager to become a device.

    `csr` is PKCS #10 in DER; `name` is the one it would like to have, or empty.
    """

    token_id: str
    secret: str = field(repr=False)
    csr: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Admission:
    """What the manager answers: the certificate is PEM, `address` is the fleet port's.

    Without a certificate the machine waits for an operator's approval.
    """

    device: str
    fleet: str
    certificate: bytes
    address: str
    root: bytes


@dataclass(frozen=True, slots=True)
class Membership:
    """What a device shows to its manager: certificates are PEM, the key may lie in a token.

    `enrol_address` is where it goes when its certificate has expired; old devices do not know it.
    """

    address: str
    key: EllipticCurvePrivateKey = field(repr=False)
    certificate: bytes
    ca: bytes
    enrol_address: str = ""


@dataclass(frozen=True, slots=True)
class Certifier:
    """Asks the manager for a certificate, PEM, of the key that signed a request.

    Both raise Refused or Unreachable.

    Attributes:
        renew: with a certificate that is still valid.
        rejoin: with one that has expired.
    """

    renew: Callable[[Membership, bytes], bytes]
    rejoin: Callable[[Membership, bytes], bytes]

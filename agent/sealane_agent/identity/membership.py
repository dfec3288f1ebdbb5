"""What makes a machine a member of a fleet, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field


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
    """What the manager answers: the certificate is PEM, `address` is the fleet port's."""

    device: str
    fleet: str
    certificate: bytes
    address: str
    root: bytes


@dataclass(frozen=True, slots=True)
class Membership:
    """What a device shows to its manager: key and certificates are PEM."""

    address: str
    key: bytes = field(repr=False)
    certificate: bytes
    ca: bytes

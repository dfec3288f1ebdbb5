"""How a machine becomes a device: a join token, proof of a key, and a certificate for 24 hours.

Of the signing request only the public key is used; what a device is called is decided here.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sealane.errors import SealaneError
from sealane.limits import CSR_BYTES
from sealane.names import DeviceId, parse_device

from sealane_manager.errors import NotAllowed, NotKnown, Refused
from sealane_manager.identity.succession import Key
from sealane_manager.store.records import IssuedToken, NewDevice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealane.clock import Clock

    from sealane_manager.identity.ca import Issuer
    from sealane_manager.repository import Repository
    from sealane_manager.store.records import Redeemed
    from sealane_manager.store.store import Store

TOKEN_PART_CHARS: Final = 256
"""Id or secret of a join token; ours have less than 50."""

MAX_USES: Final = 100_000
MIN_LIFETIME: Final = timedelta(seconds=1)
MAX_LIFETIME: Final = timedelta(days=90)

_REFUSED: Final = "the join token is not valid: it is unknown, used up or expired"
_HINT: Final = "make a new one with `sealane device token`"


@dataclass(frozen=True, slots=True)
class Application:
    """What a machine sends; `csr` is PKCS #10 in DER, an empty name lets the manager choose."""

    token_id: str
    secret: str
    csr: bytes
    requested_name: str


@dataclass(frozen=True, slots=True)
class Member:
    """What a new device gets; `certificate` is PEM, `root` the root.json that its token named.

    Without a certificate it waits for an operator's approval.
    """

    device: DeviceId
    fleet: str
    certificate: bytes
    root: bytes


@dataclass(frozen=True, slots=True)
class Terms:
    """What a join token allows: so many devices, with these labels, for so long.

    `approval`: each waits until an operator approves it.
    """

    labels: Mapping[str, str]
    uses: int
    lifetime: timedelta
    approval: bool = False

    def __post_init__(self) -> None:
        """Raise SealaneError unless the terms can be kept."""
        if not 0 < self.uses <= MAX_USES:
            raise SealaneError(f"a join token has 1 to {MAX_USES} uses, not {self.uses}")
        if not MIN_LIFETIME <= self.lifetime <= MAX_LIFETIME:
            raise SealaneError(
                f"a join token lives for some time, and at most {MAX_LIFETIME.days} days"
            )


@dataclass(frozen=True, slots=True)
class Invitation:
    """The secret half of a new join token, which only its bearer keeps."""

    token_id: str
    secret: str
    root: bytes


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Issues join tokens and redeems them."""

    fleet: str
    store: Store
    repository: Repository
    issuer: Issuer
    clock: Clock

    def invite(self, terms: Terms, actor: str) -> Invitation:
        """A new join token; its id says which root it names, so that a later root is no harm."""
        root, _snapshot = self.repository.versions()
        invitation = Invitation(
            token_id=f"{root}.{secrets.token_hex(8)}",
            secret=secrets.token_urlsafe(16),
            root=self.repository.read(f"{root}.root.json"),
        )
        now = self.clock.now()
        self.store.tokens.issue(
            IssuedToken(
                id=invitation.token_id,
                secret_sha256=hashlib.sha256(invitation.secret.encode()).digest(),
                labels=terms.labels,
                uses=terms.uses,
                expires_at=now + terms.lifetime,
                issued_at=now,
                issued_by=actor,
                approval=terms.approval,
            )
        )
        return invitation

    def enrol(self, application: Application) -> Member:
        """Make the machine a device; the same machine may ask again when an answer was lost.

        Raises NotAllowed for a token that is not valid, Refused for a name that is taken, and
        SealaneError for a request that proves no key.
        """
        key = proven_key(application.csr)
        redeemed = self._redeem(application, fingerprint_of(key))
        device = redeemed.device or self._add(application, key, redeemed)
        certificate = b""
        if not redeemed.waits:
            certificate = self.issuer.sign_device(application.csr, self.fleet, device)
        return Member(
            device=device,
            fleet=self.fleet,
            certificate=certificate,
            root=self.repository.read(f"{application.token_id.partition('.')[0]}.root.json"),
        )

    def _redeem(self, application: Application, fingerprint: str) -> Redeemed:
        if max(len(application.token_id), len(application.secret)) > TOKEN_PART_CHARS:
            raise NotAllowed(_REFUSED, hint=_HINT)
        try:
            return self.store.tokens.redeem(
                application.token_id, application.secret, fingerprint, self.clock.now()
            )
        except (NotKnown, Refused) as error:
            raise NotAllowed(_REFUSED, hint=_HINT) from error

    def _add(
        self, application: Application, key: ec.EllipticCurvePublicKey, redeemed: Redeemed
    ) -> DeviceId:
        name = application.requested_name or f"d-{secrets.token_hex(4)}"
        device = NewDevice(
            id=parse_device(name),
            name=name,
            labels=redeemed.labels,
            public_key=key_named(key).pem,
            key_fingerprint=fingerprint_of(key),
            token=application.token_id,
            enrolled_at=self.clock.now(),
            waits=redeemed.waits,
        )
        self.store.devices.enrol(device)
        return device.id


def proven_key(csr: bytes) -> ec.EllipticCurvePublicKey:
    """The P-256 key that signed this request; raises SealaneError when none is proven."""
    if len(csr) > CSR_BYTES:
        raise SealaneError(f"a signing request has at most {CSR_BYTES} bytes")
    try:
        request = x509.load_der_x509_csr(csr)
        key = request.public_key()
        proven = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise SealaneError("the signing request cannot be read") from error
    if not proven:
        raise SealaneError("the signing request is not signed by its own key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SealaneError("the signing request's key is not on the curve P-256")
    return key


def key_named(key: ec.EllipticCurvePublicKey) -> Key:
    """The key as it is kept."""
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Key(fingerprint_of(key), pem)


def fingerprint_of(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the public key's DER, hexadecimal."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()

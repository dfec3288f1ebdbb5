"""Lets a device back in whose certificate expired while it was away: its key proves who it is.

The proof answers a challenge of this process, so that none can be kept for later; what the key may
do is judged as in a renewal.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from sealane import limits
from sealane.errors import TrustError
from sealane.names import parse_device
from sealane.trust.identity import (
    BACKDATED,
    DEVICE,
    load_certificate,
    peer_of,
    proves,
    public_key_of,
)

from sealane_manager.errors import NotAllowed
from sealane_manager.identity.enrolment import key_named
from sealane_manager.identity.succession import Shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from cryptography import x509
    from sealane.clock import Clock
    from sealane.names import DeviceId

    from sealane_manager.identity.renewal import Renewal

GRACE: Final = timedelta(days=90)
"""So long after its end a certificate may still be renewed by its key."""

CHALLENGE_LIFE: Final = timedelta(minutes=1)

_SECONDS_BYTES: Final = 8
_RANDOM_BYTES: Final = 16
_TEXT_BYTES: Final = _SECONDS_BYTES + _RANDOM_BYTES
_HINT: Final = "enrol the machine again: sealane device token"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a device shows; the certificate is PEM, the request PKCS #10 in DER."""

    certificate: bytes
    csr: bytes
    nonce: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Rejoining:
    """Judges proofs; `admit` raises NotAllowed unless the device is a member of the fleet."""

    renewal: Renewal
    admit: Callable[[DeviceId, Shown], None]
    authorities: Callable[[], Sequence[x509.Certificate]]
    clock: Clock
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def challenge(self) -> bytes:
        """Something to sign."""
        now = int(self.clock.now().timestamp()).to_bytes(_SECONDS_BYTES, "big")
        text = now + secrets.token_bytes(_RANDOM_BYTES)
        return text + self._seal(text)

    def rejoin(self, proof: Proof) -> bytes:
        """A certificate, PEM; raises NotAllowed, or what a renewal raises."""
        self._judge_nonce(proof.nonce)
        device, shown = self._shown(proof)
        self.admit(device, shown)
        return self.renewal.renew(device, shown, proof.csr)

    def _seal(self, text: bytes) -> bytes:
        return hmac.digest(self.secret, text, hashlib.sha256)

    def _judge_nonce(self, nonce: bytes) -> None:
        text, seal = (
            nonce[: _SECONDS_BYTES + _RANDOM_BYTES],
            nonce[_SECONDS_BYTES + _RANDOM_BYTES :],
        )
        asked = int.from_bytes(text[:_SECONDS_BYTES], "big")
        age = int(self.clock.now().timestamp()) - asked
        if not hmac.compare_digest(seal, self._seal(text)) or age > CHALLENGE_LIFE.total_seconds():
            raise NotAllowed(
                "the challenge is not one of this manager, or too old", hint="ask again"
            )

    def _shown(self, proof: Proof) -> tuple[DeviceId, Shown]:
        if len(proof.certificate) > limits.CSR_BYTES:
            raise NotAllowed(f"a certificate has at most {limits.CSR_BYTES} bytes", hint=_HINT)
        try:
            certificate = load_certificate(proof.certificate)
            peer, key = peer_of(certificate), public_key_of(certificate)
        except TrustError as error:
            raise NotAllowed(str(error), hint=_HINT) from error
        if not self._issued_here(certificate):
            raise NotAllowed("the certificate is not one of this fleet", hint=_HINT)
        if (peer.kind, peer.fleet) != (DEVICE, self.renewal.fleet):
            raise NotAllowed(f"a certificate of {peer.kind} {peer.name} may not rejoin", hint=_HINT)
        self._judge_age(certificate.not_valid_after_utc)
        if not proves(key, proof.signature, proof.nonce, proof.csr):
            raise NotAllowed("the proof is not signed by the certificate's key", hint=_HINT)
        issued = certificate.not_valid_before_utc + BACKDATED
        return parse_device(peer.name), Shown(key_named(key), issued)

    def _judge_age(self, ended: datetime) -> None:
        now = self.clock.now()
        if ended + GRACE < now:
            message = f"the certificate ended more than {GRACE.days} days ago"
            raise NotAllowed(message, hint=_HINT)
        if now < ended:
            message = f"the certificate has not expired: here it is {now:%Y-%m-%d %H:%M} UTC"
            raise NotAllowed(message, hint="the clock of that machine is wrong: set it")

    def _issued_here(self, certificate: x509.Certificate) -> bool:
        for authority in self.authorities():
            try:
                certificate.verify_directly_issued_by(authority)
            except (ValueError, TypeError, InvalidSignature):
                continue
            return True
        return False

"""Lets operators in by certificate: it says who calls, and the store says what that user may do.

A certificate counts while its key is listed, not revoked, and its user is there. One from before
certificates were listed is listed when it is first shown, as an administrator's. Every method
blocks on the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName, TrustError
from sealane.trust.identity import BACKDATED, load_certificate, peer_of, public_key_of

from sealane_manager import operator_folder
from sealane_manager.errors import NotAllowed
from sealane_manager.identity.enrolment import fingerprint_of
from sealane_manager.people.access import Who, parse_user
from sealane_manager.store.records import By, OperatorCertificate

if TYPE_CHECKING:
    from pathlib import Path

    from sealane.clock import Clock

    from sealane_manager.identity.ca import Issuer
    from sealane_manager.people.access import Grant
    from sealane_manager.store.certificates import Certificates as Kept
    from sealane_manager.store.certificates import Held

UNLISTED: Final = "a certificate from before they were listed"
FIRST: Final = "init"
"""Who listed the certificate that a fleet begins with."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A certificate that somebody shall have.

    Attributes:
        csr: PKCS #10, DER.
        grant: what a new user may do; None for one who is there.
    """

    fleet: str
    user: str
    csr: bytes
    grant: Grant | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Who may call the operators' port."""

    kept: Kept
    clock: Clock

    def who(self, shown: OperatorCertificate) -> Who:
        """Who calls with this certificate; raises NotAllowed."""
        held = self.kept.held(shown.key) or self._admitted(shown)
        if held is None:
            raise NotAllowed(
                f"the certificate of operator {shown.user} is not known here", hint=_ASK
            )
        if held.certificate.revoked_at:
            raise NotAllowed(f"the certificate of operator {shown.user} was revoked", hint=_ASK)
        if held.grant is None or held.certificate.user != shown.user:
            raise NotAllowed(f"the certificate of operator {shown.user} is nobody's", hint=_ASK)
        return Who(shown.user, held.grant.role, held.grant.sites)

    def issue(self, issuer: Issuer, wanted: Wanted, actor: str) -> bytes:
        """A certificate for somebody's key, PEM.

        Raises InvalidName, NotKnown for a new name without a role, and Refused when the request
        proves no key, when the user has another role, or when the key is not to be certified.
        """
        pem = issuer.sign_operator(wanted.csr, wanted.fleet, parse_user(wanted.user))
        by = By(actor, wanted.reason, self.clock.now())
        self.kept.issue(certified(pem, actor), wanted.grant, by)
        return pem

    def adopt(self, folder: Path) -> None:
        """List the certificate that the fleet began with; its user is an administrator.

        The folder is the manager's own: who could put another certificate there has the fleet.
        """
        try:
            shown = certified((folder / operator_folder.CERTIFICATE).read_bytes(), FIRST)
        except (FileNotFoundError, TrustError):
            return
        self.kept.adopt(shown, By(FIRST, "", self.clock.now()))

    def _admitted(self, shown: OperatorCertificate) -> Held | None:
        try:
            parse_user(shown.user)
        except InvalidName:
            return None
        by = By(shown.user, UNLISTED, self.clock.now())
        return self.kept.held(shown.key) if self.kept.admit(shown, by) else None


def certified(pem: bytes, issued_by: str = "") -> OperatorCertificate:
    """A certificate as it is listed; raises TrustError."""
    certificate = load_certificate(pem)
    return OperatorCertificate(
        key=fingerprint_of(public_key_of(certificate)),
        user=peer_of(certificate).name,
        issued_at=certificate.not_valid_before_utc + BACKDATED,
        issued_by=issued_by,
        expires_at=certificate.not_valid_after_utc,
    )


_ASK = "ask an administrator for another: sealane operator issue"

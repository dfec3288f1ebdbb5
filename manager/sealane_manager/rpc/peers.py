"""Who calls: read from the verified client certificate alone, never from a message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sealane.errors import TrustError
from sealane.trust.identity import BACKDATED, load_certificate, peer_of, public_key_of

from sealane_manager.errors import NotAllowed
from sealane_manager.identity.enrolment import key_named
from sealane_manager.identity.succession import Shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    import grpc
    from sealane.clock import Clock


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, with which key, and until when the certificate says so."""

    name: str
    expires: datetime
    shown: Shown


def caller_of(auth: Mapping[str, Iterable[bytes]], kind: str, fleet: str) -> Caller:
    """The caller in a connection's authentication context.

    Raises NotAllowed unless the certificate names one `kind` (device, operator) of this fleet.
    """
    certificates = tuple(auth.get("x509_pem_cert", ()))
    if len(certificates) != 1:
        raise NotAllowed("the connection carries no certificate")
    try:
        certificate = load_certificate(certificates[0])
        peer = peer_of(certificate)
    except TrustError as error:
        raise NotAllowed(str(error), hint="use a certificate that this manager issued") from error
    if peer.kind != kind or peer.fleet != fleet:
        raise NotAllowed(
            f"a certificate of {peer.kind} {peer.name} of fleet {peer.fleet} may not call this",
            hint=f"this port is for every {kind} of fleet {fleet}",
        )
    issued = certificate.not_valid_before_utc + BACKDATED
    shown = Shown(key_named(public_key_of(certificate)), issued)
    return Caller(peer.name, certificate.not_valid_after_utc, shown)


class Door:
    """Lets one kind of caller of one fleet in."""

    def __init__(self, kind: str, fleet: str, clock: Clock) -> None:
        self._kind, self._fleet, self._clock = kind, fleet, clock

    def admit(self, context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
        """The caller; raises NotAllowed. Costs as much as a message: ask once a call."""
        caller = caller_of(context.auth_context(), self._kind, self._fleet)
        self.check(caller)
        return caller

    def check(self, caller: Caller) -> None:
        """Raise NotAllowed once the certificate has expired; a connection outlives it."""
        if self._clock.now() >= caller.expires:
            raise NotAllowed(
                f"the certificate of {caller.name} has expired", hint="renew it or enrol again"
            )

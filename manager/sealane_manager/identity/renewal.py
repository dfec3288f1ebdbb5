"""Renews the certificates of devices, and notices when a device was copied.

Every renewal brings a new key. Whoever uses one that was superseded is a clone, or the device whose
clone renewed before it: nobody can tell which, so the device is put into quarantine.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane_manager.errors import NotAllowed, Refused
from sealane_manager.identity.enrolment import key_named, proven_key
from sealane_manager.identity.succession import Ruling
from sealane_manager.sessions import Ending
from sealane_manager.store.records import By

if TYPE_CHECKING:
    from sealane.clock import Clock
    from sealane.names import DeviceId

    from sealane_manager.identity.ca import Issuer
    from sealane_manager.identity.succession import Shown
    from sealane_manager.sessions import Sessions
    from sealane_manager.store.store import Store

REASON: Final = "a key that it had replaced was used again: the device may have been copied"

QUARANTINE_HINT: Final = "what serves goes on; ask the operator of the fleet"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Renewal:
    """Judges the keys that devices show; every method blocks on the store."""

    fleet: str
    store: Store
    issuer: Issuer
    sessions: Sessions
    clock: Clock

    def renew(
        self, device: DeviceId, shown: Shown, csr: bytes, wished: timedelta = timedelta(0)
    ) -> bytes:
        """A certificate, PEM, for the key that signed the request; `wished` is how long it lives.

        Raises NotAllowed for a superseded key, Refused for a key that is not new, and SealaneError
        for a request that proves no key.
        """
        asked = key_named(proven_key(csr))
        ruling = self.store.identities.renew(device, shown, asked, self._by(device))
        self._end_clone(device, ruling)
        if ruling is Ruling.SAME_KEY:
            raise Refused("a renewal needs a new key", hint="make one for every renewal")
        return self.issuer.sign_device(csr, self.fleet, device, wished)

    def meet(self, device: DeviceId, shown: Shown) -> None:
        """A device opens a session with this key; raises NotAllowed for a superseded one."""
        self._end_clone(device, self.store.identities.meet(device, shown, self._by(device)))

    def check(self, device: DeviceId, shown: Shown) -> None:
        """A device fetches with this key; raises NotAllowed for a superseded one."""
        if self.store.identities.judge(device, shown) in (Ruling.CLONE, Ruling.STRANGER):
            raise _replaced(device)

    def _by(self, device: DeviceId) -> By:
        return By(f"device {device}", REASON, self.clock.now())

    def _end_clone(self, device: DeviceId, ruling: Ruling) -> None:
        if ruling is Ruling.STRANGER:
            raise _replaced(device)
        if ruling is not Ruling.CLONE:
            return
        _log.warning("quarantined: device=%s reason=%s", device, REASON)
        self.sessions.end(device, Ending.QUARANTINED)
        raise NotAllowed(f"device {device} is in quarantine: {REASON}", hint=QUARANTINE_HINT)


def _replaced(device: DeviceId) -> NotAllowed:
    return NotAllowed(
        f"the key of this certificate of {device} was replaced",
        hint="enrol this machine again, or use the certificate of its last renewal",
    )

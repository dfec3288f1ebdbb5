"""Takes up director documents that were accepted: first durably, then as what the slots desire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane.failure import Failure, FailureKind
from sealane.names import AGENT_SLOT
from sealane.trust.agreement import is_package

from sealane_agent.sampling.orders import Order, encode
from sealane_agent.slot.state import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane.errors import TrustError
    from sealane.trust.documents import SlotAssignment
    from sealane.trust.verifier import Accepted

    from sealane_agent.slot.actions import Tools
    from sealane_agent.slot.desires import Desires
    from sealane_agent.slot.slots import Upgrades

CLOCK_OFF: Final = timedelta(minutes=2)
"""A clock that is off by more is told."""


class Documents:
    """What one device was told to do."""

    def __init__(
        self,
        tools: Tools,
        desires: Desires,
        clock_offset: Callable[[], timedelta | None],
        upgrades: Upgrades | None = None,
    ) -> None:
        self._tools, self._desires = tools, desires
        self._clock_offset, self._upgrades = clock_offset, upgrades
        self._store = tools.staging.store
        self._told_off = timedelta(0)

    def settle(self, accepted: Accepted) -> None:
        """Make durable what follows from a document before anything is done for it.

        Blocks on the disk; raises OSError or DiskTrouble, and may be repeated.
        """
        for release in accepted.approved:
            self._store.put(release.assignment.manifest, release.manifest)
        if self._tools.believe(accepted.authorities):
            self._tools.log("authorities changed", bytes=len(accepted.authorities))
        self._order_samples(accepted)
        self._obey(accepted)
        self._hold(accepted)

    def take_up(self, accepted: Accepted) -> None:
        """Let the slots desire what a document says that is settled."""
        if accepted.lost:
            self._tools.log("audit log lost", reason=accepted.lost)
        refused = accepted.refused
        self._desires.wanted = {
            item.slot: Wanted(item, self._refusal(item, refused.get(item.slot)))
            for item in accepted.document.slots
            if not self._is_here(item)
        }
        self._desires.heard = True
        self._tools.log(
            "document accepted",
            version=accepted.document.version,
            generation=accepted.document.generation,
            slots=len(accepted.document.slots),
        )
        self._tell_clock(self._clock_offset() or timedelta(0))

    def _obey(self, accepted: Accepted) -> None:
        """Keep what is in quarantine; a manager that says nothing of it changes nothing."""
        ordered = accepted.document.quarantined
        if ordered is None:
            return
        if self._tools.journal.obey(ordered):
            names = ",".join(each.manifest.removeprefix("sha256:")[:12] for each in ordered)
            self._tools.log("quarantine ordered", bundles=names or "none")
        self._desires.ordered = frozenset(each.manifest for each in ordered)

    def _hold(self, accepted: Accepted) -> None:
        """Keep the manager's holds; one that says nothing of them changes nothing."""
        holds = accepted.document.holds
        if holds is not None and self._tools.order_holds(holds):
            self._tools.log("holds ordered", holds=",".join(each.id for each in holds) or "none")

    def _order_samples(self, accepted: Accepted) -> None:
        """Tell the endpoint of what both authorities let be kept: of approved releases alone."""
        shift = round((self._tools.now() - datetime.now(UTC)).total_seconds())
        orders: dict[str, Order] = {
            each.assignment.slot: Order(
                release=str(each.assignment.release),
                key=each.assignment.sampling.key,
                until=int(each.assignment.sampling.until.timestamp()),
                shift=shift,
                drift=each.assignment.sampling.drift,
            )
            for each in accepted.approved
            if each.assignment.sampling is not None
        }
        path = self._tools.folder.sampling
        try:
            if orders or path.exists():
                fileio.replace(path, encode(orders))
        except OSError as error:  # what serves does not depend on it, and each order ends by itself
            self._tools.log("sampling not changed", reason=error)

    def _tell_clock(self, off: timedelta) -> None:
        """Once for each error: what is verified does not depend on it, other programs may."""
        if abs(off - self._told_off) > CLOCK_OFF and abs(off) > CLOCK_OFF:
            way = "ahead" if off > timedelta(0) else "behind"
            much = timedelta(seconds=round(abs(off).total_seconds()))
            reason = f"it is {much} {way} of the manager's time"
            self._tools.log("clock wrong", reason=reason, hint="set it: timedatectl set-ntp true")
            self._told_off = off

    def _is_here(self, wanted: SlotAssignment) -> bool:
        """What the package brought runs already where the package alone brings versions."""
        left = self._upgrades is None or self._upgrades.refusal is not None
        return left and is_package(wanted)

    def _refusal(self, wanted: SlotAssignment, error: TrustError | None) -> Failure | None:
        if error is not None:
            return _untrusted(wanted, error)
        if wanted.slot != AGENT_SLOT or self._upgrades is None:
            return None
        return self._upgrades.refusal


def _untrusted(wanted: SlotAssignment, error: TrustError) -> Failure:
    return Failure(
        FailureKind.PERMANENT,
        phase="accepted",
        component="verifier",
        element=str(wanted.release),
        message=f"{error} (step {error.step})",
        hint=error.hint,
    )

"""Collects what is exported at one moment: for whoever scrapes, and for whom it is pushed to."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from sealane_manager.metrics.families import Snapshot
from sealane_manager.store.summaries import Page

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane_manager.store.store import Store

VERSION: Final = version("sealane-manager")
_LIVE_ROLLOUTS: Final = 1000


@dataclass(frozen=True, slots=True)
class Survey:
    """Looks at one fleet; `reachable`: the devices that hold a session now."""

    fleet: str
    store: Store
    reachable: Callable[[], frozenset[str]]

    def look(self) -> Snapshot:
        """What is so now; blocks."""
        store = self.store
        counts = store.overview.counts(self.reachable())
        rollouts: dict[str, int] = {}
        for each in store.progress.rollouts(Page(size=_LIVE_ROLLOUTS), live=True):
            rollouts[str(each.state)] = rollouts.get(str(each.state), 0) + 1
        return Snapshot(
            fleet=self.fleet,
            version=VERSION,
            cohorts=store.telemetry.counters(),
            devices={str(status): count for status, count in counts.items()},
            rollouts=rollouts,
            alerts=store.alerts.counts(),
        )

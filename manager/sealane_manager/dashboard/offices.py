"""What the dashboard and the API ask: the same offices as the operator service, and the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sealane_manager.reach import Reach

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane.clock import Clock

    from sealane_manager.alarms import Alarms
    from sealane_manager.blobs import BlobStore
    from sealane_manager.drift.watch import Drifting, Scales
    from sealane_manager.members import Members
    from sealane_manager.people.accounts import Accounts
    from sealane_manager.people.sign_on import SignOn
    from sealane_manager.publishing import Publishing
    from sealane_manager.repository import Repository
    from sealane_manager.rollout.controller import Controller
    from sealane_manager.rollouts import Rollouts
    from sealane_manager.selector import Sites
    from sealane_manager.store.store import Store


@dataclass(frozen=True, slots=True)
class Offices:
    """Who answers; all of them block, except `controller.changed`.

    Attributes:
        development: whether the fleet's keys are for development now.
    """

    fleet: str
    store: Store
    accounts: Accounts
    alarms: Alarms
    controller: Controller
    rollouts: Rollouts
    members: Members
    publishing: Publishing
    repository: Repository
    blobs: BlobStore
    drifting: Drifting
    references: Scales
    clock: Clock
    sign_on: SignOn | None = None
    development: Callable[[], bool] = lambda: False

    def seen(self, sites: Sites) -> Offices:
        """The same for somebody who sees these sites alone; none means everything."""
        if not sites:
            return self
        return replace(
            self,
            store=self.store.seen(sites),
            alarms=self.alarms.seen(sites),
            members=self.members.seen(sites),
            rollouts=self.rollouts.seen(sites),
        )

    @property
    def reach(self) -> Reach:
        """Where things lie that somebody wants to change."""
        return Reach(self.store, self.controller)

    def those(self) -> frozenset[str] | None:
        """The devices that are seen; None means all."""
        return self.store.overview.those() if self.store.sites else None

    def reachable(self) -> frozenset[str]:
        """The devices that hold a session now."""
        return frozenset(self.members.sessions.reachable())

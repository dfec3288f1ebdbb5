"""Everything that a manager keeps, opened together: control.db and telemetry.db."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Final

from sealane.clock import SystemClock

from sealane_manager.store.accounts import Accounts
from sealane_manager.store.alerts import Alerts
from sealane_manager.store.audit import Audit
from sealane_manager.store.calendars import Calendars
from sealane_manager.store.certificates import Certificates
from sealane_manager.store.database import Database
from sealane_manager.store.decisions import Decisions
from sealane_manager.store.desired import Desired
from sealane_manager.store.devices import Devices
from sealane_manager.store.events import Events
from sealane_manager.store.evidence import EvidenceRows
from sealane_manager.store.health import FleetHealth
from sealane_manager.store.history import History
from sealane_manager.store.holds import Holds
from sealane_manager.store.identities import Identities
from sealane_manager.store.judgements import Judgements
from sealane_manager.store.kits import Kits
from sealane_manager.store.overview import Overview
from sealane_manager.store.progress import Progress
from sealane_manager.store.prospects import Prospects
from sealane_manager.store.quarantine import Quarantine
from sealane_manager.store.restoring import Restoring
from sealane_manager.store.rollouts import Rollouts
from sealane_manager.store.samples import Samples
from sealane_manager.store.schedules import Schedules
from sealane_manager.store.telemetry import open_telemetry
from sealane_manager.store.telemetry.directory import ControlDirectory
from sealane_manager.store.tokens import Tokens
from sealane_manager.store.usage import Usage
from sealane_manager.store.winners import Winners

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_manager.selector import Sites
    from sealane_manager.store.telemetry import Telemetry

TELEMETRY_FILE: Final = "telemetry.db"
"""Beside control.db: what devices recorded, so that its size and its writes are its own."""


class Store:
    """Everything that a manager keeps, by subject. Calls block: from asyncio, use a thread."""

    sites: Sites = frozenset()
    """What is seen; none means everything."""

    def __init__(self, database: Database, telemetry: Telemetry) -> None:
        self._database = database
        self.telemetry = telemetry
        self.tokens = Tokens(database)
        self.devices = Devices(database)
        self.identities = Identities(database)
        self.events = Events(database)
        self.evidence = EvidenceRows(database)
        self.desired = Desired(database)
        self.rollouts = Rollouts(database, self.devices)
        self.quarantine = Quarantine(database, self.rollouts.members)
        self.decisions = Decisions(database)
        self.judgements = Judgements(database)
        self.accounts = Accounts(database)
        self.certificates = Certificates(database)
        self.audit = Audit(database)
        self.history = History(database)
        self.overview = Overview(database)
        self.progress = Progress(database)
        self.prospects = Prospects(database)
        self.alerts = Alerts(database)
        self.schedules = Schedules(database)
        self.calendars = Calendars(database)
        self.holds = Holds(database)
        self.samples = Samples(database)
        self.restoring = Restoring(database)
        self.kits = Kits(database)
        self.winners = Winners(database)
        self.usage = Usage(database)
        self.health = FleetHealth(database, self.devices, telemetry)

    def seen(self, sites: Sites) -> Store:
        """The same for somebody who sees these sites alone; none means everything."""
        if not sites:
            return self
        bound = copy(self)
        bound.sites = sites
        bound.devices = self.devices.bound_to(sites)
        bound.overview = self.overview.bound_to(sites)
        bound.progress = self.progress.bound_to(sites)
        bound.decisions = self.decisions.bound_to(sites)
        bound.alerts = self.alerts.bound_to(sites)
        bound.holds = self.holds.bound_to(sites)
        bound.samples = self.samples.bound_to(sites)
        bound.audit = self.audit.bound_to(sites)
        bound.telemetry = self.telemetry.seen(sites, bound.overview.those)
        return bound

    def close(self) -> None:
        """Write what is only in memory, and let the files go."""
        self.telemetry.close()
        self.devices.flush_seen()
        self._database.close()


def open_store(path: Path) -> Store:
    """Open or create control.db and telemetry.db; raises Refused when one cannot be brought up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = Database(path)
    try:
        directory = ControlDirectory(database, SystemClock())
        return Store(database, open_telemetry(path.with_name(TELEMETRY_FILE), directory))
    except BaseException:
        database.close()
        raise

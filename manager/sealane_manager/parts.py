"""What a manager is made of before it listens, built in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealane.trust.director import DIRECTOR

from sealane_manager.alerts.channels import load as load_channels
from sealane_manager.audit import told
from sealane_manager.blobs import BlobStore
from sealane_manager.desk import Pace
from sealane_manager.director import Director
from sealane_manager.drift.watch import BundleReferences, Drifting
from sealane_manager.identity.ca import Issuer
from sealane_manager.metrics.push import Endpoint
from sealane_manager.people.accounts import Accounts
from sealane_manager.people.certificates import Certificates
from sealane_manager.repository import Repository
from sealane_manager.rollout.controller import Controller, World
from sealane_manager.sampling import Sampling
from sealane_manager.sessions import Sessions
from sealane_manager.trust.office import Premises, open_publishing

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from sealane.clock import Clock

    from sealane_manager.alerts.channels import Channel
    from sealane_manager.layout import StateFolder
    from sealane_manager.publishing import Publishing
    from sealane_manager.store.store import Store


@dataclass(frozen=True, slots=True)
class ManagerSettings:
    """How one manager runs.

    Attributes:
        host: name under which devices and operators dial; empty is the fleet's first.
        listen: address to listen on; empty is the host.
            fleet_port, enrol_port, operator_port, dashboard_port: 0 is any free port.
        otlp: where metrics are pushed to.
        producers: folder with the public keys of who must have signed a bundle; None: nobody must.
    """

    state: StateFolder
    host: str = ""
    listen: str = ""
    fleet_port: int = 7443
    enrol_port: int = 7444
    operator_port: int = 7445
    dashboard_port: int = 8443
    pace: Pace = field(default_factory=Pace)
    otlp: Endpoint = field(default_factory=Endpoint)
    producers: Path | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What a manager is made of, before it listens."""

    store: Store
    repository: Repository
    blobs: BlobStore
    issuer: Issuer
    publishing: Publishing
    director: Director
    sessions: Sessions
    controller: Controller
    accounts: Accounts
    certificates: Certificates
    drifting: Drifting
    sampling: Sampling
    references: BundleReferences
    channels: tuple[Channel, ...]
    clock: Clock
    started: datetime


def build(settings: ManagerSettings, store: Store, clock: Clock) -> Parts:
    """Make every part, over an open store."""
    state = settings.state
    repository = Repository(state.tuf, state.keys, clock, told(store.decisions, clock))
    blobs = BlobStore(state)
    blobs.prepare()
    sessions = Sessions()
    windows = store.telemetry.readings
    world = World(repository.releases, sessions.reachable, sessions.notify, clock, windows)
    references = BundleReferences(repository, blobs)
    drifting = Drifting(store.telemetry, references)
    premises = Premises(state, settings.producers)
    return Parts(
        store=store,
        repository=repository,
        blobs=blobs,
        issuer=Issuer(state.ca, clock, settings.pace.certificate_life),
        publishing=open_publishing(premises, repository, store, clock),
        director=Director(lambda: repository.online_signer(DIRECTOR)),
        sessions=sessions,
        controller=Controller(store, world),
        accounts=Accounts(store.accounts, clock),
        certificates=Certificates(store.certificates, clock),
        drifting=drifting,
        references=references,
        sampling=Sampling(state, store, sessions, clock, drifting.alarms),
        channels=load_channels(state.alerts),
        clock=clock,
        started=clock.now(),
    )

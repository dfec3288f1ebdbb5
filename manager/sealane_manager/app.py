"""Builds the manager from its parts and runs it: the only place that does."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import json
import logging
import os
import secrets
import signal
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane.clock import SystemClock
from sealane.service import ServiceManager
from sealane.trust.director import DIRECTOR
from sealane.trust.identity import DEVICE, OPERATOR

from sealane_manager.alarms import Alarms
from sealane_manager.alerts.channels import load as load_channels
from sealane_manager.alerts.watch import Watch, Watched
from sealane_manager.audit import AuditLog, told
from sealane_manager.blobs import BlobStore
from sealane_manager.dashboard.offices import Offices as DashboardOffices
from sealane_manager.dashboard.server import DashboardServer
from sealane_manager.dashboard.web import Web
from sealane_manager.desk import Desk, Pace, Papers
from sealane_manager.director import Director
from sealane_manager.drift.watch import EVERY as DRIFT_EVERY
from sealane_manager.drift.watch import BundleReferences, Drifting
from sealane_manager.errors import Refused
from sealane_manager.evidence import EvidenceDesk
from sealane_manager.housekeeping import Chore, Housekeeping, alert_chores, store_chores
from sealane_manager.identity.ca import Issuer
from sealane_manager.identity.enrolment import Enrolment
from sealane_manager.identity.rejoin import Rejoining
from sealane_manager.identity.renewal import Renewal
from sealane_manager.kit_office import KitOffice
from sealane_manager.members import Members
from sealane_manager.metrics.otlp import Origin
from sealane_manager.metrics.push import Endpoint, Push
from sealane_manager.metrics.survey import VERSION, Survey
from sealane_manager.patches import Patches
from sealane_manager.people.accounts import Accounts
from sealane_manager.people.certificates import Certificates
from sealane_manager.people.sign_on import SignOn
from sealane_manager.people.sign_on import load as load_sso
from sealane_manager.planning import Bundles, Planning
from sealane_manager.repository import Repository
from sealane_manager.rollout.controller import Controller, World
from sealane_manager.rollouts import Rollouts
from sealane_manager.rpc import servers
from sealane_manager.rpc.alerts import AlertService
from sealane_manager.rpc.audit import AuditService
from sealane_manager.rpc.calendars import CalendarService
from sealane_manager.rpc.content import Content
from sealane_manager.rpc.enrol import EnrolService
from sealane_manager.rpc.exports import ExportService
from sealane_manager.rpc.fleet import FleetService
from sealane_manager.rpc.kits import KitService
from sealane_manager.rpc.operator import Offices, OperatorService
from sealane_manager.rpc.operators import OperatorDoor
from sealane_manager.rpc.orders import OrderService
from sealane_manager.rpc.peers import Door
from sealane_manager.rpc.places import Places
from sealane_manager.rpc.reception import Reception
from sealane_manager.rpc.rollouts import RolloutService
from sealane_manager.rpc.samples import SampleService
from sealane_manager.sampling import Sampling
from sealane_manager.sessions import Sessions
from sealane_manager.store.store import open_store
from sealane_manager.trust.office import Premises, open_publishing
from sealane_manager.trust.settings import FleetSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    import grpc
    from sealane.clock import Clock

    from sealane_manager.alerts.channels import Channel
    from sealane_manager.layout import StateFolder
    from sealane_manager.publishing import Publishing
    from sealane_manager.store.store import Store

GRACE_S: Final = 2.0
"""How long open calls may finish when the manager stops."""

RESIGN_EVERY: Final = timedelta(hours=1)
"""How often it is asked whether snapshot and timestamp are due."""

FORGET_EVERY: Final = timedelta(hours=1)
"""How often sessions of the dashboard that are over are forgotten."""

COLLECT_AFTER: Final = 50_000
"""Objects made and not yet gone after which cycles are looked for among them: about 10 MB."""

_log = logging.getLogger(__name__)
_CLOCK: Final = SystemClock()


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
class Addresses:
    """Where a running manager answers, each as host:port."""

    fleet: str
    enrol: str
    operator: str
    dashboard: str


async def serve(settings: ManagerSettings) -> None:
    """Run until SIGTERM or SIGINT; raises SealaneError when the manager cannot start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    manager = Manager(settings)
    addresses = await manager.start()
    _log.info("serving %s: %s", settings.state.root, addresses)
    spare_the_collector()
    service = ServiceManager.of(os.environ)
    service.ready()
    try:
        await stop.wait()
    finally:
        service.stopping()
        await manager.stop()


def spare_the_collector() -> None:
    """Look for cycles rarely, and never among what lives as long as the manager.

    Telemetry makes tens of objects for each window that die by themselves: with Python's defaults
    a quarter of storing it is spent on looking for cycles, and there are none.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


class Manager:
    """One manager on one state folder."""

    def __init__(self, settings: ManagerSettings, clock: Clock = _CLOCK) -> None:
        self._settings, self._clock = settings, clock
        self._running = AsyncExitStack()

    async def start(self) -> Addresses:
        """Open everything; raises SealaneError, and then nothing stays open."""
        async with AsyncExitStack() as stack:
            fleet = FleetSettings.load(self._settings.state.settings)
            if fleet.development:
                _log.warning("development mode: every key of this fleet lies on this machine")
            stack.enter_context(_alone(self._settings.state))
            store = open_store(self._settings.state.database)
            stack.callback(store.close)
            parts = _build(self._settings, store, self._clock)
            await asyncio.to_thread(parts.certificates.adopt, self._settings.state.operator)
            await asyncio.to_thread(parts.publishing.settle)
            await asyncio.to_thread(parts.repository.renew, self._clock.now())
            _run_controller(stack, parts.controller)
            _keep_house(stack, parts)
            doors = _Doors(self._settings, fleet, parts)
            stack.push_async_callback(doors.close)
            addresses = await doors.open()
            push = _push(fleet, self._settings.otlp, parts, addresses)
            watched = _watched(fleet, self._settings, parts, addresses)
            watched = replace(watched, exports=lambda: push.troubles)
            _watch(stack, Watch(store, watched, parts.channels), parts)
            if self._settings.otlp.address:
                _keep(stack, (Chore("push metrics", self._settings.otlp.every, push.push),), parts)
            _announce(self._settings.state, addresses)
            stack.callback(self._settings.state.addresses.unlink, missing_ok=True)
            self._running = stack.pop_all()
        return addresses

    async def stop(self) -> None:
        """End sessions, let calls finish, close the store."""
        await self._running.aclose()


@dataclass(frozen=True, slots=True)
class _Parts:
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


def _build(settings: ManagerSettings, store: Store, clock: Clock) -> _Parts:
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
    return _Parts(
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


def _run_controller(stack: AsyncExitStack, controller: Controller) -> None:
    task = asyncio.create_task(controller.run())

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)


def _keep_house(stack: AsyncExitStack, parts: _Parts) -> None:
    settle = Chore("complete publications", RESIGN_EVERY, lambda _: parts.publishing.settle())
    resign = Chore("sign metadata again", RESIGN_EVERY, parts.repository.resign)
    forget = Chore("forget sessions that are over", FORGET_EVERY, parts.accounts.prune)
    samples = Chore("delete samples that are over", FORGET_EVERY, parts.sampling.tidy)
    _keep(stack, (settle, resign, forget, samples, *store_chores(parts.store)), parts)


def _keep(stack: AsyncExitStack, chores: Iterable[Chore], parts: _Parts) -> None:
    housekeeping = Housekeeping(chores, parts.clock)
    housekeeping.start()
    stack.callback(housekeeping.stop)


def _watched(
    fleet: FleetSettings, settings: ManagerSettings, parts: _Parts, addresses: Addresses
) -> Watched:
    return Watched(
        fleet=fleet.fleet,
        address=f"https://{addresses.dashboard}",
        heartbeat_s=settings.pace.heartbeat_s,
        reachable=parts.sessions.reachable,
        drifted=parts.drifting.found,
    )


def _push(fleet: FleetSettings, endpoint: Endpoint, parts: _Parts, addresses: Addresses) -> Push:
    survey = Survey(fleet.fleet, parts.store, lambda: frozenset(parts.sessions.reachable()))
    started = int(parts.started.timestamp() * 1e9)
    origin = Origin(fleet.fleet, VERSION, addresses.dashboard, started)
    return Push(endpoint, survey, origin)


def _watch(stack: AsyncExitStack, watch: Watch, parts: _Parts) -> None:
    follow = Chore("tell devices what drifts", DRIFT_EVERY, parts.sampling.follow)
    _keep(stack, (*alert_chores(watch, parts.drifting), follow), parts)


class _Doors:
    """The manager's four ports, opened one after the other: each names the one before."""

    def __init__(self, settings: ManagerSettings, fleet: FleetSettings, parts: _Parts) -> None:
        self._settings, self._fleet, self._parts = settings, fleet, parts
        self._host = settings.host or fleet.hosts[0]
        self._tls = _tls(settings.state, fleet, self._host, parts.issuer)
        self._desk = Desk(parts.store, self._papers(), parts.clock, settings.pace)
        self._servers: list[grpc.aio.Server] = []
        self._dashboard: DashboardServer | None = None

    async def open(self) -> Addresses:
        """Listen; raises SealaneError when a port cannot be opened."""
        settings, tls = self._settings, self._tls
        listen = settings.listen or self._host
        fleet = await self._listen(
            servers.fleet_port(listen, settings.fleet_port, tls), self._fleet_service()
        )
        enrolment = self._enrolment()
        enrol = await self._listen(
            servers.enrol_port(listen, settings.enrol_port, tls),
            EnrolService(enrolment, self._rejoining(), fleet),
        )
        offices = self._offices(enrolment, enrol)
        operator = await self._listen(
            servers.operator_port(listen, settings.operator_port, tls, self._operator_door()),
            *self._operator_services(offices),
        )
        self._dashboard = DashboardServer(Web(self._dashboard_offices(offices)), tls)
        number = await self._dashboard.open(listen, settings.dashboard_port)
        return Addresses(fleet, enrol, operator, servers.address(self._host, number))

    async def close(self) -> None:
        """End every session, let the other calls finish, and close the ports."""
        self._parts.sessions.end_all()
        if self._dashboard:
            await self._dashboard.close()
        await asyncio.gather(*(server.stop(GRACE_S) for server in self._servers))

    async def _listen(self, port: servers.Port, *services: servers.Service) -> str:
        server, number = await servers.open_port(port, *services)
        self._servers.append(server)
        return servers.address(self._host, number)

    def _operator_door(self) -> OperatorDoor:
        parts = self._parts
        door = Door(OPERATOR, self._fleet.fleet, parts.clock)
        return OperatorDoor(door, parts.certificates, Places(parts.store, parts.controller))

    def _operator_services(self, offices: Offices) -> tuple[servers.Service, ...]:
        parts = self._parts
        return (
            OperatorService(offices),
            AlertService(self._alarms()),
            ExportService(parts.store),
            KitService(self._kits(), self._fleet.fleet, parts.clock),
            SampleService(parts.sampling),
            OrderService(offices.members, offices.rollouts),
            CalendarService(offices.members),
            AuditService(self._log()),
            RolloutService(self._planning(), EvidenceDesk(parts.store, self._log())),
        )

    def _kits(self) -> KitOffice:
        parts = self._parts
        return KitOffice(
            parts.store, self._papers(), parts.blobs, lambda: f"kit-{secrets.token_hex(4)}"
        )

    def _planning(self) -> Planning:
        parts = self._parts
        bundles = Bundles(parts.repository, parts.blobs)
        return Planning(parts.store, parts.controller, bundles, self._patches(), parts.clock)

    def _alarms(self) -> Alarms:
        parts = self._parts
        return Alarms(parts.store.alerts, parts.channels, self._fleet.fleet, parts.clock)

    def _fleet_service(self) -> FleetService:
        parts = self._parts
        reception = Reception(
            Door(DEVICE, self._fleet.fleet, parts.clock),
            self._desk,
            self._renewal(),
            parts.controller.wake,
        )
        return FleetService(reception, Content(parts.repository, parts.blobs, self._patches()))

    def _papers(self) -> Papers:
        parts = self._parts
        return Papers(parts.repository, parts.director, self._log(), parts.sampling)

    def _log(self) -> AuditLog:
        parts = self._parts
        return AuditLog(self._fleet.fleet, parts.store, parts.director, parts.clock)

    def _renewal(self) -> Renewal:
        parts = self._parts
        return Renewal(self._fleet.fleet, parts.store, parts.issuer, parts.sessions, parts.clock)

    def _rejoining(self) -> Rejoining:
        issuer, clock = self._parts.issuer, self._parts.clock
        return Rejoining(self._renewal(), self._desk.admit, lambda: issuer.authorities, clock)

    def _enrolment(self) -> Enrolment:
        parts = self._parts
        return Enrolment(
            self._fleet.fleet, parts.store, parts.repository, parts.issuer, parts.clock
        )

    def _patches(self) -> Patches:
        return Patches(self._settings.state.patches, self._parts.blobs)

    def _offices(self, enrolment: Enrolment, enrol_address: str) -> Offices:
        parts = self._parts
        members = Members(parts.store, parts.sessions, enrolment, enrol_address, parts.clock)
        return Offices(
            members=replace(members, knocks=self._desk.knocks),
            publishing=parts.publishing,
            blobs=parts.blobs,
            rollouts=Rollouts(parts.controller, parts.store),
        )

    def _sign_on(self) -> SignOn | None:
        found = load_sso(self._settings.state.sso)
        return SignOn(found, self._parts.accounts, self._parts.clock) if found else None

    def _dashboard_offices(self, offices: Offices) -> DashboardOffices:
        parts = self._parts
        return DashboardOffices(
            fleet=self._fleet.fleet,
            store=parts.store,
            accounts=parts.accounts,
            alarms=self._alarms(),
            controller=parts.controller,
            rollouts=offices.rollouts,
            members=offices.members,
            publishing=offices.publishing,
            repository=parts.repository,
            blobs=parts.blobs,
            drifting=parts.drifting,
            references=parts.references,
            clock=parts.clock,
            sign_on=self._sign_on(),
            development=lambda: FleetSettings.load(self._settings.state.settings).development,
        )


def _tls(state: StateFolder, fleet: FleetSettings, host: str, issuer: Issuer) -> servers.Tls:
    if host in fleet.hosts:
        key = (state.ca / "server.key").read_bytes()
        certificate = (state.ca / "server.pem").read_bytes()
        return servers.Tls(key, certificate, issuer.bundle)
    server = issuer.sign_server((host, *fleet.hosts))
    return servers.Tls(server.key, server.certificate, issuer.bundle)


def _announce(state: StateFolder, addresses: Addresses) -> None:
    """Write where the manager answers: into the operator's context, then for whoever waits."""
    context = state.operator / "context.json"
    if context.exists():
        fields = json.loads(context.read_bytes()) | {"address": addresses.operator}
        fileio.replace(context, json.dumps(fields, indent=2).encode() + b"\n")
    fileio.replace(state.addresses, json.dumps(asdict(addresses)).encode())


@contextmanager
def _alone(state: StateFolder) -> Iterator[None]:
    """Hold the state folder; raises Refused while another manager does."""
    fileio.make_folder(state.addresses.parent)
    with (state.addresses.parent / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"another manager runs on {state.root}", hint="stop it first") from error
        yield

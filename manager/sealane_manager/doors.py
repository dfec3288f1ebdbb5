"""The manager's four ports, and what answers at each."""

from __future__ import annotations

import asyncio
import resource
import secrets
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane.trust.identity import DEVICE, OPERATOR

from sealane_manager.alarms import Alarms
from sealane_manager.audit import AuditLog
from sealane_manager.crowd import crowd_of
from sealane_manager.dashboard.offices import Offices as DashboardOffices
from sealane_manager.dashboard.server import DashboardServer
from sealane_manager.dashboard.web import Web
from sealane_manager.desk import Desk, Papers
from sealane_manager.evidence import EvidenceDesk
from sealane_manager.identity.enrolment import Enrolment
from sealane_manager.identity.rejoin import Rejoining
from sealane_manager.identity.renewal import Renewal
from sealane_manager.kit_office import KitOffice
from sealane_manager.members import Members
from sealane_manager.patches import Patches
from sealane_manager.people.sign_on import SignOn
from sealane_manager.people.sign_on import load as load_sso
from sealane_manager.planning import Bundles, Planning
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
from sealane_manager.trust.settings import FleetSettings

if TYPE_CHECKING:
    import grpc

    from sealane_manager.identity.ca import Issuer
    from sealane_manager.layout import StateFolder
    from sealane_manager.parts import ManagerSettings, Parts

GRACE_S: Final = 2.0
"""How long open calls may finish when the manager stops."""

FILES: Final = 65_536
"""Open files that the manager asks the system for, as its unit does."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running manager answers, each as host:port."""

    fleet: str
    enrol: str
    operator: str
    dashboard: str

    def spelled(self) -> str:
        """All of them in one line."""
        return ", ".join(f"{port} {where}" for port, where in asdict(self).items())


class Doors:
    """The manager's four ports, opened one after the other: each names the one before."""

    def __init__(self, settings: ManagerSettings, fleet: FleetSettings, parts: Parts) -> None:
        self._settings, self._fleet, self._parts = settings, fleet, parts
        self._host = settings.host or fleet.hosts[0]
        self._tls = _tls(settings.state, fleet, self._host, parts.issuer)
        self._desk = Desk(parts.store, self._papers(), parts.clock, settings.pace)
        self._servers: list[grpc.aio.Server] = []
        self._dashboard: DashboardServer | None = None

    async def open(self) -> Addresses:
        """Listen; raises SealaneError when a port cannot be opened."""
        settings, tls, crowd = self._settings, self._tls, crowd_of(open_files())
        listen = settings.listen or self._host
        listener = servers.Listener(listen, settings.fleet_port, crowd.fleet)
        fleet = await self._listen(servers.fleet_port(listener, tls), self._fleet_service())
        enrolment = self._enrolment()
        listener = servers.Listener(listen, settings.enrol_port, crowd.enrol)
        enrol = await self._listen(
            servers.enrol_port(listener, tls),
            EnrolService(enrolment, self._rejoining(), fleet),
        )
        offices = self._offices(enrolment, enrol)
        listener = servers.Listener(listen, settings.operator_port, crowd.operator)
        operator = await self._listen(
            servers.operator_port(listener, tls, self._operator_door()),
            *self._operator_services(offices),
        )
        self._dashboard = DashboardServer(
            Web(self._dashboard_offices(offices)), tls, crowd.dashboard
        )
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


def open_files() -> int:
    """How many files this process may open, once it asked for what it needs."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(allowed, FILES if most == resource.RLIM_INFINITY else min(FILES, most))
    if wanted != allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted


def _tls(state: StateFolder, fleet: FleetSettings, host: str, issuer: Issuer) -> servers.Tls:
    if host in fleet.hosts:
        key = (state.ca / "server.key").read_bytes()
        certificate = (state.ca / "server.pem").read_bytes()
        return servers.Tls(key, certificate, issuer.bundle)
    server = issuer.sign_server((host, *fleet.hosts))
    return servers.Tls(server.key, server.certificate, issuer.bundle)

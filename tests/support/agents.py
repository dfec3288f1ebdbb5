"""Agents without engines: all of an agent's own code over gRPC and TLS, its slots simulated.

Session, verifier, fetcher, store, journal and the slots' tables are the agent's; only what would be
the endpoint's processes is `FakeEndpoint`. Many of them run in one process.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING

from sealane.clock import SystemClock
from sealane.names import DeviceId
from sealane.trust.verifier import Verifier
from sealane_agent.identity.membership import Membership
from sealane_agent.layout import StateFolder
from sealane_agent.line.holds import Holds
from sealane_agent.slot.actions import Tools
from sealane_agent.slot.journal import Journal
from sealane_agent.slot.qualifications import Qualifications
from sealane_agent.slot.reports import Speaker
from sealane_agent.slot.staging import Staging
from sealane_agent.store import Store
from sealane_agent.supervisor import Supervisor
from sealane_agent.uplink import rpc
from sealane_agent.uplink.dialling import Link, as_said
from sealane_agent.uplink.lines import dialled
from sealane_agent.uplink.rate import Rate
from sealane_agent.uplink.session import Session
from support.agent_fakes import CAM, FakeEndpoint, Lines
from support.device import FACTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    from sealane_agent.layout import Pointer
    from sealane_agent.serving.messages import SlotStatus
    from support.device import Device

    Told = Callable[[str, "Serves"], None]


@dataclass(frozen=True)
class Serves:
    """What one slot serves and could fall back on, by version (0: nothing), and since when."""

    active: int
    previous: int
    at: float


class TellingEndpoint(FakeEndpoint):
    """Tells whenever something else serves, or could."""

    def __init__(self, told: Callable[[Serves], None]) -> None:
        super().__init__()
        self._told = told

    async def activate(
        self, slot: str, worker: str, *, probation: bool, share: float = 1.0
    ) -> SlotStatus:
        return self._tell(await super().activate(slot, worker, probation=probation, share=share))

    async def return_(self, slot: str) -> SlotStatus:
        return self._tell(await super().return_(slot))

    async def drop(self, slot: str, worker: str) -> None:
        await super().drop(slot, worker)
        self._tell(self.statuses[slot])

    def _tell(self, status: SlotStatus) -> SlotStatus:
        self._told(Serves(_version(status.active), _version(status.previous), monotonic()))
        return status


SESSIONS = as_said("session")


class Agent:
    """One agent on a folder of its own."""

    def __init__(self, root: Path, member: Device, told: Told, link: Link = SESSIONS) -> None:
        self.name, self._link = member.id, link
        self.folder = StateFolder(root)
        self._won = Qualifications(self.folder, FACTS)
        self.endpoint = TellingEndpoint(lambda serves: told(self.name, serves))
        self._membership = Membership(
            member.fleet_address, member.key, member.certificate, member.ca
        )
        Verifier.bootstrap(self.folder.trust, member.root, sha256(member.root).digest())

    async def run(self) -> None:
        """Live until cancelled."""
        downloads = rpc.Downloads(lambda: self._membership)
        device, clock, log = DeviceId(self.name), SystemClock(), Lines()
        journal = Journal(self.folder.journal)
        verifier = Verifier(self.folder.trust, rpc.ManagerMetadata(downloads), device, clock)
        blobs = rpc.ManagerBlobs(downloads, Rate(0, monotonic, Event().wait))
        session = Session(lambda by: dialled(by, self._membership), journal, log)
        session.link = self._link
        holds = Holds(journal, verifier.trusted_now, lambda: f"h{random.getrandbits(32):x}")
        tools = Tools(
            folder=self.folder,
            journal=journal,
            endpoint=self.endpoint,
            staging=Staging(Store(self.folder), blobs, self.endpoint, FACTS, self._won),
            key=lambda: self._membership.key,
            speaker=Speaker(device, "boot-1"),
            log=log,
            now=verifier.trusted_now,
            chance=random.random,
            pause=lambda _tries: None,
            said=session.said,
            address=lambda: "127.0.0.1:8000",
            holds=holds.of,
            order_holds=holds.order,
        )
        supervisor = Supervisor(tools, verifier, session.ask)
        try:
            async with asyncio.TaskGroup() as together:
                together.create_task(supervisor.run())
                together.create_task(session.run(supervisor, random.random))
        finally:
            downloads.close()
            journal.close()


async def live(agents: Sequence[Agent], until: asyncio.Event) -> None:
    """Let them live until told to stop; raises what broke one of them."""
    tasks = [asyncio.create_task(agent.run(), name=agent.name) for agent in agents]
    stop = asyncio.create_task(until.wait())
    everything: list[asyncio.Task[Any]] = [stop, *tasks]
    try:
        await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for each in everything:
            each.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*everything, return_exceptions=True)


def serving(agent: Agent) -> tuple[int, int]:
    """The versions that an agent's slot serves and could fall back on."""
    status = agent.endpoint.statuses.get(CAM)
    return (_version(status.active), _version(status.previous)) if status else (0, 0)


def _version(pointer: Pointer | None) -> int:
    return pointer.release.version if pointer else 0

"""A device whose process may end at any operation: the agent's own code around a faulty disk."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.errors import SealaneError
from sealane.fleet import DeviceFacts, RuntimeFact, SlotReport
from sealane.telemetry.types import HostWindow
from sealane.trust import anchor, highwater
from sealane.trust.verifier import Verifier
from sealane_agent.config import IdentityFiles
from sealane_agent.errors import AlreadyEnrolled, JournalDamaged, Refused
from sealane_agent.identity.enroll import Enrolment
from sealane_agent.identity.membership import Certifier
from sealane_agent.identity.passport import Passport
from sealane_agent.identity.renewer import Renewer
from sealane_agent.kit.shelf import Shelf, ShelfBlobs
from sealane_agent.layout import ACTIVE, LKG, Pointer
from sealane_agent.line.holds import Holds
from sealane_agent.recollection import Recollection
from sealane_agent.runtimes.ability import Ability, able
from sealane_agent.slot.actions import Tools
from sealane_agent.slot.journal import Journal
from sealane_agent.slot.qualification import Hardware
from sealane_agent.slot.qualifications import Qualifications
from sealane_agent.slot.reports import Speaker
from sealane_agent.slot.staging import Staging
from sealane_agent.slot.state import State
from sealane_agent.store import Store
from sealane_agent.supervisor import Supervisor
from sealane_agent.telemetry.collector import Times
from sealane_agent.telemetry.service import Surroundings, Telemetry
from sealane_agent.uplink.session import Session
from support.agent_fakes import CAM
from support.crash_kit import LINK_S
from support.crash_loop import SteadyLoop
from support.crash_plant import Line, Network
from support.trust import DEVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from sealane.fleet import Event
    from sealane.names import Digest, SlotName
    from sealane.trust.highwater import HighWater
    from sealane_agent.layout import StateFolder
    from sealane_agent.slot.state import RollBack
    from support.crash_disk import FaultyDisk
    from support.crash_kit import Stick
    from support.crash_plant import Plant

PATIENCE_S: Final = 3600.0
"""Simulated; no device takes longer to come to its end, although nobody helps it."""

RESTART_S: Final = 5.0
"""After that a process that ended is started again, as systemd does."""

_FACTS = DeviceFacts(
    "x86_64", "linux", 2, 2**32, (RuntimeFact("onnxruntime", "1.32.0", ("cpu",)),), ""
)
_ENGINE = Ability(("cpu",), opset=26, ir_version=14)


def _hardware(usable: int) -> Hardware:
    """The same on every machine that runs this."""
    return Hardware("a processor", usable, drivers="")


class _Steady:
    """A machine that has nothing to say of itself."""

    def measure(self) -> HostWindow:
        return HostWindow()


@dataclass
class Promises:
    """What the device has acknowledged: nothing of it may ever be lost.

    Attributes:
        enrolled: enrolment has returned.
        marks: as they were when a document had been accepted.
        events: everything that was journalled, by its sequence number.
        quarantined: digests that were put away.
        served: slots with a committed release.
        left: what an order of quarantine has taken out of every slot.
        carried: the device has taken up a kit.
    """

    enrolled: bool = False
    marks: HighWater | None = None
    events: dict[int, Event] = field(default_factory=dict)
    quarantined: set[Digest] = field(default_factory=set)
    served: set[SlotName] = field(default_factory=set)
    left: set[Digest] = field(default_factory=set)
    carried: bool = False

    def copy(self) -> Promises:
        """The same promises, to be added to."""
        return Promises(
            self.enrolled,
            self.marks,
            dict(self.events),
            set(self.quarantined),
            set(self.served),
            set(self.left),
            self.carried,
        )


@dataclass
class Device:
    """One device: its state folder, the disk below, and what it has promised."""

    plant: Plant
    state: StateFolder
    disk: FaultyDisk
    promises: Promises
    problems: list[str] = field(default_factory=list)
    journal: Journal | None = None
    shelf: Shelf | None = None
    _deadline: float = 0.0

    def __post_init__(self) -> None:
        self.plant.endpoint.state, self.plant.endpoint.disk = self.state, self.disk

    def close(self) -> None:
        """Close the journal and the kit, as a process does that ends."""
        for each in (self.journal, self.shelf):
            if each is not None:
                each.close()
        self.journal = self.shelf = None

    # What a test looks at

    def versions(self, slot: SlotName = CAM) -> tuple[int, int]:
        """The releases of the slot's pointers; 0 without one."""
        return self._version(slot, ACTIVE), self._version(slot, LKG)

    def settled(self, version: int, slot: SlotName = CAM) -> bool:
        """Whether a release serves alone, and everything was told and acknowledged."""
        status = self.plant.endpoint.statuses.get(slot)
        return (
            self.versions(slot) == (version, version)
            and status is not None
            and status.active is not None
            and status.active.release.version == version
            and not (status.probation or status.standby)
            and self.journal is not None
            and self.journal.pending() == 0
        )

    def has_left(self, version: int, digest: Digest) -> bool:
        """Whether this version serves alone, and what is in quarantine is nowhere any more.

        From then on nothing may bring it back.
        """
        status = self.plant.endpoint.statuses.get(CAM)
        if not self.settled(version) or status is None or status.previous is not None:
            return False
        self.promises.left.add(digest)
        self.plant.endpoint.put_away.add(digest)
        return True

    def _version(self, slot: SlotName, which: str) -> int:
        path = self.state.pointer(slot, which)
        return Pointer.decode(path.read_bytes()).release.version if path.is_file() else 0

    # What the device does

    def enrol(self) -> None:
        """Become a device; tried again as often as the disk fails."""
        for _ in range(10):
            try:
                enrolment = Enrolment(self.state, self.plant.enrol, self.plant.clock)
                enrolment.run(self.plant.token, "")
            except AlreadyEnrolled:
                IdentityFiles(self.state.identity).read()
            except (OSError, SealaneError):
                self.plant.clock.advance(timedelta(seconds=30))
                continue
            self.promises.enrolled = True
            return
        self.problems.append("it could not be enrolled")

    def live(self, done: Callable[[], bool]) -> None:
        """Run supervisor and session until it is done; restarted as systemd would."""
        clock = self.plant.clock
        self._deadline = clock.ticks + PATIENCE_S
        while clock.ticks < self._deadline:
            with asyncio.Runner(loop_factory=lambda: SteadyLoop(clock)) as runner:
                runner.run(self._life(done))
            self.disk.require_alive()
            if self.journal is not None and done():
                return
            clock.advance(timedelta(seconds=RESTART_S))
        states = self.plant.manager.states
        self.problems.append(f"it never came to its end: {states}, {self.versions()}")

    async def _life(self, done: Callable[[], bool]) -> None:
        dead = asyncio.Event()
        self.disk.died = dead.set
        self.close()
        try:
            self.journal = Journal(self.state.journal)
            store = Store(self.state)
        except JournalDamaged as error:
            self.problems.append(f"only a person can help: {error}")
            self._deadline = 0.0
            return
        except (OSError, SealaneError):
            return
        work = [asyncio.create_task(part) for part in self._parts(self.journal, store)]
        ends = [asyncio.create_task(self._until(done)), asyncio.create_task(dead.wait())]
        await asyncio.wait([*work, *ends], return_when=asyncio.FIRST_COMPLETED)
        broken = [task for task in work if task.done() and self.disk.found is None]
        for task in (*work, *ends):
            task.cancel()
        await asyncio.gather(*work, *ends, return_exceptions=True)
        self.problems += [f"the supervisor ended: {task.exception()!r}" for task in broken]

    async def _until(self, over: Callable[[], bool]) -> None:
        """Look whenever the device has done something, until it is over or too late."""
        seen = (-1, -1)
        while self.plant.clock.ticks < self._deadline:
            now = (self.disk.told, len(self.disk.operations))
            if now != seen and over():
                return
            seen = now
            await asyncio.sleep(0.5)

    def _parts(self, journal: Journal, store: Store) -> tuple[Coroutine[Any, Any, None], ...]:
        plant, endpoint = self.plant, self.plant.endpoint
        known = self._qualifications()
        verifier = Verifier(self.state.trust, plant, DEVICE, plant.clock)
        files = IdentityFiles(self.state.identity)
        passport = Passport(files, files.read())
        telemetry = self._telemetry(verifier)
        session = Session(
            lambda _by: Line(plant, self.disk, passport.membership),
            journal,
            self._log,
            telemetry.sending,
        )
        names = plant.press.name if plant.press else lambda: "h0"
        holds = Holds(journal, verifier.trusted_now, names)
        renewer = Renewer(passport, Certifier(plant.renew, plant.renew), session, self._log)
        shelf = self.shelf = Shelf(self.state)
        blobs = ShelfBlobs(shelf, Network(plant))
        tools = Tools(
            folder=self.state,
            journal=journal,
            endpoint=endpoint,
            staging=Staging(store, blobs, endpoint, known.facts, known, plant.clock.monotonic),
            key=lambda: passport.key,
            speaker=Speaker(DEVICE, f"boot-{plant.boots}"),
            log=self._log,
            now=verifier.trusted_now,
            chance=lambda: 0.5,
            pause=lambda _: None,
            said=lambda: self._said(session),
            address=lambda: "127.0.0.1:8000",
            holds=holds.of,
            order_holds=holds.order,
            shelf=shelf,
            redial=session.redial,
        )
        supervisor = Supervisor(tools, verifier, session.ask)
        return (
            self._line(holds, supervisor),
            supervisor.run(),
            session.run(supervisor, lambda: 0.5),
            renewer.run(verifier.trusted_now, lambda: 0.5),
            *((telemetry.run(),) if plant.requests else ()),
            *((self._order_back(supervisor, plant.order),) if plant.order else ()),
            *((self._carry(supervisor, store, plant.stick),) if plant.stick else ()),
        )

    async def _order_back(self, supervisor: Supervisor, order: RollBack) -> None:
        """Somebody orders it until the device says that there is nothing left to do."""
        while True:
            await asyncio.sleep(RESTART_S)
            try:
                await supervisor.roll_back(CAM, order)
            except Refused:
                await asyncio.Event().wait()
            except SealaneError:
                continue  # the disk's trouble

    async def _carry(self, supervisor: Supervisor, store: Store, stick: Stick) -> None:
        """Somebody imports the kits until each has its answer; later there is a link."""
        while not self.promises.carried:
            await asyncio.sleep(RESTART_S)
            with suppress(SealaneError, OSError):
                await self._import(supervisor, store, stick)
                self.promises.carried = True
        while self.plant.older is not None:
            try:
                await self._import(supervisor, store, self.plant.older)
            except Refused:
                self.plant.older = None
            except (SealaneError, OSError):
                await asyncio.sleep(RESTART_S)
        self.disk.tell()
        self.plant.manager.away_until = self.plant.clock.ticks + LINK_S
        await asyncio.Event().wait()

    async def _import(self, supervisor: Supervisor, store: Store, stick: Stick) -> None:
        with stick.plugged_in() as file:
            Shelf(self.state).put(file, DEVICE, store)
        await supervisor.import_kit()

    async def _line(self, holds: Holds, supervisor: Supervisor) -> None:
        """The line's own software, beside the agent."""
        while True:
            if self.plant.press is not None:
                self.plant.press.act(self.plant, holds)
                supervisor.look()
            await asyncio.sleep(5.0)

    def _qualifications(self) -> Qualifications:
        """Its engines are asked where it does not remember what they said."""
        remembered = Recollection(self.state.engines, self._log)
        runtimes = able(_FACTS.runtimes, remembered, lambda _: _ENGINE)
        facts = replace(_FACTS, runtimes=runtimes)
        return Qualifications(self.state, facts, self._log, _hardware)

    def _telemetry(self, verifier: Verifier) -> Telemetry:
        plant = self.plant
        times = Times(plant.clock, verifier.trusted_now, verifier.clock_offset)
        around = Surroundings(
            self.state.telemetry, plant.endpoint, _Steady(), times, f"boot-{plant.boots}"
        )
        return Telemetry(around, self._log)

    # What it promises

    def _said(self, session: Session) -> None:
        self.disk.tell()
        promises = self.promises
        assert self.journal is not None
        for event in self.journal.events(max(promises.events, default=0)):
            promises.events[event.sequence] = event
            body = event.body
            if isinstance(body, SlotReport) and body.state == State.COMMITTED:
                promises.served.add(body.slot)
        promises.quarantined |= {*self.journal.read(CAM).quarantined}
        self.plant.endpoint.put_away |= promises.quarantined
        session.said()

    def _log(self, event: str, **_fields: object) -> None:
        self.disk.require_alive()
        if event == "document accepted":
            self.disk.tell()
            self.promises.marks = highwater.load(self.state.trust / anchor.MARKS_FILE)

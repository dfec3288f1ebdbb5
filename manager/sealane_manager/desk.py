"""What a device gets when it asks: a welcome, its signed assignment, the receipt of its events.

Every method blocks on the store and is called in a thread.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.audit.position import NOWHERE
from sealane.fleet import Assignment, EventsAck, Welcome
from sealane.trust.documents import DirectorDocument

from sealane_manager.errors import NotAllowed, NotKnown
from sealane_manager.identity.ca import DEVICE_LIFETIME
from sealane_manager.identity.knocks import Knocks
from sealane_manager.identity.renewal import QUARANTINE_HINT
from sealane_manager.recovery import Recovery
from sealane_manager.store.records import DecisionRecord, Standing
from sealane_manager.store.telemetry.records import Arrived

if TYPE_CHECKING:
    from concurrent.futures import Future
    from datetime import datetime

    from sealane.audit.position import Position
    from sealane.clock import Clock
    from sealane.fleet import AssignmentRequest, Event, Hello, SlotReport
    from sealane.names import DeviceId
    from sealane.telemetry.types import TelemetryAck, TelemetryBatch

    from sealane_manager.audit import AuditLog
    from sealane_manager.director import Director
    from sealane_manager.identity.succession import Shown
    from sealane_manager.repository import Repository
    from sealane_manager.sampling import Sampling
    from sealane_manager.store.records import Issue
    from sealane_manager.store.store import Store

_log = logging.getLogger(__name__)

DOCUMENT_LIFETIME: Final = timedelta(hours=1)
"""A director document that waited longer is asked for again."""


SELDOM_S: Final = 3600.0
"""No device speaks more seldom: after three times that nobody knows whether it lives."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often devices speak and renew; the manager sets it for the whole fleet.

    Attributes:
        heartbeat_s: seconds between two heartbeats of one device.
        reconnect_s: after a lost session a device waits a random time up to this.
        certificate_life: they renew at two thirds of it.
    """

    heartbeat_s: float = 10.0
    reconnect_s: float = 5.0
    certificate_life: timedelta = DEVICE_LIFETIME

    def heartbeat_of(self, wished_s: float) -> float:
        """Seconds between two heartbeats of a device that wishes to speak so seldom."""
        return max(self.heartbeat_s, min(wished_s, SELDOM_S))

    def silent_s(self, wished_s: float = 0.0) -> float:
        """After so many seconds without a word a session is dead."""
        return 3 * self.heartbeat_of(wished_s)


class Papers:
    """Makes director documents: what one device shall run, signed for it and its nonce."""

    def __init__(
        self, repository: Repository, director: Director, log: AuditLog, sampling: Sampling
    ) -> None:
        self.repository, self._director, self._log = repository, director, log
        self.sampling = sampling

    def contradiction(self, seen: Position) -> str:
        """Why a device that has seen this of the audit log refuses every document, or empty."""
        return self._log.contradiction(seen)

    def answer(
        self, device: DeviceId, asked: AssignmentRequest, issue: Issue, now: datetime
    ) -> Assignment:
        """The document for what the store issues, with the proof that the device needs for it."""
        evidence = self._log.evidence(asked.seen)
        document = self._document(device, issue, evidence.note, (now, now + DOCUMENT_LIFETIME))
        signed = self._director.sign(replace(document, nonce=asked.nonce))
        return Assignment(signed, evidence.proof)

    def carried(self, device: DeviceId, issue: Issue, life: tuple[datetime, datetime]) -> bytes:
        """The document that a kit carries to a device; `life` is when it begins and ends.

        The device takes it without a proof about the audit log, which it will demand later.
        """
        note = self._log.evidence(NOWHERE).note
        return self._director.sign(self._document(device, issue, note, life))

    def _document(
        self, device: DeviceId, issue: Issue, note: str, life: tuple[datetime, datetime]
    ) -> DirectorDocument:
        root, snapshot = self.repository.versions()
        return DirectorDocument(
            device=device,
            version=issue.version,
            issued=life[0],
            expires=life[1],
            nonce=None,
            root_version=root,
            snapshot_version=snapshot,
            generation=issue.generation,
            slots=self.sampling.ordered(device, issue.slots),
            log=note,
            quarantined=issue.quarantined,
            holds=issue.holds,
        )


class Desk:
    """Answers devices from the store, with papers that are signed for each of them.

    Every method but `heard` and `telemetry` blocks.
    """

    def __init__(self, store: Store, papers: Papers, clock: Clock, pace: Pace) -> None:
        self._store, self._papers, self._clock = store, papers, clock
        self.pace = pace
        self._alarmed: set[DeviceId] = set()
        self.knocks = Knocks()
        self.recovery = Recovery(store, papers.repository, clock)

    def admit(self, device: DeviceId, shown: Shown | None = None) -> None:
        """Raise NotAllowed unless the device is a member of the fleet.

        A machine that is not known is remembered with the key that it has shown.
        """
        try:
            record = self._store.devices.get(device)
        except NotKnown as error:
            raise self._not_known(device, shown) from error
        if record.state is Standing.REVOKED:
            raise NotAllowed(f"device {device} was revoked")
        if record.state is Standing.PENDING:
            raise NotAllowed(f"device {device} waits for approval")
        if record.state is Standing.QUARANTINED:
            why = f"device {device} is in quarantine: {record.state_reason}"
            raise NotAllowed(why, hint=QUARANTINE_HINT)

    def _not_known(self, device: DeviceId, shown: Shown | None) -> NotAllowed:
        if shown is not None and self.knocks.heard(device, shown, self._clock.now()):
            _log.warning("device %s is of this fleet and not known here", device)
        return NotAllowed(
            f"device {device} is not known here; an operator can adopt it",
            hint=f"what serves goes on: sealane device adopt {device}",
        )

    def hello(self, device: DeviceId, hello: Hello, certificate: datetime | None = None) -> Welcome:
        """Record what the device is, what it runs and when the certificate that it shows ends."""
        record = self._store.devices.hello(device, hello, self._clock.now(), certificate)
        pace = self.pace
        beat = pace.heartbeat_of(hello.heartbeat_s)
        return Welcome(device, beat, pace.reconnect_s, record.acked_sequence)

    def heard(self, device: DeviceId) -> None:
        """Remember that a device said something; never blocks."""
        self._store.devices.seen(device, self._clock.now())

    def heartbeat(self, device: DeviceId, slots: tuple[SlotReport, ...]) -> None:
        """Record what the slots do, where that changed."""
        self.admit(device)
        self._store.devices.report(device, slots, self._clock.now())

    def events(self, device: DeviceId, events: tuple[Event, ...]) -> EventsAck:
        """Store events durably; what was stored before is acknowledged again."""
        return EventsAck(self._store.events.record(device, events, self._clock.now()))

    def telemetry(
        self, device: DeviceId, batch: TelemetryBatch, *, first: bool
    ) -> Future[TelemetryAck]:
        """Store windows; never blocks. `first`: of this boot in this session.

        Raises TelemetryError when the batch has no name.
        """
        received = int(self._clock.now().timestamp())
        return self._store.telemetry.put(
            Arrived(device, batch.boot, batch.sequence, batch.body, first, received)
        )

    def sample(self, device: DeviceId, sealed: bytes) -> None:
        """Take a sealed sample; raises SampleError, NotAllowed or NoSpace."""
        self._papers.sampling.take(device, sealed)

    def assignment(self, device: DeviceId, asked: AssignmentRequest) -> Assignment:
        """What the device shall run, and what others of its class measured of it."""
        now = self._clock.now()
        issue = self._store.desired.issue(device, now)
        self._look_at(device, asked.seen, now)
        answer = self._papers.answer(device, asked, issue, now)
        return replace(answer, winners=self._store.winners.of(device, asked.hardware))

    def _look_at(self, device: DeviceId, seen: Position, now: datetime) -> None:
        """A device that has seen another history is told of once, in this one."""
        why = self._papers.contradiction(seen)
        if not why:
            self._alarmed.discard(device)
        elif device not in self._alarmed:
            self._alarmed.add(device)
            _log.warning("audit log: device %s: %s", device, why)
            line = DecisionRecord(now, "", f"device {device}", "alarm", why)
            self._store.decisions.write(line)

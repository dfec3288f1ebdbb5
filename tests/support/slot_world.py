"""One slot as `plan` sees it: what is durable, what the endpoint does, and how actions come out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sealane.bundle.types import ProbationLimits
from sealane.failure import FailureKind
from sealane.policy import Trigger
from sealane.trust.documents import Lease
from sealane.windows import is_open
from sealane_agent.layout import ACTIVE, LKG, Pointer
from sealane_agent.serving.messages import Shadowed, SlotStatus, Traffic
from sealane_agent.slot import outcomes
from sealane_agent.slot.plan import plan
from sealane_agent.slot.state import (
    ENDED,
    Action,
    Attempt,
    Choice,
    DropWorkers,
    Enter,
    Fetch,
    GiveUp,
    Mirror,
    Observed,
    Remember,
    Restore,
    SetPointer,
    Settle,
    SlotRecord,
    Stage,
    State,
    Switch,
    Wanted,
)
from support.agent_fakes import CAM, START, empty, failure, pointer, proved

if TYPE_CHECKING:
    from sealane.holds import Hold
    from sealane.names import Digest


LIMITS = ProbationLimits(seconds=10.0, deadline_seconds=60.0)


class SlotWorld:
    """What is durable, what the endpoint does, and what the supervisor remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime = START
        self.record = SlotRecord(CAM)
        self.pointers: dict[str, Pointer] = {}
        self.endpoint: SlotStatus | None = empty(CAM)
        self.loaded: dict[str, Pointer] = {}
        self.workers = 0
        self.wanted: Wanted | None = None
        self.director: Wanted | None = None
        self.heard = False
        self.entered = START
        self.fetching: FailureKind | None = None
        self.unprovable: set[Digest] = set()
        self.approved: set[Digest] = set()
        self.committed: set[Pointer] = set()
        self.served = False
        self.holds: tuple[Hold, ...] = ()
        self.stopped = False
        self.stop_ordered = False
        self.boots = 1
        self.quiet_s = 0.0
        self.told = False

    def says(self, wanted: Wanted | None) -> None:
        """The director says what it wants, and the device hears it."""
        self.director = self.wanted = wanted
        self.heard = True

    def answered(self) -> None:
        """The manager is asked: what it wants, it allows again for five minutes."""
        wanted = self.director
        if wanted is not None and wanted.assignment.lease is not None:
            lease = Lease("again", self.now + timedelta(seconds=300))
            wanted = replace(wanted, assignment=replace(wanted.assignment, lease=lease))
        self.says(wanted)

    def is_settled(self) -> bool:
        """Whether nothing is left to do, by this device: it waits for nobody but the manager."""
        attempt = self.record.attempt
        if attempt is None or attempt.state in ENDED:
            return True
        if attempt.state in {State.WAITING, State.SHADOW}:
            asked = self.wanted.assignment if self.wanted else None
            return not self.heard or asked is None or asked.lease is None
        return self.fetching is FailureKind.TRANSIENT and attempt.state is State.FETCHING

    def seen(self) -> Observed:
        return Observed(
            heard=self.heard,
            active=self.pointers.get(ACTIVE),
            lkg=self.pointers.get(LKG),
            serving=self.endpoint,
            in_state_s=(self.now - self.entered).total_seconds(),
            holds=self.holds,
            quiet_s=self.quiet_s,
            boot=str(self.boots),
            told=self.told,
            spare=self.record.before.pointer if self.record.before else None,
        )

    def planned(self) -> Action:
        return plan(self.wanted, self.record, self.seen(), self.now)

    def act(self, action: Action) -> None:
        match action:
            case Enter():
                self.enter(action)
            case Remember(attempt):
                assert self.record.attempt is not None
                assert attempt.state is self.record.attempt.state
                self.record = replace(self.record, attempt=attempt)
            case GiveUp():
                assert self.record.attempt is not None
                assert self.record.attempt.state not in {State.ACTIVATING, State.PROBATION}
                self.record = replace(self.record, attempt=None)
            case Fetch(attempt):
                self.fetch(attempt)
            case Stage(attempt):
                self.stage(attempt)
            case SetPointer(which, None):
                self.stopped = self.stopped or which == ACTIVE
                del self.pointers[which]
            case SetPointer(which, target):
                assert target is not None
                assert target.manifest not in self.record.ordered or target in self.committed
                self.pointers[which] = target
            case _:
                self.command(action)

    def enter(self, action: Enter) -> None:
        old, new = self.record.attempt, action.attempt
        if old is None or (old.key, old.state, old.since) != (new.key, new.state, new.since):
            self.entered = self.now
        if new.state is State.ACTIVATING:
            assert new.lease_until is not None
            assert self.now < new.lease_until
            assert new.manifest not in {*self.record.quarantined, *self.record.ordered}
            assert all(self.now >= hold.until for hold in self.holds)
            self.require_window(new)
        self.record = replace(self.record, attempt=new)
        if new.state is State.COMMITTED:
            assert new.pointer is not None
            assert self.endpoint is not None
            assert self.endpoint.active == new.pointer
            self.committed.add(new.pointer)
            self.keep(new)
        if action.quarantine:
            away = {**self.record.quarantined, new.manifest: "bad"}
            self.record = replace(self.record, quarantined=away)

    def keep(self, new: Attempt) -> None:
        """As the journal does."""
        old, away = self.record.committed, {*self.record.ordered, *self.record.quarantined}
        if old is not None and old.manifest not in {new.manifest, *away}:
            self.record = replace(self.record, before=old)
        self.record = replace(self.record, committed=new)

    def require_window(self, attempt: Attempt) -> None:
        """Also offline, and whatever the policy was when the attempt began."""
        if self.heard and self.wanted is not None:
            assert attempt.policy == self.wanted.assignment.policy
        emergency = attempt.policy.trigger is Trigger.NOW
        for windows in attempt.policy.activation:
            assert emergency or is_open(windows, self.now, UTC)

    def fetch(self, attempt: Attempt) -> None:
        assert attempt.manifest not in {*self.record.quarantined, *self.record.ordered}
        for windows in attempt.policy.download:
            assert is_open(windows, self.now, UTC)
        if self.fetching is None:
            self.enter(outcomes.fetched(attempt, LIMITS))
        else:
            why = failure(self.fetching, component="fetch")
            self.enter(outcomes.failed(attempt, why, self.now, 0.5))

    def stage(self, attempt: Attempt) -> None:
        assert self.endpoint is not None
        assert attempt.fetched
        self.endpoint = replace(self.endpoint, standby=())
        if attempt.manifest in self.unprovable:
            why = failure(FailureKind.PERMANENT)
            self.enter(outcomes.failed(attempt, why, self.now, 0.5))
            return
        worker = self.load(pointer(attempt.release.version))
        choice = Choice("onnx-fp32", "onnxruntime", "cpu", "fp32", proved(worker))
        self.enter(outcomes.staged(attempt, choice, self.now))

    def load(self, target: Pointer) -> str:
        assert self.endpoint is not None
        self.workers += 1
        worker = f"cam-{self.workers}"
        self.loaded[worker] = target
        self.endpoint = replace(self.endpoint, standby=(*self.endpoint.standby, worker))
        return worker

    def command(self, action: Action) -> None:
        match action:
            case Switch(worker):
                self.switch(worker, probation=True)
            case Mirror(worker):
                assert self.endpoint is not None
                assert self.endpoint.active is not None
                assert worker in self.endpoint.standby
                self.endpoint = replace(self.endpoint, shadow=Shadowed(worker))
            case Settle():
                assert self.endpoint is not None
                self.endpoint = replace(self.endpoint, probation=False)
            case Restore(target):
                assert target in self.pointers.values()
                assert target.manifest not in self.record.ordered or self.only_bad_serves()
                self.switch(self.load(target), probation=False)
            case DropWorkers(workers):
                for worker in workers:
                    self.drop(worker)

    def only_bad_serves(self) -> bool:
        """Whether nothing answers, or what is in quarantine too, or what failed on probation."""
        active = self.endpoint.active if self.endpoint else None
        if active is None or active.manifest in self.record.ordered:
            return True
        last = self.record.attempt
        if last is None or last.state is not State.ROLLING_BACK:
            return False
        return last.manifest == active.manifest

    def drop(self, worker: str) -> None:
        there = self.endpoint
        assert there is not None
        standby = tuple(name for name in there.standby if name != worker)
        there = replace(there, standby=standby)
        if worker == there.previous_worker:
            there = replace(there, previous=None, previous_worker="")
        if worker == there.active_worker:
            assert there.active is not None
            assert there.active.manifest in self.record.ordered
            assert self.stop_ordered
            assert not self.pointers
            there = replace(there, active=None, active_worker="")
        self.endpoint = there

    def switch(self, worker: str, *, probation: bool) -> None:
        assert self.endpoint is not None
        assert worker in self.endpoint.standby
        target = self.loaded[worker]
        assert not (probation and target.manifest in self.record.quarantined)
        rest = tuple(name for name in self.endpoint.standby if name != worker)
        drops = self.endpoint.previous_worker is not None
        previous_worker = self.endpoint.active_worker if drops else None
        self.endpoint = replace(
            self.endpoint,
            active=target,
            active_worker=worker,
            previous=self.endpoint.active,
            previous_worker=previous_worker,
            probation=probation,
            standby=rest,
            traffic=Traffic(),
            shadow=None,
        )

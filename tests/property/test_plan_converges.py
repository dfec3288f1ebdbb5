"""Whatever happens in whatever order, `plan` ends, and never activates what it must not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sealane.bundle.types import ProbationLimits
from sealane.failure import FailureKind
from sealane.policy import Commit, Policy, Trigger
from sealane.trust.documents import Lease
from sealane.windows import is_open, parse_window
from sealane_agent.layout import ACTIVE, LKG, Pointer
from sealane_agent.serving.messages import SlotStatus, Traffic
from sealane_agent.slot import outcomes
from sealane_agent.slot.plan import MAX_RESTARTS, plan, resumed
from sealane_agent.slot.state import (
    ENDED,
    Action,
    AskDocument,
    Attempt,
    Choice,
    DropWorkers,
    Enter,
    Fetch,
    GiveUp,
    Hold,
    Observed,
    Remember,
    Rest,
    Restore,
    SetPointer,
    Settle,
    SlotRecord,
    Stage,
    State,
    Switch,
    Wanted,
)
from support.agent_fakes import CAM, START, assignment, digest, empty, failure, pointer, proved

if TYPE_CHECKING:
    from sealane.names import Digest

LIMITS = ProbationLimits(seconds=10.0, deadline_seconds=60.0)
VERSIONS = st.integers(1, 3)
HOUR = ((parse_window("daily 10:00-11:00"),),)
POLICIES = st.sampled_from(
    [
        Policy(),
        Policy(activation=HOUR),
        Policy(download=HOUR, activation=HOUR, commit=Commit.BOTH),
        Policy(activation=HOUR, trigger=Trigger.NOW),
        Policy(trigger=Trigger.IDLE, commit=Commit.SERVER_ACK),
        Policy(trigger=Trigger.RESTART),
    ]
)
MAX_STEPS = 60 * (MAX_RESTARTS + 2)


class World(RuleBasedStateMachine):
    """One slot: what is durable, what the endpoint does, and what the supervisor remembers."""

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
        self.boots = 1
        self.quiet_s = 0.0
        self.told = False

    # What happens around the supervisor

    @initialize(version=VERSIONS)
    def assigned_first(self, version: int) -> None:
        self.assigned(version, "r0", leased=True)

    @rule(version=VERSIONS, rollout=st.sampled_from(["", "r1", "r2"]), leased=st.booleans())
    def assigned(self, version: int, rollout: str, *, leased: bool) -> None:
        until = self.now + timedelta(seconds=300) if leased else None
        self.says(Wanted(assignment(version, rollout, until)))
        self.approved.add(digest(version))

    @rule(policy=POLICIES)
    def schedule_changes(self, policy: Policy) -> None:
        if self.wanted is not None:
            asked = replace(self.wanted.assignment, policy=policy)
            self.says(replace(self.wanted, assignment=asked))

    @rule(seconds=st.sampled_from([60, 7200]), slot=st.sampled_from(["", CAM]))
    def held(self, seconds: int, slot: str) -> None:
        until = self.now + timedelta(seconds=seconds)
        self.holds += (Hold(f"h{len(self.holds)}", slot, "line 3", "a batch runs", until),)

    @rule()
    def holds_are_released(self) -> None:
        self.holds = ()

    @rule(seconds=st.sampled_from([0.0, 300.0]))
    def slot_is_quiet_for(self, seconds: float) -> None:
        self.quiet_s = seconds

    @rule(told=st.booleans())
    def manager_has_heard(self, *, told: bool) -> None:
        self.told = told

    @rule()
    def machine_restarts(self) -> None:
        self.boots += 1
        self.supervisor_dies()
        self.endpoint_dies()
        self.endpoint_comes()

    @rule(version=VERSIONS)
    def refused(self, version: int) -> None:
        why = failure(FailureKind.PERMANENT, component="verifier")
        self.says(Wanted(assignment(version), why))

    @rule()
    def withdrawn(self) -> None:
        self.says(None)

    def says(self, wanted: Wanted | None) -> None:
        """The director says what it wants, and the device hears it."""
        self.director = self.wanted = wanted
        self.heard = True

    @rule(kind=st.sampled_from([None, *FailureKind]))
    def transport_is(self, kind: FailureKind | None) -> None:
        self.fetching = kind

    @rule(version=VERSIONS)
    def proof_fails(self, version: int) -> None:
        self.unprovable.add(digest(version))

    @rule(version=VERSIONS)
    def proof_passes(self, version: int) -> None:
        self.unprovable.discard(digest(version))

    @rule(traffic=st.sampled_from([Traffic(100), Traffic(100, errors=50), Traffic(crashes=1)]))
    def requests_came(self, traffic: Traffic) -> None:
        if self.endpoint is not None:
            self.endpoint = replace(self.endpoint, traffic=traffic)

    @rule(seconds=st.sampled_from([1, 15, 400, 90_000]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def supervisor_dies(self) -> None:
        self.heard, self.wanted = False, None
        if self.record.attempt is not None:
            self.record = replace(self.record, attempt=resumed(self.record.attempt))
        self.entered = self.now

    @rule()
    def endpoint_dies(self) -> None:
        self.endpoint = None

    @rule()
    def endpoint_comes(self) -> None:
        if self.endpoint is None:
            first = self.pointers.get(LKG) or self.pointers.get(ACTIVE)
            self.endpoint = replace(empty(CAM), active=first)

    @rule(steps=st.integers(1, 12))
    def supervisor_works(self, steps: int) -> None:
        for _ in range(steps):
            self.act(self.planned())

    @rule(version=VERSIONS, rollout=st.sampled_from(["r1", "r2"]))
    def a_rollout_goes_well(self, version: int, rollout: str) -> None:
        self.assigned(version, rollout, leased=True)
        self.fetching = None
        self.proof_passes(version)
        self.endpoint_comes()
        for _ in range(25):
            self.act(self.planned())
            self.now += timedelta(seconds=2)

    @rule(version=VERSIONS, end=st.sampled_from(["errors", "crash", "endpoint", "director"]))
    def a_probation_goes_badly(self, version: int, end: str) -> None:
        self.assigned(version, f"bad-{end}", leased=True)
        self.fetching = None
        self.proof_passes(version)
        self.endpoint_comes()
        for _ in range(25):
            self.act(self.planned())
            if self.record.attempt is not None and self.record.attempt.state is State.PROBATION:
                break
        match end:
            case "errors":
                self.requests_came(Traffic(100, errors=50))
            case "crash":
                self.supervisor_dies()
                self.requests_came(Traffic(crashes=1))
            case "endpoint":
                self.endpoint_dies()
                self.endpoint_comes()
            case "director" if LKG in self.pointers:
                self.assigned(self.pointers[LKG].release.version, "r1", leased=True)

    @rule()
    def supervisor_dies_after_loading(self) -> None:
        action = self.planned()
        if isinstance(action, Stage) and self.endpoint is not None:
            self.load(pointer(action.attempt.release.version))
            self.supervisor_dies()

    # What must hold

    @invariant()
    def what_serves_was_approved_and_proved(self) -> None:
        if self.endpoint is not None and self.endpoint.active is not None:
            assert self.endpoint.active.manifest in self.approved
            self.served = True

    @invariant()
    def a_line_that_ran_keeps_running(self) -> None:
        if self.served:
            assert self.endpoint is None or self.endpoint.active is not None
            assert ACTIVE in self.pointers

    @invariant()
    def the_last_known_good_was_committed(self) -> None:
        assert LKG not in self.pointers or self.pointers[LKG] in self.committed

    def teardown(self) -> None:
        """Nothing more happens: the slot comes to rest."""
        self.endpoint_comes()
        self.machine_restarts()
        self.told, self.quiet_s = True, 3600.0
        for _ in range(MAX_STEPS):
            action = self.planned()
            if isinstance(action, Rest) and self.is_settled():
                self.check_at_rest()
                return
            self.act(action)
            self.now += timedelta(seconds=5)
            if isinstance(action, AskDocument):
                self.answered()
            elif isinstance(action, Rest):
                self.boots += 1
                self.now += timedelta(minutes=30)
        raise AssertionError(f"no rest: {self.record} {self.endpoint}")

    def check_at_rest(self) -> None:
        assert self.endpoint is not None
        assert self.endpoint.active == self.pointers.get(ACTIVE)
        assert not self.endpoint.probation or LKG not in self.pointers
        if LKG in self.pointers:
            assert self.pointers[ACTIVE] == self.pointers[LKG]
        last = self.record.attempt
        if last is not None and last.state is State.COMMITTED:
            assert self.pointers[LKG] == last.pointer

    # How actions come out

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
        if attempt.state is State.WAITING:
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
            case SetPointer(which, target):
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
            assert new.manifest not in self.record.quarantined
            assert all(self.now >= hold.until for hold in self.holds)
            self.require_window(new)
        self.record = replace(self.record, attempt=new)
        if new.state is State.COMMITTED:
            assert new.pointer is not None
            assert self.endpoint is not None
            assert self.endpoint.active == new.pointer
            self.committed.add(new.pointer)
            self.record = replace(self.record, committed=new)
        if action.quarantine:
            away = {**self.record.quarantined, new.manifest: "bad"}
            self.record = replace(self.record, quarantined=away)

    def require_window(self, attempt: Attempt) -> None:
        """Also offline, and whatever the policy was when the attempt began."""
        if self.heard and self.wanted is not None:
            assert attempt.policy == self.wanted.assignment.policy
        emergency = attempt.policy.trigger is Trigger.NOW
        for windows in attempt.policy.activation:
            assert emergency or is_open(windows, self.now, UTC)

    def fetch(self, attempt: Attempt) -> None:
        assert attempt.manifest not in self.record.quarantined
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
            case Settle():
                assert self.endpoint is not None
                self.endpoint = replace(self.endpoint, probation=False)
            case Restore(target):
                assert target in self.pointers.values()
                self.switch(self.load(target), probation=False)
            case DropWorkers(workers):
                assert self.endpoint is not None
                assert self.endpoint.standby == workers
                self.endpoint = replace(self.endpoint, standby=())

    def switch(self, worker: str, *, probation: bool) -> None:
        assert self.endpoint is not None
        assert worker in self.endpoint.standby
        target = self.loaded[worker]
        assert not (probation and target.manifest in self.record.quarantined)
        rest = tuple(name for name in self.endpoint.standby if name != worker)
        self.endpoint = replace(
            self.endpoint,
            active=target,
            active_worker=worker,
            previous=self.endpoint.active,
            probation=probation,
            standby=rest,
            traffic=Traffic(),
        )


World.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestPlanConverges = World.TestCase

"""Whatever happens in whatever order, `plan` ends, and never activates what it must not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sealane.failure import FailureKind
from sealane.holds import Hold
from sealane.policy import Commit, Policy, Trial, Trigger
from sealane.trust.documents import Quarantined
from sealane.windows import parse_window
from sealane_agent.layout import ACTIVE, LKG, Pointer
from sealane_agent.serving.messages import Shadowed, Traffic
from sealane_agent.slot.plan import MAX_RESTARTS, resumed
from sealane_agent.slot.state import (
    AskDocument,
    Rest,
    Stage,
    State,
    Wanted,
)
from support.agent_fakes import CAM, assignment, digest, empty, failure, pointer
from support.slot_world import SlotWorld

if TYPE_CHECKING:
    from sealane.names import Digest

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
        Policy(trial=Trial(0.5, 30, shadow_seconds=20, disagreement=0.1)),
        Policy(activation=HOUR, trial=Trial(shadow_seconds=400)),
        Policy(activation=HOUR, interrupts=True),
    ]
)
MAX_STEPS = 60 * (MAX_RESTARTS + 2)


class World(SlotWorld, RuleBasedStateMachine):
    """One slot: what is durable, what the endpoint does, and what the supervisor remembers."""

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

    @rule(version=VERSIONS, stops=st.booleans())
    def put_into_quarantine(self, version: int, *, stops: bool) -> None:
        order = Quarantined(digest(version), "it is wrong", stops)
        self.orders({**self.record.ordered, digest(version): order})

    @rule(
        versions=st.permutations([1, 2, 3]),
        then=st.sampled_from(["at rest", "in a trial", "half way", "off", "badly"]),
        which=st.sampled_from([(0,), (1,), (0, 1)]),
        stops=st.booleans(),
    )
    def kill_switch(
        self, versions: list[int], then: str, which: tuple[int, ...], *, stops: bool
    ) -> None:
        """One release follows another, something else begins, and one or both are called off."""
        old, new, other = versions
        self.a_rollout_goes_well(old, "r1")
        self.a_rollout_goes_well(new, "r2")
        if then == "in a trial":
            self.assigned(other, "r3", leased=True)
            self.supervisor_works(8)
        elif then == "half way":
            self.assigned(other, "r3", leased=False)
            self.supervisor_works(4)
        elif then == "off":
            self.endpoint_dies()
            self.supervisor_dies()
        for each in which:
            self.put_into_quarantine((new, old)[each], stops=stops)
        if then == "badly":
            self.a_probation_goes_badly(other, "errors")

    @rule(version=VERSIONS)
    def quarantine_lifted(self, version: int) -> None:
        left = {key: each for key, each in self.record.ordered.items() if key != digest(version)}
        self.orders(left)

    @rule(version=VERSIONS, then=st.sampled_from([State.ACCEPTED, State.STAGED, State.PROBATION]))
    def called_off_and_back(self, version: int, then: State) -> None:
        """A release is put into quarantine on its way, and that is lifted while it is wanted."""
        self.assigned(version, "r1", leased=True)
        for _ in range(10):
            if self.record.attempt is not None and self.record.attempt.state is then:
                break
            self.act(self.planned())
        self.put_into_quarantine(version, stops=False)
        self.supervisor_works(6)
        self.quarantine_lifted(version)

    def orders(self, ordered: dict[Digest, Quarantined]) -> None:
        self.record = replace(self.record, ordered=ordered)
        # One that has begun goes on, also when its order is softened half way.
        self.stop_ordered |= any(order.stops for order in ordered.values())

    @rule()
    def withdrawn(self) -> None:
        self.says(None)

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

    @rule(lost=st.integers(0, 1), disagreed=st.sampled_from([0, 90]))
    def copies_came(self, lost: int, disagreed: int) -> None:
        if self.endpoint is not None and self.endpoint.shadow is not None:
            seen = Shadowed(self.endpoint.shadow.worker, 100, 0, lost, 100, disagreed)
            self.endpoint = replace(self.endpoint, shadow=seen)

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

    @rule(earlier=st.booleans())
    def endpoint_comes(self, *, earlier: bool = False) -> None:
        """Also one of an earlier version, which can drop nothing but standbys."""
        if self.endpoint is None:
            first = self.pointers.get(LKG) or self.pointers.get(ACTIVE)
            self.workers += 1
            name = f"cam-{self.workers}" if first else ""
            drops = None if earlier else ""
            self.endpoint = replace(
                empty(CAM), active=first, active_worker=name, previous_worker=drops
            )

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
        if self.served and not self.stopped:
            assert self.endpoint is None or self.endpoint.active is not None
            assert ACTIVE in self.pointers

    @invariant()
    def the_last_known_good_was_committed(self) -> None:
        assert LKG not in self.pointers or self.pointers[LKG] in self.committed

    def teardown(self) -> None:
        """Nothing more happens: the slot comes to rest."""
        self.endpoint_comes()
        self.come_to_rest()
        self.check_quarantine()
        self.machine_restarts()
        self.come_to_rest()
        self.check_at_rest()
        self.orders({})
        self.come_to_rest()
        self.check_lifted()

    def come_to_rest(self) -> None:
        self.told, self.quiet_s = True, 3600.0
        for _ in range(MAX_STEPS):
            action = self.planned()
            if isinstance(action, Rest) and self.is_settled():
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
        self.check_quarantine()

    def check_lifted(self) -> None:
        """No order is left, and nothing of one: what is wanted is here, or failed by itself."""
        last, wanted = self.record.attempt, self.wanted
        if last is not None and last.failure is not None and last.state is not State.SAFE_MODE:
            assert last.failure.component != "director"
        if wanted is None or wanted.refusal is not None:
            return
        if last is None or last.key != wanted.key:
            there = self.pointers.get(LKG)
            assert there is not None
            assert there.manifest == wanted.assignment.manifest

    def check_quarantine(self) -> None:
        """Nothing in quarantine serves or could, but for a slot with nothing else to serve."""
        assert self.endpoint is not None
        ordered, record = self.record.ordered, self.record
        last_resort = self.pointers.get(ACTIVE)
        if last_resort is not None and last_resort.manifest in ordered:
            assert not ordered[last_resort.manifest].stops
            assert self.pointers.get(LKG) in {None, last_resort}
            # What an order drove out, and another let go again, is for the director to bring.
            away = {*ordered, *record.quarantined}
            assert record.before is None or record.before.manifest in away
        may: set[Pointer | None] = {last_resort}
        if last_resort is not None and last_resort.manifest not in ordered:
            may = set()
        if self.endpoint.previous_worker is None and not self.pointers:
            may.add(self.endpoint.active)
        if self.endpoint.previous_worker is None and may:
            return  # of an earlier version: it drops nothing until something allowed is there
        there = {self.endpoint.active, self.endpoint.previous, *self.pointers.values()}
        there |= {self.loaded[worker] for worker in self.endpoint.standby}
        assert not [each for each in there - may if each and each.manifest in ordered]
        assert self.endpoint.previous is None or self.endpoint.previous.manifest not in ordered


World.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestPlanConverges = World.TestCase

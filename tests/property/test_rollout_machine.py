"""Whatever the order of events: the budget holds, done means a receipt, and every rollout ends."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sealane.failure import FailureKind
from sealane.names import DeviceId
from sealane.policy import Trial
from sealane.receipt import Receipt
from sealane_manager.calendars import Calendar, Closings, named
from sealane_manager.errors import Refused
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.moves import supersede
from sealane_manager.rollout.notation import parse_limit
from sealane_manager.rollout.operate import Word, operate
from sealane_manager.rollout.pace import is_at_risk
from sealane_manager.rollout.placement import Member, expanded, parse_stage, places, spread
from sealane_manager.rollout.terms import Pace, Retries, Terms, Times
from sealane_manager.rollout.types import (
    LIVE,
    DeviceState,
    GatePolicy,
    Grant,
    OnFailure,
    Operation,
    RolloutState,
)
from support.rollout_counts import ROLLOUT_STEPS
from support.rollouts import START, Agent, Fleet, a_device, a_rollout, a_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane_manager.rollout.types import RolloutSpec, Step

STAGES = st.lists(
    st.sampled_from(
        ["1", "2", "3", "10%", "40%", "50%", "100%", "where site=a", "where line!=1", "each group"]
    ),
    min_size=1,
    max_size=4,
)
INDEX = st.integers(min_value=0, max_value=20)
ENOUGH = 800
MOST = 10
COUNTED = {"steps": 0}
IN_CI = bool(os.environ.get("SEALANE_SAME_EXAMPLES"))
EXAMPLES = 1750 if IN_CI else 40
CALENDARS = (
    Calendar("shift", "site=a", "Europe/Berlin", ("daily 10:20-09:20",)),
    Calendar("break", "", "UTC", ("daily 09:00-08:30",)),
)
RETRIES = st.builds(
    Retries, st.integers(0, 3), st.sampled_from((timedelta(seconds=1), timedelta(minutes=10)))
)
TERMS = st.builds(
    Terms,
    pace=st.builds(
        Pace,
        st.none() | st.integers(1, 3),
        st.none() | st.integers(1, 2),
        st.lists(
            st.sampled_from(
                ("site", "group", "site/line", "site/line/group", "line per site", "site per fleet")
            ).flatmap(
                lambda what: st.integers(1, 2).map(lambda count: parse_limit(f"{what}={count}"))
            ),
            max_size=3,
        ).map(tuple),
    ),
    times=st.builds(
        Times,
        deadline=st.none() | st.just(timedelta(hours=2)),
        stage_deadline=st.none() | st.just(timedelta(minutes=40)),
        calendars=st.sampled_from(((), ("shift",), ("all",))),
    ),
    retries=RETRIES,
    trial=st.just(Trial(0.5)),
    challenge=st.none() | st.just(timedelta(minutes=20)),
)
SPECS = st.builds(
    lambda tolerated, on_failure, terms: a_spec(
        on_failure=on_failure, gate=GatePolicy(max_failed=tolerated), terms=terms
    ),
    st.integers(min_value=0, max_value=2),
    st.sampled_from(OnFailure),
    TERMS,
)


def labels_of(number: int) -> dict[str, str]:
    """Two sites with lines of the same names, and groups that cross them."""
    return {"site": "ab"[number % 2], "line": str(number // 2 % 2), "group": str(number // 3)}


class RolloutMachine(RuleBasedStateMachine):
    @initialize(stages=STAGES, total=st.integers(min_value=1, max_value=8), spec=SPECS)
    def start(self, stages: list[str], total: int, spec: RolloutSpec) -> None:
        members = [Member(DeviceId(f"d{number}"), labels_of(number)) for number in range(total)]
        values = {"group": {each.labels["group"] for each in members}}
        found = spread(expanded([parse_stage(text) for text in stages], values), members)
        devices = tuple(
            a_device(each.device, stage=index, labels=tuple(each.labels.items()))
            for index, (_, chosen) in enumerate(found)
            for each in chosen
        )
        wanted = tuple(stage for stage, _ in found)
        began = {"began_at": START, "stage_since": START}
        rollout = a_rollout(replace(spec, stages=wanted), devices, devices=devices, **began)
        self.fleet = Fleet(replace(rollout, calendars=named(CALENDARS, spec.terms.times.calendars)))
        self.planned = {each.device: each.stage for each in devices}

    def pick(self, index: int) -> DeviceId:
        names = sorted(self.fleet.agents)
        return names[index % len(names)]

    @rule()
    def tick(self) -> None:
        step = advance(self.fleet.seen(), self.fleet.now)
        self.fleet.apply(step)
        self.every_place_went_to_whom_its_stage_means(step)
        again = advance(self.fleet.seen(), self.fleet.now)
        assert again.decisions == (), "a tick that repeats decides nothing new"

    def every_place_went_to_whom_its_stage_means(self, step: Step) -> None:
        members = {each.device: each for each in step.rollout.devices}
        closings = Closings(step.rollout.calendars, self.fleet.now)
        for given in (each for each in step.decisions if isinstance(each, Grant)):
            stage = members[given.device].stage
            meant = step.rollout.spec.stages[stage].selector
            assert given.attempt or not meant or self.planned[given.device] <= stage
            labels = dict(members[given.device].labels)
            assert closings.of(given.device, labels) is None

    @rule()
    @precondition(lambda self: self.fleet.rollout.state is RolloutState.RUNNING)
    def a_device_joins(self) -> None:
        """One that matches by now: last in turn, and under the same limits."""
        rollout = self.fleet.rollout
        if len(rollout.devices) >= MOST:
            return
        name, last = DeviceId(f"late{len(rollout.devices)}"), len(rollout.spec.stages) - 1
        labels = tuple(labels_of(len(rollout.devices)).items())
        late = a_device(name, stage=last, labels=labels, changed_at=self.fleet.now)
        self.fleet.rollout = replace(rollout, devices=(*rollout.devices, late))
        self.fleet.agents[name] = Agent(name)
        self.planned[name] = last

    @rule()
    def talk(self) -> None:
        self.fleet.talk()

    @rule(index=INDEX, steps=st.integers(min_value=1, max_value=8))
    def work(self, index: int, steps: int) -> None:
        for _ in range(steps):
            self.fleet.agents[self.pick(index)].work()

    @rule(index=INDEX, kind=st.sampled_from(FailureKind))
    def fail(self, index: int, kind: FailureKind) -> None:
        self.fleet.agents[self.pick(index)].fail(kind)

    @rule(index=INDEX)
    def disconnect(self, index: int) -> None:
        self.fleet.rollout = self.fleet.seen()
        self.fleet.agents[self.pick(index)].reachable = False

    @rule(index=INDEX)
    def reconnect(self, index: int) -> None:
        self.fleet.agents[self.pick(index)].reachable = True

    @rule(minutes=st.integers(min_value=0, max_value=30))
    def wait(self, minutes: int) -> None:
        self.fleet.rollout = self.fleet.seen()
        self.fleet.now += timedelta(minutes=minutes)

    @rule(index=INDEX, which=INDEX)
    def a_word_arrives_again(self, index: int, which: int) -> None:
        agent = self.fleet.agents[self.pick(index)]
        if agent.said:
            self.fleet.hear(agent.name, agent.said[which % len(agent.said)])

    @rule(index=INDEX)
    @precondition(lambda self: self.fleet.rollout.state in LIVE)
    def a_device_is_written_off(self, index: int) -> None:
        word = Word(Operation.WRITE_OFF, "gone", "ada", self.pick(index))
        try:
            self.fleet.apply(operate(self.fleet.seen(), word, self.fleet.now))
        except Refused:
            return

    @rule()
    @precondition(lambda self: self.fleet.rollout.state in LIVE)
    def another_rollout_takes_over(self) -> None:
        if self.fleet.rollout.state is not RolloutState.REVERTING:
            self.fleet.apply(supersede(self.fleet.seen(), "r-2", self.fleet.now))

    @rule()
    def the_manager_starts_again(self) -> None:
        """What only its memory held is gone; the devices' sessions are new."""
        rollout = self.fleet.rollout
        self.fleet.rollout = replace(
            rollout,
            seen=None,
            devices=tuple(
                replace(each, reachable=False, watched_since=self.fleet.now)
                for each in rollout.devices
            ),
        )

    @rule(operation=st.sampled_from(Operation))
    @precondition(lambda self: self.fleet.rollout.state in LIVE)
    def an_operator_speaks(self, operation: Operation) -> None:
        word = Word(operation, "because", "ada")
        try:
            self.fleet.apply(operate(self.fleet.seen(), word, self.fleet.now))
        except Refused:
            return

    @invariant()
    def the_budget_is_never_exceeded(self) -> None:
        if not hasattr(self, "fleet"):
            return
        rollout = self.fleet.rollout
        counts = places(rollout.spec.stages, len(rollout.devices))
        meant = sum(
            bool(rollout.spec.stages[stage].selector) and stage <= rollout.stage
            for stage in self.planned.values()
        )
        assert len(self.fleet.desired_new) <= counts[rollout.stage] + meant

    @invariant()
    def no_more_devices_are_at_risk_than_every_limit_allows(self) -> None:
        if not hasattr(self, "fleet"):
            return
        COUNTED["steps"] += 1
        rollout = self.fleet.rollout
        pace = rollout.spec.terms.pace
        risk = [each for each in rollout.devices if is_at_risk(each)]
        assert pace.at_once is None or len(risk) <= pace.at_once
        serving = sum(each.served for each in rollout.devices)
        assert pace.ramp is None or len(risk) <= pace.ramp + serving
        for limit in pace.limits:
            paths = [tuple(dict(each.labels)[name] for name in limit.labels) for each in risk]
            found = Counter(path[:-1] for path in set(paths)) if limit.values else Counter(paths)
            assert max(found.values(), default=0) <= limit.at_once

    @invariant()
    def no_device_is_tried_more_often_than_was_agreed(self) -> None:
        if not hasattr(self, "fleet"):
            return
        rollout = self.fleet.rollout
        most = rollout.spec.terms.retries.count
        assert max(self.fleet.attempts.values(), default=0) <= most
        for device in rollout.devices:
            assert not device.awaits_retry or device.failure is not FailureKind.PERMANENT

    @invariant()
    def no_challenger_is_kept_before_its_gate_has_passed_or_somebody_said_so(self) -> None:
        if hasattr(self, "fleet") and self.fleet.rollout.spec.terms.challenge is not None:
            assert all(each.promoted for each in self.fleet.rollout.devices if each.served)

    @invariant()
    def serving_means_that_a_receipt_arrived(self) -> None:
        if not hasattr(self, "fleet"):
            return
        for device in self.fleet.rollout.devices:
            if device.state is DeviceState.SERVING:
                said = self.fleet.agents[device.device].said
                assert any(isinstance(word, Receipt) for word in said)

    @invariant()
    def an_ended_rollout_leaves_the_release_only_where_it_was_proved(self) -> None:
        if not hasattr(self, "fleet") or self.fleet.rollout.state in LIVE:
            return
        given = {
            each.device
            for each in self.fleet.rollout.devices
            if each.device in self.fleet.desired_new
        }
        assert given <= self._proved_ever()
        if self.fleet.rollout.state is RolloutState.REVERTED:
            assert not given

    def _proved_ever(self) -> set[str]:
        return {
            name
            for name, agent in self.fleet.agents.items()
            if any(isinstance(word, Receipt) for word in agent.said)
        }

    def teardown(self) -> None:
        if not hasattr(self, "fleet"):
            return
        for agent in self.fleet.agents.values():
            agent.reachable = True
        for _ in range(ENOUGH):
            if self.fleet.rollout.state not in LIVE:
                return
            self._one_fair_minute()
        raise AssertionError(f"it never ended: {self.fleet.rollout}")

    def _one_fair_minute(self) -> None:
        if self.fleet.rollout.state is RolloutState.PAUSED:
            word = Word(Operation.RESUME, "go on", "ada")
            self.fleet.apply(operate(self.fleet.seen(), word, self.fleet.now))
        for agent in self.fleet.agents.values():
            agent.work()
        self.fleet.talk()
        self.fleet.rollout = self.fleet.seen()
        self.fleet.now += timedelta(minutes=1)
        self.fleet.apply(advance(self.fleet.seen(), self.fleet.now))


RolloutMachine.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=80,
    deadline=None,
    phases=set(Phase) - {Phase.explain},
)
TestRolloutMachine = RolloutMachine.TestCase


def test_so_many_steps_were_taken(record_property: Callable[[str, object], None]) -> None:
    record_property(ROLLOUT_STEPS, COUNTED["steps"])
    assert COUNTED["steps"] >= (100_000 if IN_CI else EXAMPLES)

"""Whatever the order of events: the budget holds, done means a receipt, and every rollout ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sealane.receipt import Receipt
from sealane_manager.errors import Refused
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.operate import Word, operate
from sealane_manager.rollout.placement import parse_stage, places, plan
from sealane_manager.rollout.types import (
    LIVE,
    DeviceState,
    GatePolicy,
    OnFailure,
    Operation,
    RolloutState,
)
from support.rollouts import Fleet, a_device, a_rollout, a_spec

if TYPE_CHECKING:
    from sealane.names import DeviceId

STAGES = st.lists(
    st.sampled_from(["1", "2", "3", "10%", "40%", "50%", "100%"]), min_size=1, max_size=4
)
INDEX = st.integers(min_value=0, max_value=20)
ENOUGH = 200


class RolloutMachine(RuleBasedStateMachine):
    @initialize(
        stages=STAGES,
        total=st.integers(min_value=1, max_value=8),
        tolerated=st.integers(min_value=0, max_value=2),
        on_failure=st.sampled_from(OnFailure),
    )
    def start(self, stages: list[str], total: int, tolerated: int, on_failure: OnFailure) -> None:
        spec = a_spec(on_failure=on_failure, gate=GatePolicy(max_failed=tolerated))
        wanted = plan([parse_stage(text) for text in stages], total)
        members = [a_device(f"d{number}") for number in range(total)]
        self.fleet = Fleet(a_rollout(replace(spec, stages=wanted), members))
        self.proved: set[str] = set()

    def pick(self, index: int) -> DeviceId:
        names = sorted(self.fleet.agents)
        return names[index % len(names)]

    @rule()
    def tick(self) -> None:
        self.fleet.apply(advance(self.fleet.seen(), self.fleet.now))
        again = advance(self.fleet.seen(), self.fleet.now)
        assert again.decisions == (), "a tick that repeats decides nothing new"

    @rule()
    def talk(self) -> None:
        self.fleet.talk()

    @rule(index=INDEX, steps=st.integers(min_value=1, max_value=8))
    def work(self, index: int, steps: int) -> None:
        for _ in range(steps):
            self.fleet.agents[self.pick(index)].work()

    @rule(index=INDEX)
    def fail(self, index: int) -> None:
        self.fleet.agents[self.pick(index)].fail()

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
        assert len(self.fleet.desired_new) <= counts[rollout.stage]

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


RolloutMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRolloutMachine = RolloutMachine.TestCase

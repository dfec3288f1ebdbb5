"""The kill switch and holds, from an operator's call to agents over gRPC and TLS and back."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.bundle.types import ProbationLimits
from sealane.names import DeviceId, ReleaseName
from sealane_manager.hold_order import HoldWish
from sealane_manager.rollout.types import RolloutSpec, Stage
from support.agents import Agent, live, serving
from support.bundles import TINY_MODEL, tiny_bundle
from support.manager import SLOT, RunningManager, running_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sealane_manager.client import Operator

COUNT = 5
PATIENCE_S = 60.0
SECOND = ReleaseName(TINY_MODEL, 2)


class Fleet:
    """Some agents, and what happens to them."""

    def __init__(self, manager: RunningManager, root: Path) -> None:
        self._change = threading.Condition()
        members = [manager.enrolled(f"edge-{number}") for number in range(COUNT)]
        self.agents = [Agent(root / each.id, each, self._told) for each in members]

    def _told(self, *_what: object) -> None:
        with self._change:
            self._change.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds; looked at whenever something serves somewhere."""
        with self._change:
            assert self._change.wait_for(condition, PATIENCE_S)

    def all_serve(self, version: int) -> bool:
        return all(serving(agent)[0] == version for agent in self.agents)

    @contextmanager
    def living(self) -> Iterator[None]:
        """They run, on a thread of their own; afterwards their processes are gone."""
        ready: list[Callable[[], object]] = []
        begun = threading.Event()

        async def main() -> None:
            stop, loop = asyncio.Event(), asyncio.get_running_loop()
            ready.append(lambda: loop.call_soon_threadsafe(stop.set))
            begun.set()
            await live(self.agents, stop)

        thread = threading.Thread(target=lambda: asyncio.run(main()))
        thread.start()
        begun.wait()
        try:
            yield
        finally:
            ready[0]()
            thread.join()


def rolled_out(operator: Operator, version: int) -> str:
    """Start a rollout of a release to everybody at once."""
    stages = (Stage(percent=100),)
    release = ReleaseName(TINY_MODEL, version)
    return operator.create_rollout(RolloutSpec(release, SLOT, "", stages, timedelta(0))).id


def state_of(operator: Operator, rollout: str) -> str:
    """How a rollout ended."""
    for seen in operator.watch_rollout(rollout):
        state = str(seen.state)
    return state


@pytest.mark.slow
def test_what_is_ordered_reaches_every_agent_and_is_kept(tmp_path: Path) -> None:
    with running_manager(tmp_path) as manager, manager.operator() as operator:
        for version in (1, 2, 3):
            layout = tiny_bundle(tmp_path / f"tiny-{version}", version, ProbationLimits(seconds=0))
            manager.publish_layout(layout, version)
        fleet = Fleet(manager, tmp_path / "agents")
        with fleet.living():
            for version in (1, 2):
                assert state_of(operator, rolled_out(operator, version)) == "succeeded"
            assert [serving(agent) for agent in fleet.agents] == [(2, 1)] * COUNT

            assert operator.quarantine(SECOND, "wrong labels") == COUNT
            fleet.wait(lambda: [serving(each) for each in fleet.agents] == [(1, 0)] * COUNT)

            until = datetime.now(UTC) + timedelta(hours=1)
            held, devices = operator.orders.hold(HoldWish("edge-0", "", until, "audit"))
            assert devices == 1
            rollout = rolled_out(operator, 3)
            for seen in operator.watch_rollout(rollout):
                if seen.reason.startswith("waits for edge-0 (staged: "):
                    break
            assert seen.reason.endswith(": audit); 1 held")
            others = fleet.agents[1:]
            fleet.wait(lambda: all(serving(each)[0] == 3 for each in others))
            assert serving(fleet.agents[0])[0] == 1
            operator.orders.release(held.hold.id, "done")
            assert state_of(operator, rollout) == "succeeded"
            assert fleet.all_serve(3)

            back, release = operator.orders.roll_back(DeviceId("edge-1"), SLOT, "it is slow")
            assert (release, state_of(operator, back)) == ("demo/tiny@1", "succeeded")
            assert [serving(each)[0] for each in fleet.agents] == [3, 1, 3, 3, 3]

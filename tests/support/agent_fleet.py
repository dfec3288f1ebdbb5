"""Some agents over gRPC and TLS on a thread of their own, and what a manager asks of them."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from sealane.names import ReleaseName
from sealane_manager.rollout.types import RolloutSpec, Stage
from support.agents import Agent, live, serving
from support.bundles import TINY_MODEL
from support.manager import SLOT, RunningManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sealane_manager.client import Operator

PATIENCE_S = 60.0


class Fleet:
    """Some agents, and what happens to them."""

    def __init__(self, manager: RunningManager, root: Path, count: int) -> None:
        self._change = threading.Condition()
        members = [manager.enrolled(f"edge-{number}") for number in range(count)]
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

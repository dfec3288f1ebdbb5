"""The fake control groups keep the kernel's rules; a booted machine asks its kernel the same.

`tests/extended/test_own_kernel.py` runs the same suite on a machine with a kernel of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sealane_agent.serving.control_groups import surroundings
from sealane_agent.serving.worker_groups import open_groups
from sealane_agent.serving.worker_limits import Surroundings, Wish, obstacle
from support.control_group_suite import SUITE, Machine, RealMachine
from support.control_groups import FakeGroupFiles

if TYPE_CHECKING:
    from collections.abc import Callable

ENDPOINT = 100
DELEGATED = Surroundings(
    unified=True,
    writable=True,
    alone=True,
    controllers=frozenset({"memory", "cpu"}),
)


class FakeMachine:
    """Processes that exist in the fake alone."""

    def __init__(self) -> None:
        self.files = FakeGroupFiles(ENDPOINT)
        self.groups = open_groups(DELEGATED, self.files, ENDPOINT, Wish(processors=1))
        self._last = ENDPOINT

    def begin(self) -> int:
        self._last += 1
        self.files.begin(self._last)
        return self._last

    def grow(self, process: int, size: int) -> bool:
        self.files.grow(process, size)
        return process in self.files.held

    def end(self, process: int) -> None:
        self.files.end(process)


@pytest.mark.parametrize("question", SUITE, ids=lambda each: each.__name__)
@pytest.mark.parametrize("kind", ["fake", "kernel"])
def test_control_groups(kind: str, question: Callable[[Machine], None]) -> None:
    if kind == "kernel" and (why := obstacle(surroundings()[0])):
        pytest.skip(f"here {why}: a booted machine is asked by tests/extended")
    question(FakeMachine() if kind == "fake" else RealMachine())

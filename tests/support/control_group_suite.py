"""What is expected of control groups, asked of the fake and of a kernel alike.

On a machine whose kernel has them it runs by itself, in a service to which a group was delegated:
`python3 control_group_suite.py`. Nothing but the agent's package and this file has to be there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final, Protocol

from sealane_agent.serving.control_groups import surroundings
from sealane_agent.serving.worker_groups import open_groups
from sealane_agent.serving.worker_limits import Limits, Wish

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane_agent.serving.worker_groups import Groups

MIB: Final = 2**20
ROOM: Final = Limits(64 * MIB)
_HOLDS = (
    "import sys\n"
    "for line in sys.stdin:\n"
    "    held = bytearray(int(line))\n"
    "    held[::4096] = b'x' * len(held[::4096])\n"
    "    print('held', flush=True)\n"
)


class Machine(Protocol):
    """Processes that hold as much memory as they are told to."""

    groups: Groups

    def begin(self) -> int:
        """A process that holds nothing yet; its id."""
        ...

    def grow(self, process: int, size: int) -> bool:
        """Let it hold so much; whether it lived on."""
        ...

    def end(self, process: int) -> None:
        """End it, and wait for its end."""
        ...


class RealMachine:
    """This machine: real processes in real groups, below the one that was delegated."""

    def __init__(self) -> None:
        found, files = surroundings()
        self.groups = open_groups(found, files, os.getpid(), Wish(processors=1))
        self._processes: dict[int, subprocess.Popen[str]] = {}

    def begin(self) -> int:
        """An interpreter that waits for a number of bytes."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-c", _HOLDS], stdin=pipe, stdout=pipe, text=True
        )
        self._processes[process.pid] = process
        return process.pid

    def grow(self, process: int, size: int) -> bool:
        """Tell it the number; one that was killed answers nothing."""
        found = self._processes[process]
        assert found.stdin is not None
        assert found.stdout is not None
        found.stdin.write(f"{size}\n")
        found.stdin.flush()
        if found.stdout.readline().strip() == "held":
            return True
        assert found.wait(timeout=60) == -signal.SIGKILL
        return False

    def end(self, process: int) -> None:
        """Kill it."""
        found = self._processes.pop(process)
        found.kill()
        found.communicate(timeout=60)


def there_are_groups(machine: Machine) -> None:
    """A group was delegated and divided."""
    assert machine.groups.why_not == ""


def within_its_limit_a_worker_lives_and_no_limit_is_named(machine: Machine) -> None:
    """What it may hold it holds."""
    process = machine.begin()
    machine.groups.enter("cam-1", process, ROOM)
    assert machine.grow(process, 16 * MIB)
    machine.end(process)
    assert machine.groups.leave("cam-1") == ""


def a_worker_that_grows_beyond_it_is_ended_alone_and_the_limit_is_named(machine: Machine) -> None:
    """Another worker beside it lives on."""
    one, other = machine.begin(), machine.begin()
    for name, process in (("cam-1", one), ("cam-2", other)):
        machine.groups.enter(name, process, ROOM)
    assert machine.grow(other, 16 * MIB)
    assert not machine.grow(one, 256 * MIB)
    said = machine.groups.leave("cam-1")
    assert said == "it reached its limit of 64 MiB of memory and was ended", said
    assert machine.grow(other, 32 * MIB)
    machine.end(other)
    assert machine.groups.leave("cam-2") == ""


def a_limit_that_was_raised_holds_from_then_on(machine: Machine) -> None:
    """A worker that has proved itself gets another one."""
    process = machine.begin()
    machine.groups.enter("cam-1", process, ROOM)
    machine.groups.limit("cam-1", Limits(512 * MIB, processors=1))
    assert machine.grow(process, 128 * MIB)
    machine.end(process)
    assert machine.groups.leave("cam-1") == ""


def a_name_may_be_used_again(machine: Machine) -> None:
    """What the worker before it broke is not held against it."""
    first = machine.begin()
    machine.groups.enter("cam-1", first, ROOM)
    assert not machine.grow(first, 256 * MIB)
    assert machine.groups.leave("cam-1")
    second = machine.begin()
    machine.groups.enter("cam-1", second, ROOM)
    machine.end(second)
    assert machine.groups.leave("cam-1") == ""


SUITE: Final[tuple[Callable[[Machine], None], ...]] = (
    there_are_groups,
    within_its_limit_a_worker_lives_and_no_limit_is_named,
    a_worker_that_grows_beyond_it_is_ended_alone_and_the_limit_is_named,
    a_limit_that_was_raised_holds_from_then_on,
    a_name_may_be_used_again,
)


def main() -> None:
    """Every question, of this machine."""
    machine = RealMachine()
    for question in SUITE:
        question(machine)
        sys.stdout.write(f"held: {question.__name__}\n")


if __name__ == "__main__":
    main()

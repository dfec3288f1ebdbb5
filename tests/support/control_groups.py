"""Control groups without a kernel: the rules that the kernel holds, written by hand.

What is here and the real files pass one suite, `support.control_group_suite`.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field

_EVENTS = ("low", "high", "max", "oom", "oom_kill", "oom_group_kill")
_OF_CONTROLLER: dict[str, tuple[str, ...]] = {
    "memory": ("memory.max", "memory.oom.group", "memory.swap.max", "memory.events"),
    "cpu": ("cpu.max", "cpu.weight"),
}


@dataclass
class Group:
    """One group: its processes, and what its files say."""

    processes: set[int] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)
    handed_on: set[str] = field(default_factory=set)
    ended: int = 0


class FakeGroupFiles:
    """A delegated group with a process in it, as `control_groups.GroupFiles`.

    Attributes:
        held: bytes that each process holds; one that was ended is not in it any more.
        troubles: files that answer with this error number.
    """

    def __init__(self, *processes: int, controllers: tuple[str, ...] = ("memory", "cpu")) -> None:
        self.groups = {"": Group(set(processes))}
        self.controllers = controllers
        self.held = dict.fromkeys(processes, 0)
        self.troubles: dict[str, int] = {}

    def begin(self, process: int) -> None:
        """A process is started: where who starts it is."""
        self.held[process] = 0
        self.groups["endpoint" if "endpoint" in self.groups else ""].processes.add(process)

    def grow(self, process: int, held: int) -> None:
        """It holds so much from now on, unless its group may not."""
        group = self._of(process)
        self.held[process] = held
        most = group.files.get("memory.max", "max")
        if most != "max" and sum(self.held[each] for each in group.processes) > int(most):
            group.ended += 1
            whole = group.files.get("memory.oom.group") == "1"
            for each in tuple(group.processes) if whole else (process,):
                self.end(each)

    def end(self, process: int) -> None:
        """It is gone, and was waited for."""
        self._of(process).processes.discard(process)
        del self.held[process]

    def read(self, group: str, file: str) -> str:
        """As the kernel shows it."""
        found = self._known(group, file)
        if file == "cgroup.procs":
            return "".join(f"{each}\n" for each in sorted(found.processes))
        if file == "cgroup.controllers":
            return " ".join(self.controllers)
        if file == "memory.events":
            return "".join(f"{name} {found.ended * (name == 'oom_kill')}\n" for name in _EVENTS)
        return found.files.get(file, "max") + "\n"

    def write(self, group: str, file: str, text: str) -> None:
        """As the kernel takes it."""
        found = self._known(group, file)
        match file:
            case "cgroup.procs":
                self._move(int(text), found)
            case "cgroup.subtree_control":
                if found.processes:
                    raise _error(errno.EBUSY, file)
                found.handed_on |= {word.removeprefix("+") for word in text.split()}
            case _:
                found.files[file] = text

    def make(self, group: str) -> None:
        """A new group, or the one that is there."""
        if "make" in self.troubles:
            raise _error(self.troubles["make"], group)
        self.groups.setdefault(group, Group())

    def remove(self, group: str) -> None:
        """Only of a group in which nobody is."""
        if group not in self.groups:
            raise _error(errno.ENOENT, group)
        if self.groups[group].processes or "remove" in self.troubles:
            raise _error(errno.EBUSY, group)
        del self.groups[group]

    def _known(self, group: str, file: str) -> Group:
        if file in self.troubles:
            raise _error(self.troubles[file], file)
        owner = next((name for name, files in _OF_CONTROLLER.items() if file in files), None)
        if group not in self.groups or (owner and owner not in self.groups[""].handed_on):
            raise _error(errno.ENOENT, file)
        return self.groups[group]

    def _move(self, process: int, to: Group) -> None:
        if process not in self.held:
            raise _error(errno.ESRCH, str(process))
        if to.handed_on:
            raise _error(errno.EBUSY, "processes lie in leaves alone")
        self._of(process).processes.discard(process)
        to.processes.add(process)

    def _of(self, process: int) -> Group:
        return next(each for each in self.groups.values() if process in each.processes)


def _error(number: int, what: str) -> OSError:
    return OSError(number, os.strerror(number), what)

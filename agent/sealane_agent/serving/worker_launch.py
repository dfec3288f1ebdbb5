"""Starts a worker process: what it inherits, what its environment holds, how it is ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealane.failure import Failure, FailureKind

from sealane_agent.runtimes.surroundings import KEPT, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sealane_agent.worker.orders import Order


@dataclass(frozen=True, slots=True)
class Child:
    """A started worker process."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    pidfd: int

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def hang_up(self) -> None:
        """Let it leave when its ring is empty."""
        self.control.close()

    def kill(self) -> None:
        """End it now."""
        self.process.kill()

    def reap(self) -> int:
        """Wait for its end, close what belonged to it, and return its status."""
        status = self.process.wait()
        self.control.close()
        os.close(self.pidfd)
        return status


def launch(name: str, order: Order, begun: Callable[[int], None]) -> Child:
    """Start a worker and give it its order; raises OSError. The process list shows its name.

    `begun` gets its process id before it has an order to load anything.
    Must run in the endpoint's main thread: the kernel ends a worker when the thread that started it
    ends.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            process = _start(theirs.fileno(), name, order)
        except OSError:
            ours.close()
            raise
    try:
        begun(process.pid)
        ours.send(order.encode())
        ours.settimeout(0)
        return Child(process, ours, os.pidfd_open(process.pid))
    except OSError:
        process.kill()
        process.wait()
        ours.close()
        raise


def _start(control: int, name: str, order: Order) -> subprocess.Popen[bytes]:
    arguments = ["-m", "sealane_agent.worker", str(control), str(os.getpid()), name]
    memory, bell, answers_bell = order.ring.all()
    return subprocess.Popen(
        [sys.executable, "-s", "-P", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=sys.__stderr__,
        env=environment(os.environ),
        pass_fds=(control, memory, bell, answers_bell, order.bodies),
    )


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """A worker's environment, from the endpoint's."""
    return {name: ours[name] for name in KEPT if name in ours} | dict(SETTINGS)


def ended_early(name: str, status: int, broke: str = "") -> Failure:
    """What it means that a worker ended before it answered; `broke`: the limit that it broke."""
    if broke:
        message = f"the worker could not load: {broke}"
        hint = "allow more on this device (worker.memory), or leave it out of the rollout"
        return _failure(FailureKind.ENVIRONMENTAL, name, message, hint)
    if status == -signal.SIGKILL:
        message = "the worker was killed while it loaded"
        hint = "the machine may be out of memory: see the kernel's log"
        return _failure(FailureKind.ENVIRONMENTAL, name, message, hint)
    if status < 0:
        message = f"the worker crashed while it loaded: {signal.strsignal(-status)}"
        return _failure(FailureKind.PERMANENT, name, message, "")
    message = f"the worker ended with status {status} before it was ready"
    return _failure(FailureKind.ENVIRONMENTAL, name, message, "the endpoint's log says why")


def too_slow(name: str, deadline_s: float) -> Failure:
    """A worker was not there in time."""
    message = f"the model was not loaded and proved within {deadline_s:.0f} s"
    return Failure(
        FailureKind.TRANSIENT,
        phase="staged",
        component="endpoint",
        element=name,
        message=message,
        hint="try again when the device is less busy",
    )


def _failure(kind: FailureKind, name: str, message: str, hint: str) -> Failure:
    return Failure(kind, "staged", "runtime", name, message, hint)

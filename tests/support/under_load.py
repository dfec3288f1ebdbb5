"""An endpoint that clients in another process ask all the time, while a test does things to it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
from sealane_agent.endpoint.link import EndpointLink
from sealane_agent.serving.messages import Load
from support.endpoints import SLOT, tiny_pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.endpoints import EndpointProcess

TESTS: Final = Path(__file__).parents[1]
LOAD_S: Final = 60.0


@dataclass
class Asking:
    """The clients; `phases` holds what they saw once they have ended."""

    process: subprocess.Popen[str]
    phases: dict[str, dict[str, Any]] = field(default_factory=dict)

    def phase(self, name: str) -> int:
        """Begin one; how many requests were answered so far."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def go_on(self, name: str, answers: int) -> None:
        """Stay in a phase until so many more requests were answered."""
        begun = self.phase(name)
        deadline = time.monotonic() + LOAD_S
        while self.phase(name) < begun + answers:
            assert time.monotonic() < deadline, f"too few answers in {name}"
            time.sleep(0.02)

    def end(self) -> None:
        """Let the requests inside finish, and hear what was seen."""
        said, _ = self.process.communicate(timeout=LOAD_S)
        self.phases = json.loads(said)


@contextmanager
def asking(running: EndpointProcess, clients: int = 8, think_s: float = 0.0) -> Iterator[Asking]:
    """Clients that ask this endpoint until the block ends."""
    process = subprocess.Popen(
        [
            *(sys.executable, str(TESTS / "support" / "asking.py")),
            *(running.rest, running.grpc, str(clients), str(think_s)),
        ],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    asked = Asking(process)
    try:
        yield asked
        asked.end()
    finally:
        process.kill()
        process.wait()


async def swap(link: EndpointLink, version: int, *, probation: bool = False) -> str:
    """Load a version, send the requests to it; its worker's name."""
    proved = await link.load(Load(SLOT, tiny_pointer(version), LOAD_S))
    await link.activate(SLOT, proved.worker, probation=probation)
    return proved.worker


def linked(running: EndpointProcess, work: Any) -> Any:
    """What `work(link)` returns, on a connection to the endpoint's control socket."""

    async def within() -> Any:
        link = EndpointLink(running.folder.control_socket)
        try:
            return await work(link)
        finally:
            await link.close()

    return asyncio.run(within())


def active_worker(running: EndpointProcess) -> psutil.Process:
    """The process in the active place: it answers the requests; waited for while it is started."""
    deadline = time.monotonic() + LOAD_S
    while time.monotonic() < deadline:
        slots = linked(running, lambda link: link.status())
        (name,) = (status.active_worker for status in slots if status.slot == SLOT)
        for worker in workers(running):
            with suppress(psutil.NoSuchProcess, IndexError):
                if f"{worker.cmdline()[-1]}.".startswith(f"{name}."):
                    return worker
        time.sleep(0.02)
    raise AssertionError("nothing answers in the active place")


def workers(running: EndpointProcess) -> list[psutil.Process]:
    """The worker processes, the oldest first."""
    children = psutil.Process(running.process.pid).children()
    return sorted(children, key=lambda child: child.create_time())

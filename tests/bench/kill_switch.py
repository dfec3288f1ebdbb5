"""How long a fleet takes to leave a release after `quarantine put`. Prints.

    .venv/bin/python tests/bench/kill_switch.py [agents]

The manager is real. The agents (200 without an argument) are all of an agent's own code over gRPC
and TLS in one other process: session, signed document, verification, journal, table and pointers;
only the workers of their slots are simulated, so that no time is spent on loading models. First
releases 1 and 2 are rolled out. Then 2 goes into quarantine, and it is measured until the last
agent serves 1 and could fall back on nothing else. One run; both processes share the processors.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sealane.bundle.types import ProbationLimits
from sealane.names import ReleaseName
from sealane.trust.token import JoinToken
from sealane_manager.rollout.types import RolloutSpec, Stage
from support.agents import Agent, Serves, live
from support.bundles import TINY_MODEL, tiny_bundle
from support.device import enrol
from support.manager import SLOT, RunningManager, running_manager

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PATIENCE_S = 300.0
OPEN_FILES = 16_384


def agents_process(folder: Path) -> None:
    """The other process: the agents live until its input ends; it prints what each serves."""

    def told(name: str, serves: Serves) -> None:
        sys.stdout.write(json.dumps([name, serves.active, serves.previous, serves.at]) + "\n")
        sys.stdout.flush()

    count, _, text = (folder / "token").read_text().partition(" ")
    token = JoinToken.parse(text)
    members = [enrol(token, f"edge-{number:03}") for number in range(int(count))]
    agents = [Agent(folder / member.id, member, told) for member in members]

    async def main() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        loop.set_default_executor(ThreadPoolExecutor(64))
        threading.Thread(
            target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(stop.set)), daemon=True
        ).start()
        await live(agents, stop)

    asyncio.run(main())


class Fleet:
    """The agents' process as this one sees it: what each serves, and since when."""

    def __init__(self, folder: Path) -> None:
        self.serves: dict[str, Serves] = {}
        self._change = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--agents", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            name, active, previous, at = json.loads(line)
            with self._change:
                self.serves[name] = Serves(active, previous, at)
                self._change.notify_all()

    def wait(self, count: int, active: int, *, alone: bool = False) -> list[float]:
        """When each agent began to serve this version; waits for all of them."""

        def there() -> bool:
            found = [each for each in self.serves.values() if each.active == active]
            return len([each for each in found if not (alone and each.previous)]) == count

        with self._change:
            assert self._change.wait_for(there, PATIENCE_S), f"not everybody serves {active}"
            return [each.at for each in self.serves.values()]

    def processor(self) -> float:
        """Seconds of processor time that the agents' process has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """Let the agents' process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def roll_out(manager: RunningManager, version: int) -> str:
    """Roll a release out to everybody at once; returns the rollout's id."""
    stages = (Stage(percent=100),)
    spec = RolloutSpec(ReleaseName(TINY_MODEL, version), SLOT, "", stages, timedelta(0))
    with manager.operator() as operator:
        return operator.create_rollout(spec).id


def ended(manager: RunningManager, rollout: str) -> float:
    """Wait until a rollout has ended; how long that took, in seconds."""
    began = time.monotonic()
    with manager.operator() as operator:
        for _ in operator.watch_rollout(rollout):
            pass
    return time.monotonic() - began


def connected(manager: RunningManager, count: int) -> None:
    """Wait until so many devices hold a session."""
    end = time.monotonic() + PATIENCE_S
    with manager.operator() as operator:
        while sum(each.connected for each in operator.list_devices()) < count:
            assert time.monotonic() < end, "not everybody is connected"
            time.sleep(0.2)


def load() -> str:
    """What else the machine does."""
    return " ".join(f"{each:.1f}" for each in os.getloadavg())


def measure(folder: Path, count: int) -> Mapping[str, Any]:
    """One run."""
    with running_manager(folder) as manager:
        token = manager.token({"site": "plant"}, uses=count)
        (folder / "agents").mkdir()
        (folder / "agents" / "token").write_text(f"{count} {token.encode()}")
        for version in (1, 2):
            layout = tiny_bundle(folder / f"tiny-{version}", version, ProbationLimits(seconds=0))
            manager.publish_layout(layout, version)
        fleet, took = Fleet(folder / "agents"), {}
        connected(manager, count)
        try:
            for version in (1, 2):
                began = time.monotonic()
                rollout = roll_out(manager, version)
                took[version] = max(fleet.wait(count, version)) - began
                ended(manager, rollout)
            before, spent = load(), (time.process_time(), fleet.processor())
            began = time.monotonic()
            with manager.operator() as operator:
                operator.quarantine(ReleaseName(TINY_MODEL, 2), "wrong labels")
            answered = time.monotonic() - began
            back = sorted(at - began for at in fleet.wait(count, 1, alone=True))
            used = time.process_time() - spent[0], fleet.processor() - spent[1]
        finally:
            fleet.end()
    return {"rollouts": took, "answered": answered, "back": back, "load": before, "used": used}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    with TemporaryDirectory(prefix="sealane-kill-switch-") as folder:
        found = measure(Path(folder), count)
    back = found["back"]
    say = sys.stdout.write
    say(f"{count} agents, real gRPC and TLS, simulated slots; load before {found['load']}\n")
    for version, seconds in found["rollouts"].items():
        say(f"release {version} serves on all after     {seconds:6.1f} s\n")
    say(f"quarantine put is answered after   {found['answered']:6.2f} s\n")
    say(f"first agent is back after          {back[0]:6.2f} s\n")
    say(f"half of them are back after        {median(back):6.2f} s\n")
    say(f"the last one is back after         {back[-1]:6.2f} s\n")
    manager, agents = found["used"]
    say(f"processor time until then: manager {manager:6.2f} s, all agents {agents:6.2f} s\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--agents"]:
        agents_process(Path(sys.argv[2]))
    else:
        main()

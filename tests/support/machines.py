"""A machine with a real agent: its processes, what it says of itself, and what it answers.

Its manager is real too; `roll_out` sends it a version of the tiny model.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from sealane.bundle.types import ProbationLimits
from sealane.names import ReleaseName
from sealane_agent.layout import StateFolder
from sealane_agent.overview import look
from sealane_manager.bundle.publish import PublishOrder, publish
from sealane_manager.rollout.types import RolloutSpec, Stage
from sealane_manager.trust.keys import key_path, load_signer
from support.bundles import TINY_MODEL, tiny_bundle
from support.commands import run
from support.manager import FAMILY, SLOT, RunningManager

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sealane.bundle.types import Manifest
    from sealane_agent.overview import SlotOverview

PATIENCE_S = 180.0
ANY_PORTS = ("--rest", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
BODY = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "sealane_agent.cli.main", *arguments]


def agent(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return run("sealane-agent", *arguments)


def wait_for(what: str, found: Callable[[], Any], every_s: float = 0.05) -> Any:
    """Poll until something is true."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer = found()
        if answer:
            return answer
        time.sleep(every_s)
    raise AssertionError(f"{what} did not come")


@dataclass
class Machine:
    """One machine with its agent."""

    state: Path
    supervisor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.supervisor is None or self.supervisor.poll() is not None:
            self.start()
        self.stop()

    @property
    def log(self) -> Path:
        return self.state.with_suffix(".log")

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.supervisor = subprocess.Popen(
                command("run", "--state", str(self.state), *ANY_PORTS),
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def kill(self) -> None:
        assert self.supervisor is not None
        self.supervisor.kill()
        self.supervisor.wait(10)

    def stop(self) -> int:
        assert self.supervisor is not None
        self.supervisor.send_signal(signal.SIGTERM)
        return self.supervisor.wait(60)

    def status(self) -> dict[str, Any]:
        shown = agent("status", "--state", str(self.state), "--output", "json")
        assert shown.returncode == 0, shown.stderr
        found: dict[str, Any] = json.loads(shown.stdout)
        return found

    def slots(self) -> dict[str, SlotOverview]:
        """What `status` shows of each slot, without a process for it."""
        shown = asyncio.run(look(StateFolder(self.state)))
        return {each.slot: each for each in shown.slots}

    def serves(self, release: str) -> bool:
        return any(
            slot.serves == release and slot.state == "committed" for slot in self.slots().values()
        )

    def endpoint(self) -> dict[str, Any]:
        """What the endpoint says of itself; nothing while one starts."""
        path = StateFolder(self.state).endpoint_addresses
        found: dict[str, Any] = wait_for(
            "an endpoint", lambda: json.loads(path.read_text()) if path.is_file() else None
        )
        return found

    def ask(self) -> tuple[int, list[float]]:
        connection = http.client.HTTPConnection(self.endpoint()["rest"], timeout=30)
        try:
            connection.request("POST", "/v2/models/cam/infer", BODY)
            response = connection.getresponse()
            answer = json.loads(response.read())
            return response.status, answer["outputs"][0]["data"]
        finally:
            connection.close()


def enrolled(
    manager: RunningManager, state: Path, name: str = "press-7", line: str = ""
) -> Machine:
    """A machine that has just become a device, of a line where one is named."""
    token = manager.token({"line": line} if line else None).encode()
    done = agent("enroll", "--state", str(state), "--name", name, "--token", token)
    assert done.returncode == 0, done.stderr
    return Machine(state)


def publish_tiny(manager: RunningManager, folder: Path, version: int) -> Manifest:
    """Publish a version of the tiny model that is watched for a second."""
    release = ReleaseName(TINY_MODEL, version)
    layout = tiny_bundle(folder / f"bundle-{version}", version, ProbationLimits(seconds=1))
    signer = load_signer(key_path(manager.state.keys, FAMILY))
    with manager.operator() as operator:
        order = PublishOrder(layout, release, (SLOT,), {})
        return publish(order, operator, signer, lambda *_: None).manifest


def roll_out(manager: RunningManager, folder: Path, version: int) -> Manifest:
    """Publish a version, and send it to every device."""
    manifest = publish_tiny(manager, folder, version)
    release = ReleaseName(TINY_MODEL, version)
    with manager.operator() as operator:
        spec = RolloutSpec(release, SLOT, "", (Stage(percent=100),), timedelta(0))
        operator.create_rollout(spec)
    return manifest


def answer(version: int) -> list[float]:
    """What that version answers to the one request of `ask`."""
    return [7.5 + version, 8.75 + version, 10.0 + version]

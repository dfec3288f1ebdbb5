"""A device's processes, started as its systemd units start them: what they weigh and cost.

Loads no library that these processes load too: run by itself, it measures the device that
`idle_bench.py` left running, whose manager is gone, and how soon it answers after a cold start.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
from sealane.names import SlotName
from sealane_agent.layout import StateFolder
from support.process_memory import counted_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

AGENT: Final = (sys.executable, "-m", "sealane_agent.cli.main")
UNITS: Final = Path(__file__).parents[1] / "packaging" / "systemd"
SLOT: Final = SlotName("cam")
ALONE_S: Final = 60.0
PATIENCE_S: Final = 60.0
BODY: Final = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
)


class Device:
    """The endpoint and the supervisor on one state folder."""

    def __init__(self, folder: Path) -> None:
        self.state = StateFolder(folder / "device")
        self._pids = folder / "pids.json"

    def begin(self) -> None:
        """Start both, each in a session of its own: they go on when this process ends."""
        endpoint = ("endpoint", "--rest", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
        orders = {"endpoint": endpoint, "supervisor": ("run", "--external-endpoint")}
        pids = {role: self._start(role, *order) for role, order in orders.items()}
        self._pids.write_text(json.dumps(pids))

    def end(self) -> None:
        """Tell both to end, and wait until they have."""
        processes = [psutil.Process(pid) for pid in self._left().values()]
        for process in processes:
            process.terminate()
        psutil.wait_procs(processes, PATIENCE_S)

    def processes(self) -> dict[str, int]:
        """Process ids by role."""
        left = self._left()
        children = Path(f"/proc/{left['endpoint']}/task/{left['endpoint']}/children").read_text()
        return {**left, "worker": int(children.split()[0])}

    def asked(self) -> int:
        """The status of one request; 0 when nobody answers."""
        try:
            address = json.loads(self.state.endpoint_addresses.read_bytes())["rest"]
            connection = http.client.HTTPConnection(address, timeout=30)
            connection.request("POST", f"/v2/models/{SLOT}/infer", BODY)
            return connection.getresponse().status
        except (OSError, ValueError, http.client.HTTPException):
            return 0

    def _start(self, role: str, *order: str) -> int:
        words = (*AGENT, order[0], "--state", str(self.state.root), *order[1:])
        environment = os.environ | unit_environment(role)
        output = subprocess.DEVNULL
        return subprocess.Popen(
            words, env=environment, stdout=output, stderr=output, start_new_session=True
        ).pid

    def _left(self) -> dict[str, int]:
        pids: dict[str, int] = json.loads(self._pids.read_text())
        return pids


def main() -> None:
    """Measure the device that was left running; then end it and start it anew."""
    device = Device(Path(sys.argv[1]))
    try:
        time.sleep(ALONE_S)
        print("on a device of its own (its manager has ended, and with it what shared pages):")
        print_memory(device)
    finally:
        device.end()
    begun = time.monotonic()
    device.begin()
    try:
        wait_for(lambda: device.asked() == http.client.OK, pause_s=0.01)
        took = time.monotonic() - begun
        print(f"cold start without a manager: the first answer after {took:.2f} s, load included")
    finally:
        device.end()


def print_memory(device: Device) -> None:
    """PSS, and of it what is the process's own, in millions of bytes."""
    print("process         PSS MB   its own MB")
    for role, pid in device.processes().items():
        whole, own = (counted_bytes(pid, what) / 1e6 for what in ("Pss", "Anonymous"))
        print(f"{role:<12} {whole:9.1f}   {own:10.1f}")


def unit_environment(role: str) -> dict[str, str]:
    """What the role's unit sets; not the folders that systemd alone knows."""
    name = {"supervisor": "sealane-agent", "endpoint": "sealane-endpoint"}[role]
    lines = (UNITS / f"{name}.service").read_text().splitlines()
    settings = [line.partition("=")[2] for line in lines if line.startswith("Environment=")]
    return dict(each.split("=", 1) for each in settings if "%" not in each)


def wait_for(found: Callable[[], bool], pause_s: float = 0.1) -> None:
    """Poll until it is so; raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE_S
    while not found():
        if time.monotonic() > deadline:
            raise TimeoutError("what is measured did not come about")
        time.sleep(pause_s)


if __name__ == "__main__":
    main()

"""Prints what recording costs on the request path of a real endpoint with a real worker.

One endpoint serves the tiny model to the same clients with recording on and off, in turns that are
short and many, so that whatever else the machine does meets both; two processes would differ by
some percent for no reason at all. The ratio is of the processor time that the endpoint spends on a
request: the worker's and the client's time are left out, so it is the least favourable one.
`python tests/bench/telemetry_cost.py [rounds] [seconds of a turn]`
"""

from __future__ import annotations

import json
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sealane.bundle.deployment import encode_deployment
from sealane.bundle.types import ReferenceBins
from support.bundles import tiny_deployment
from support.endpoints import SLOT, endpoint, lay_out, tiny_pointer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from sealane_agent.layout import StateFolder
    from support.endpoints import EndpointProcess

CLIENTS = 8
PROGRAM = """
import gc, signal, sys
from sealane_agent.cli.main import main
from sealane_agent.serving.place import Place

series = {}

def switch(number, frame):
    for place in [item for item in gc.get_objects() if type(item) is Place]:
        place.series = series.setdefault(place, place.series) if number == signal.SIGUSR1 else None
        place._introduce()

signal.signal(signal.SIGUSR1, switch)
signal.signal(signal.SIGUSR2, switch)
sys.exit(main(sys.argv[1:]))
"""
"""An endpoint that records from SIGUSR1 on and does not from SIGUSR2 on."""
BODY = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
).encode()
REQUEST = b"POST /v2/models/%s/infer HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n%s" % (
    SLOT.encode(),
    len(BODY),
    BODY,
)


@dataclass
class Side:
    """What was measured with recording on, or off: a value for each turn."""

    name: str
    switch: signal.Signals
    cpu_us: list[float] = field(default_factory=list)
    latency_us: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    def turn(self, running: EndpointProcess, seconds: float) -> None:
        """Ask for some time."""
        running.process.send_signal(self.switch)
        _ask_for(running.rest, seconds / 10)
        before = _used_us(running.process.pid)
        latencies = _ask_for(running.rest, seconds)
        used = _used_us(running.process.pid) - before
        self.cpu_us.append(used / len(latencies))
        self.latency_us.append(statistics.median(latencies) * 1e6)
        self.rate.append(len(latencies) / seconds)


def _used_us(pid: int) -> float:
    """Processor time of all threads of a process, as the scheduler counts it."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e3


def _ask_for(address: str, seconds: float) -> list[float]:
    latencies: list[float] = []
    ends = time.perf_counter() + seconds
    clients = [
        threading.Thread(target=_client, args=(address, ends, latencies)) for _ in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return latencies


def _client(address: str, ends: float, latencies: list[float]) -> None:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(REQUEST)
        size = len(connection.recv(65536))
        while (began := time.perf_counter()) < ends:
            connection.sendall(REQUEST)
            got = connection.recv(size, socket.MSG_WAITALL)
            if not got.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"the endpoint answered {got!r}")
            latencies.append(time.perf_counter() - began)


def _lay_out(root: Path) -> StateFolder:
    """The tiny model with a reference, so that its inputs are counted too."""
    folder = lay_out(root, 1)
    reference = ReferenceBins("x", tuple(edge / 2 for edge in range(19)), (1,) * 20)
    deployment = replace(tiny_deployment(), reference=(reference,))
    path = folder.view(tiny_pointer(1).manifest) / "deployment.json"
    path.write_bytes(encode_deployment(deployment))
    return folder


def _started(root: Path) -> AbstractContextManager[EndpointProcess]:
    return endpoint(_lay_out(root), command=(sys.executable, "-c", PROGRAM, "endpoint"))


def main(arguments: Sequence[str]) -> None:
    """Print the ratio and both sides."""
    rounds, seconds = (int(arguments[0]), float(arguments[1])) if arguments else (100, 0.2)
    sides = Side("off", signal.SIGUSR2), Side("on", signal.SIGUSR1)
    with tempfile.TemporaryDirectory() as root, _started(Path(root)) as running:
        _ask_for(running.rest, 2.0)
        for number in range(rounds):
            for side in sides if number % 2 else reversed(sides):
                side.turn(running, seconds)
    _report(*sides)


def _report(off: Side, on: Side) -> None:
    for side in (off, on):
        sys.stdout.write(
            f"telemetry {side.name:3}  {_quiet(side.cpu_us):6.1f} µs of processor time a request, "
            f"{statistics.median(side.latency_us):5.0f} µs median latency, "
            f"{statistics.median(side.rate):6.0f} requests/s\n"
        )
    ratios = [mine / its for mine, its in zip(on.cpu_us, off.cpu_us, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    sys.stdout.write(
        f"ratio on/off of processor time: {_quiet(on.cpu_us) / _quiet(off.cpu_us):.3f} in the "
        f"quietest fifth of {len(ratios)} turns each; median of neighbours {middle:.3f} "
        f"(half of them between {low:.3f} and {high:.3f})\n"
    )


def _quiet(values: list[float]) -> float:
    """The mean of the lowest fifth: whatever else ran only ever adds."""
    return statistics.mean(sorted(values)[: max(1, len(values) // 5)])


if __name__ == "__main__":
    main(sys.argv[1:])

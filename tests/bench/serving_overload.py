"""Prints what an endpoint does at ten times the rate it sustains: `serving_overload.py [SECONDS]`.

One model of some milliseconds. First four clients that wait for each answer find the peak; then an
open loop sends ten times as many requests in each second, answered or not; then one client asks
again. The load comes from a process of its own, on the same processors:
    PYTHONPATH=tests python tests/bench/serving_overload.py
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psutil
import serving_models
import uvloop
from onnx import TensorProto
from sealane.bundle.types import DataType
from sealane_agent.layout import StateFolder
from support.endpoints import SLOT, endpoint

SECONDS: Final = 30.0
PEAK_S: Final = 5.0
TIMES: Final = 10
CLIENTS: Final = 4
WIDTH: Final = 1024
LAYERS: Final = 240
CONNECTIONS: Final = 400
TICK_S: Final = 0.005
RECOVERY_S: Final = 2.0
MEGABYTE: Final = 1 << 20


def dense() -> serving_models.BenchModel:
    """64 numbers in, 10 out, and some milliseconds of multiplications between them."""
    graph = serving_models.Graph()
    last = graph.add("MatMul", "x", graph.weight(64, WIDTH))
    again = graph.weight(WIDTH, WIDTH)
    for _ in range(LAYERS):
        last = graph.add("Tanh", graph.add("MatMul", last, again))
    last = graph.add("MatMul", last, graph.weight(WIDTH, 10))
    content = graph.finish(last, (TensorProto.FLOAT, (64,), 10))
    return serving_models.BenchModel("dense", content, DataType.FP32, (64,), 10)


@dataclass
class Seen:
    """What the clients of one phase saw; times in seconds."""

    sent: int = 0
    unsent: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    answered: list[tuple[float, float]] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def hear(self, status: int, began: float, now: float) -> None:
        """One response."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == 200:
            self.answered.append((now, now - began))
        else:
            self.refused.append(now - began)


class Connection(asyncio.Protocol):
    """One request at a time; `free` is called when it is answered."""

    def __init__(self, seen: Seen, free: Any) -> None:
        self.seen, self._free = seen, free
        self._transport: asyncio.Transport | None = None
        self._began, self._head = 0.0, b""
        self._left = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self._transport = transport  # type: ignore[assignment]  # of a TCP connection

    def ask(self, request: bytes) -> None:
        """Send it."""
        self._began = time.perf_counter()
        self.seen.sent += 1
        assert self._transport
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """A part of the response."""
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._head[:end].lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        if len(self._head) < end + 4 + length:
            return
        status = int(self._head[9:12])
        self._head = self._head[end + 4 + length :]
        self.seen.hear(status, self._began, time.perf_counter())
        self._free(self)


async def clients(address: str, count: int, seen: Seen, free: Any) -> list[Connection]:
    """So many connections."""
    host, port = address.split(":")
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Connection(seen, free), host, int(port))
        for _ in range(count)
    ]
    return [protocol for _, protocol in made]


async def closed_loop(address: str, request: bytes, count: int, seconds: float) -> Seen:
    """Each client asks again when it was answered."""
    seen, until = Seen(), time.perf_counter() + seconds

    def again(connection: Connection) -> None:
        if time.perf_counter() < until:
            connection.ask(request)

    for connection in await clients(address, count, seen, again):
        connection.ask(request)
    await asyncio.sleep(seconds + 0.2)
    return seen


async def open_loop(address: str, request: bytes, rate: float, seconds: float) -> Seen:
    """So many requests in each second; what finds no free connection is counted as unsent."""
    seen = Seen()
    idle: list[Connection] = []
    idle += await clients(address, CONNECTIONS, seen, idle.append)
    begun, due = time.perf_counter(), 0
    while (passed := time.perf_counter() - begun) < seconds:
        wanted = int(passed * rate) - due
        due += wanted
        for _ in range(min(wanted, len(idle))):
            idle.pop().ask(request)
            wanted -= 1
        seen.unsent += wanted
        await asyncio.sleep(TICK_S)
    return seen


def request_for(numbers: int) -> bytes:
    """A whole request of one row of so many numbers."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, numbers], "data": [0.5] * numbers}
    body = json.dumps({"inputs": [tensor]}).encode()
    head = f"POST /v2/models/{SLOT}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


async def load(address: str, seconds: float) -> dict[str, Any]:
    """All three phases."""
    request = request_for(64)
    await closed_loop(address, request, 1, 1.0)
    alone = await closed_loop(address, request, 1, RECOVERY_S)
    peak = await closed_loop(address, request, CLIENTS, PEAK_S)
    per_second = len(peak.answered) / PEAK_S
    mark("overload")
    crowd = await open_loop(address, request, TIMES * per_second, seconds)
    mark("after")
    over = time.perf_counter()
    after = await closed_loop(address, request, 1, RECOVERY_S)
    good = len(crowd.answered) / seconds
    return {
        "peak": per_second,
        "rate": crowd.sent / seconds,
        "unsent": crowd.unsent,
        "good": good,
        "statuses": crowd.statuses,
        "answered_ms": quantiles([took for _, took in crowd.answered]),
        "refused_ms": quantiles(crowd.refused),
        "alone_ms": quantiles([took for _, took in alone.answered]),
        "recovered_s": recovered(after, alone, over),
    }


def recovered(after: Seen, alone: Seen, over: float) -> float:
    """When an answer took no more than twice what it takes a client that is alone."""
    usual_s = statistics.median(took for _, took in alone.answered)
    return next((at - over for at, took in after.answered if took < 2 * usual_s), float("inf"))


def quantiles(times: list[float]) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds."""
    if len(times) < 2:
        return (0.0, 0.0)
    cut = statistics.quantiles(times, n=100)
    return 1000 * cut[49], 1000 * cut[98]


def mark(phase: str) -> None:
    """Tell the parent which phase begins."""
    sys.stdout.write(f"{phase}\n")
    sys.stdout.flush()


def memory(process: psutil.Process) -> float:
    """Of the endpoint itself, in MiB."""
    return float(process.memory_info().rss) / MEGABYTE


def main() -> None:
    """Measure and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    with TemporaryDirectory() as folder:
        state = StateFolder(Path(folder))
        serving_models.place(state, dense(), SLOT)
        with endpoint(state) as running:
            found = measured(running.rest, psutil.Process(running.process.pid), seconds)
    report(found, seconds)


def measured(address: str, process: psutil.Process, seconds: float) -> dict[str, Any]:
    """What the load's process saw, and the endpoint's memory meanwhile."""
    command = [sys.executable, __file__, "load", address, str(seconds)]
    used: dict[str, list[float]] = {"before": [], "overload": [], "after": []}
    phase = "before"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as loading:
        assert loading.stdout
        os.set_blocking(loading.stdout.fileno(), False)
        said, ended = "", False
        while said or not ended:
            # Asked before reading: what it said last lies there when it has ended.
            ended = loading.poll() is not None
            said = loading.stdout.readline()
            if said.strip() in used:
                phase = said.strip()
            elif said.startswith("{"):
                return {**json.loads(said), "memory": used}
            used[phase].append(memory(process))
            time.sleep(0.1)
    raise RuntimeError("the load ended without a word")


def report(found: dict[str, Any], seconds: float) -> None:
    """The table."""
    used = found["memory"]
    rows = (
        ("peak, 4 clients that wait", f"{found['peak']:.0f}/s"),
        (f"sent for {seconds:.0f} s", f"{found['rate']:.0f}/s, {found['unsent']} found no client"),
        ("answered", f"{found['good']:.0f}/s, {found['good'] / found['peak']:.0%} of the peak"),
        ("responses", ", ".join(f"{n} of {code}" for code, n in sorted(found["statuses"].items()))),
        ("answered after", "p50 {:.0f} ms, p99 {:.0f} ms".format(*found["answered_ms"])),
        ("refused after", "p50 {:.1f} ms, p99 {:.1f} ms".format(*found["refused_ms"])),
        ("usual again after", f"{found['recovered_s']:.2f} s"),
        ("one client alone", "p50 {:.1f} ms, p99 {:.1f} ms".format(*found["alone_ms"])),
        ("endpoint's memory before", f"{used['before'][-1]:.0f} MiB"),
        ("most during", f"{max(used['overload']):.0f} MiB"),
        ("after", f"{used['after'][-1]:.0f} MiB"),
    )
    sys.stdout.write(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors\n\n")
    sys.stdout.write("| | |\n|---|---|\n")
    sys.stdout.writelines(f"| {name} | {value} |\n" for name, value in rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        sys.stdout.write(json.dumps(uvloop.run(load(sys.argv[2], float(sys.argv[3])))) + "\n")
    else:
        main()

"""Clients that ask the tiny model all the time, in a process of their own, and check every answer.

`asking.py REST GRPC CLIENTS [THINK_S]`: half of the clients ask through `sealane.client`, half
through the stock gRPC client. The tiny model adds its version to what it computes, so an answer
tells who computed it. A line on stdin begins a phase of that name; the end of stdin ends all, and
what each phase saw is printed as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import tritonclient.grpc
from sealane.client import Client
from support.bundles import ROWS, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = "cam"
PRODUCT = ROWS[:1] @ WEIGHTS


class Seen:
    """What one phase saw."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.failed: list[str] = []
        self.wrong = 0
        self.backwards = 0
        self.versions: set[int] = set()

    def told(self) -> dict[str, Any]:
        """For the parent."""
        p50, p99 = np.quantile(self.times, (0.5, 0.99)) * 1e3 if self.times else (0.0, 0.0)
        return {
            "requests": len(self.times),
            "failed": self.failed[:5],
            "failures": len(self.failed),
            "wrong": self.wrong,
            "backwards": self.backwards,
            "versions": sorted(self.versions),
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "longest_ms": max(self.times, default=0.0) * 1e3,
        }


phases: dict[str, Seen] = defaultdict(Seen)
guard = threading.Lock()
now = {"phase": "begin"}
ended = threading.Event()


def rest(address: str) -> Callable[[], tuple[int, Any]]:
    client = Client(address)

    def ask() -> tuple[int, Any]:
        answer = client.infer(MODEL, {"x": ROWS[:1]})
        return answer.version, answer.outputs["y"]

    return ask


def grpc(address: str) -> Callable[[], tuple[int, Any]]:
    client = tritonclient.grpc.InferenceServerClient(address)

    def ask() -> tuple[int, Any]:
        given = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
        given.set_data_from_numpy(ROWS[:1])
        answer = client.infer(MODEL, [given])
        return int(answer.get_response().model_version), answer.as_numpy("y")

    return ask


def keep_asking(ask: Callable[[], tuple[int, Any]], think_s: float) -> None:
    newest = 0
    while not ended.is_set():
        phase, begun = now["phase"], time.perf_counter()
        try:
            version, answer = ask()
        except Exception as error:  # noqa: BLE001 - whatever a client raises is a failed request
            with guard:
                phases[phase].failed.append(f"{type(error).__name__}: {error}"[:200])
            continue
        took = time.perf_counter() - begun
        computed = round(float((answer - PRODUCT).mean()))
        with guard:
            seen = phases[phase]
            seen.times.append(took)
            seen.versions.add(version)
            seen.wrong += computed != version
            seen.backwards += version < newest
        newest = version
        if think_s:
            ended.wait(think_s)


def main() -> None:
    rest_address, grpc_address, clients = sys.argv[1:4]
    think_s = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    asks = [
        rest(rest_address) if number % 2 == 0 else grpc(grpc_address)
        for number in range(int(clients))
    ]
    threads = [threading.Thread(target=keep_asking, args=(ask, think_s)) for ask in asks]
    for thread in threads:
        thread.start()
    for line in sys.stdin:
        now["phase"] = line.strip()
        sys.stdout.write(f"{sum(len(seen.times) for seen in phases.values())}\n")
        sys.stdout.flush()
    ended.set()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps({name: seen.told() for name, seen in phases.items()}))


if __name__ == "__main__":
    main()

"""One Python client in a loop, in a process of its own: what a user of a library sees.

`serving_clients.py KIND ADDRESS MODEL ROW SECONDS` prints its figures as JSON. KIND is `http` or
`grpc` (the stock clients), `http-json` (for a peer that takes no bytes behind the JSON),
`http-memory` or `grpc-memory` (with the tensors in system shared memory, written and read anew at
each request), `sealane`, or `sealane-memory` (with the input written anew into memory that it
shares).
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from sealane.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable

WARM_UP = 50


def stock(kind: str, address: str, model: str, row: Any) -> Callable[[], Any]:
    """A call of the stock client."""
    if kind.startswith("http"):
        from tritonclient import http as library  # noqa: PLC0415 - one of the two
    else:
        from tritonclient import grpc as library  # noqa: PLC0415 - the other one
    client = library.InferenceServerClient(address)
    datatype = {"float32": "FP32", "uint8": "UINT8"}[row.dtype.name]
    if kind.endswith("memory"):
        return _through_memory((library, client), model, row, datatype)

    def ask() -> Any:
        given = library.InferInput("x", list(row.shape), datatype)
        given.set_data_from_numpy(row)
        return client.infer(model, [given]).as_numpy("y")

    def ask_in_json() -> Any:
        given = library.InferInput("x", list(row.shape), datatype)
        given.set_data_from_numpy(row, binary_data=False)
        wanted = library.InferRequestedOutput("y", binary_data=False)
        return client.infer(model, [given], outputs=[wanted]).as_numpy("y")

    return ask_in_json if kind == "http-json" else ask


def _through_memory(
    asked: tuple[Any, Any], model: str, row: Any, datatype: str
) -> Callable[[], Any]:
    from tritonclient.utils import shared_memory as memory  # noqa: PLC0415 - only for this kind

    library, client = asked
    key, answer_bytes = f"/sealane-bench-{os.getpid()}", 64 * 1024
    region = memory.create_shared_memory_region("both", key, row.nbytes + answer_bytes)
    atexit.register(memory.destroy_shared_memory_region, region)
    client.register_system_shared_memory("both", key, row.nbytes + answer_bytes)

    def ask() -> Any:
        memory.set_shared_memory_region(region, [row])
        given = library.InferInput("x", list(row.shape), datatype)
        given.set_shared_memory("both", row.nbytes)
        wanted = library.InferRequestedOutput("y")
        wanted.set_shared_memory("both", answer_bytes, offset=row.nbytes)
        said = client.infer(model, [given], outputs=[wanted]).get_output("y")
        shape = said["shape"] if isinstance(said, dict) else said.shape
        return memory.get_contents_as_numpy(region, np.float32, list(shape), row.nbytes)

    return ask


def thin(address: str, model: str, row: Any) -> Callable[[], Any]:
    """A call of `sealane.client`."""
    client = Client(address)
    return lambda: client.infer(model, {"x": row}).outputs["y"]


def thin_through_memory(address: str, model: str, row: Any) -> Callable[[], Any]:
    """The same with its input in memory that it shares."""
    client = Client(address)
    shared = client.shared(row.shape, row.dtype)

    def ask() -> Any:
        shared[:] = row
        return client.infer(model, {"x": shared}).outputs["y"]

    return ask


def main() -> None:
    """Ask in a loop."""
    kind, address, model, path, seconds = sys.argv[1:]
    row = np.load(path)
    kinds = {"sealane": thin, "sealane-memory": thin_through_memory}
    ask = kinds[kind](address, model, row) if kind in kinds else stock(kind, address, model, row)
    for _ in range(WARM_UP):
        answer = ask()
    times, begun, cpu = [], time.perf_counter(), time.process_time()
    end = begun + float(seconds)
    now = begun
    while now < end:
        before = now
        ask()
        now = time.perf_counter()
        times.append(now - before)
    p50, p99 = np.quantile(times, (0.5, 0.99)) * 1e6
    said = {
        "per_second": len(times) / (now - begun),
        "p50": p50,
        "p99": p99,
        "cpu": (time.process_time() - cpu) / len(times) * 1e6,
        "answer": answer.reshape(-1)[:3].tolist(),
    }
    sys.stdout.write(json.dumps(said))


main()

"""Sends real digits to every device with the stock client and writes down each answer.

A process of its own, as a camera's software would be. One line a request:
`seconds,device,version,outcome,microseconds` where outcome is ok, wrong or the error's first line.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
import tritonclient.grpc.aio as triton_grpc
import tritonclient.http.aio as triton_http

if TYPE_CHECKING:
    from typing import Any

TOLERANCE = 1e-3


class Answers:
    """What onnxruntime says in-process for every row, by release number."""

    def __init__(self, data: Path) -> None:
        with np.load(data) as arrays:
            self.rows = arrays["rows"]
            self._expected = {
                name.removeprefix("expected_"): arrays[name]
                for name in arrays.files
                if name.startswith("expected_")
            }

    def outcome(self, version: str, row: int, got: np.ndarray[Any, Any]) -> str:
        """`ok`, or `wrong` when the answer is not the one that this release gives in-process.

        A release that was never run in-process is `unchecked`.
        """
        if version not in self._expected:
            return "unchecked"
        want = self._expected[version][row]
        return "ok" if np.allclose(got[0], want, atol=TOLERANCE) else "wrong"


async def _infer(client: Any, protocol: Any, row: np.ndarray[Any, Any]) -> Any:
    tensor = protocol.InferInput("pixels", [1, row.size], "FP32")
    tensor.set_data_from_numpy(row[np.newaxis])
    return await client.infer("digits", [tensor])


def _version(result: Any) -> str:
    response = result.get_response()
    return str(response["model_version"] if isinstance(response, dict) else response.model_version)


async def drive(target: dict[str, str], answers: Answers, log: TextIO, pause_s: float) -> None:
    """Send one request after the other to one device until cancelled."""
    protocol = triton_grpc if target["protocol"] == "grpc" else triton_http
    client = protocol.InferenceServerClient(target["address"])
    try:
        for row in itertools.cycle(range(len(answers.rows))):
            began = time.perf_counter()
            try:
                result = await _infer(client, protocol, answers.rows[row])
                version = _version(result)
                outcome = answers.outcome(version, row, result.as_numpy("probabilities"))
            except Exception as error:  # noqa: BLE001 - whatever the client raises is a failed request
                version, outcome = "-", str(error).splitlines()[0].replace(",", ";")
            took = round((time.perf_counter() - began) * 1e6)
            log.write(f"{time.time():.6f},{target['device']},{version},{outcome},{took}\n")
            await asyncio.sleep(pause_s)
    finally:
        await client.close()


async def main() -> None:
    """Drive all devices until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--pause-ms", type=float, default=20)
    arguments = parser.parse_args()
    answers = Answers(arguments.data)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with arguments.log.open("w", buffering=1) as log:
        tasks = [
            asyncio.create_task(drive(target, answers, log, arguments.pause_ms / 1000))
            for target in json.loads(arguments.targets.read_text())
        ]
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())

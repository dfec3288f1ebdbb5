"""The load tool of the protocol's authors asks a real endpoint, in each way that it knows.

Optional, since it is a binary that `scripts/perf-analyzer` fetches: `pytest -m perf_analyzer` with
SEALANE_EXTENDED=1, as `.ci/extended` does.
"""

from __future__ import annotations

import csv
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from sealane.client import Client
from support.bundles import ROWS
from support.endpoints import COMMAND, SLOT, EndpointProcess, endpoint, lay_out

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.perf_analyzer,
    pytest.mark.skipif(
        not os.environ.get("SEALANE_EXTENDED"), reason="fetches a binary: set SEALANE_EXTENDED=1"
    ),
]

TOOL: Final = Path(__file__).parents[3] / "scripts" / "perf-analyzer"
_MEMORY: Final = ("--shared-memory=system", "--output-shared-memory-size=4096")
WAYS: Final = {
    "http": ("-i", "http"),
    "grpc": ("-i", "grpc"),
    "http, asynchronous": ("-i", "http", "--async"),
    "grpc, asynchronous": ("-i", "grpc", "--async"),
    "grpc, streaming": ("-i", "grpc", "--streaming"),
    "http, shared memory": ("-i", "http", *_MEMORY),
    "grpc, shared memory": ("-i", "grpc", *_MEMORY),
    "http, a rate of requests": ("-i", "http", "--request-rate-range=50"),
}  # fmt: skip
_OPEN: Final = ("env", "SEALANE_AGENT_ENDPOINT_SHARED_MEMORY=true", *COMMAND)
_LIMIT_S: Final = 120


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    with endpoint(lay_out(tmp_path_factory.mktemp("state"), 1), command=_OPEN) as running:
        with Client(running.rest) as client:
            client.infer(SLOT, {"x": ROWS})  # waits until the model is there
        yield running


@pytest.mark.parametrize("way", WAYS)
def test_the_load_tool_gets_its_answers_and_finds_its_statistics(
    served: EndpointProcess, way: str, tmp_path: Path
) -> None:
    options = WAYS[way]
    table = tmp_path / "table.csv"
    command = [
        str(TOOL), "-m", str(SLOT), "-u", served.grpc if "grpc" in options else served.rest,
        *options, "-b", "4", "-f", str(table), "--measurement-mode=count_windows",
        "--measurement-request-count=50", "--stability-percentage=999", "--max-trials=20",
    ]  # fmt: skip
    if "--request-rate-range=50" not in options:
        command.append("--concurrency-range=2")
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=_LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Successful request count" in done.stdout or "Request count" in done.stdout
    (row,) = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    assert float(row["Inferences/Second"]) > 0
    assert float(row["Server Compute Infer"]) > 0

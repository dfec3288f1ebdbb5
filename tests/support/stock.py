"""Runs a case of the stock client in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from support.endpoints import EndpointProcess

CLIENT = Path(__file__).parents[1] / "conformance" / "oip" / "stock_client.py"
ROWS = np.linspace(-2, 3, 12, dtype=np.float32).reshape(3, 4)


def ask(served: EndpointProcess, door: str, case: str) -> Any:
    address = served.rest if door == "http" else served.grpc
    done = subprocess.run(
        [sys.executable, CLIENT, door, address, case],
        capture_output=True,
        check=False,
        timeout=60,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

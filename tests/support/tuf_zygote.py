"""Runs the TUF adapter in a process of its own for each line of arguments, and says how it ended.

What the adapter imports is imported once, here: a fork costs milliseconds where a new interpreter
costs a third of a second. This process has one thread, so that forking it is safe.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback
from pathlib import Path

ADAPTER = runpy.run_path(str(Path(__file__).parents[1] / "conformance" / "tuf_client.py"))
CRASHED = 70


def _run(line: str) -> int:
    try:
        return int(ADAPTER["main"](json.loads(line)))
    except BaseException:  # noqa: BLE001 - whatever it is, this process ends with it
        traceback.print_exc()
        return CRASHED


def _serve() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(_run(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()

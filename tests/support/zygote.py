"""Runs each command line in a process of its own, forked from one that has its imports.

What an operator's command imports costs a second of a core, a fork costs milliseconds. Packets come
by standard input, a socket: a program with its words and environment as JSON, and four descriptors:
its input, output, errors, and where its number and then its status are written. This process
has one thread, so that forking it is safe; only commands that end are run here.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import traceback
from typing import Any, Final

PROGRAMS: Final = {
    "sealane": "sealane_manager.cli.main:main",
    "sealane-agent": "sealane_agent.cli.main:main",
}
PRELOADED: Final = (
    *("device", "release", "rollout", "quarantine", "audit", "alert", "sample"),
    *("bundle", "trust", "kit", "user", "init"),
)
AGENT_PRELOADED: Final = ("doctor", "enroll", "history", "import_kit", "rollback", "status")
PACKET_BYTES: Final = 65536
DESCRIPTORS: Final = 4


def _ended(program: str, words: list[str]) -> int:
    """The status of a program's `main`, as the interpreter makes one of how it ends."""
    sys.argv = words
    try:
        sys.exit(pkgutil.resolve_name(PROGRAMS[program])())
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        sys.stderr.write(f"{ended.code}\n")
    except BaseException:  # noqa: BLE001 - whatever it is, this process ends with it
        traceback.print_exc()
    return 1


def _run(order: dict[str, Any], descriptors: list[int]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *standard, told = descriptors
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.write(told, b"%d\n" % os.getpid())
    status = _ended(order["program"], order["words"])
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(told, b"%d\n" % status)
    os._exit(0)


def _serve(orders: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        packet, descriptors, _flags, _from = socket.recv_fds(orders, PACKET_BYTES, DESCRIPTORS)
        if not packet:
            return
        if os.fork() == 0:
            orders.close()
            _run(json.loads(packet), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


if __name__ == "__main__":
    for noun in PRELOADED:
        importlib.import_module(f"sealane_manager.cli.{noun}")
    for noun in AGENT_PRELOADED:
        importlib.import_module(f"sealane_agent.cli.{noun}")
    gc.freeze()
    _serve(socket.socket(fileno=os.dup(0)))

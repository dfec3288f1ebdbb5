"""Runs the command lines to their end, each in a process of its own that needs to import little."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Final

from demo_story.processes import BIN, Processes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from io import FileIO

ZYGOTE: Final = Path(__file__).with_name("zygote.py")
PATIENCE_S: Final = 120.0


@cache
def _zygote() -> socket.socket:
    """Where orders go, to one process for all of this one's tests; its end is this one's."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen([sys.executable, str(ZYGOTE)], stdin=its.fileno())
    its.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


class ForkedProcesses(Processes):
    """Those of a plant; its commands are forked from a process that has imported them."""

    def run(
        self, program: str, *arguments: str, typed: str = "", patience_s: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command line to its end, whatever that is; raises TimeoutExpired."""
        given = Given(self.environment, typed, patience_s or PATIENCE_S)
        return run(program, *arguments, given=given)


@dataclass(frozen=True, slots=True)
class Given:
    """What a command is given beside its words."""

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    typed: str = ""
    patience_s: float = PATIENCE_S


def run(
    program: str, *arguments: str, given: Given | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever that is; raises TimeoutExpired."""
    given = given or Given()
    words = (str(BIN / program), *arguments)
    order = {"program": program, "words": words, "environment": dict(given.environment)}
    with ExitStack() as stack:
        standard = [stack.enter_context(TemporaryFile("w+")) for _ in range(3)]
        typed, said, complained = standard
        typed.write(given.typed)
        typed.seek(0)
        reading, writing = os.pipe()
        told = stack.enter_context(os.fdopen(reading, "rb", buffering=0))
        try:
            descriptors = [*(each.fileno() for each in standard), writing]
            socket.send_fds(_zygote(), [json.dumps(order).encode()], descriptors)
        finally:
            os.close(writing)
        status = _status(told, words, given.patience_s)
        return subprocess.CompletedProcess(words, status, _read(said), _read(complained))


def _status(told: FileIO, words: Sequence[str], patience_s: float) -> int:
    process = int(told.readline())
    if not select.select([told], [], [], patience_s)[0]:
        os.kill(process, signal.SIGKILL)
        raise subprocess.TimeoutExpired(words, patience_s)
    return int(told.readline())


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()

"""Keeps the endpoint process: starts one when none listens, adopts one that does, starts it again.

The endpoint has a session of its own, so that nothing that ends the supervisor ends it; it goes on
serving until the supervisor is told to stop in the ordinary way.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane.limits import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sealane_agent.layout import StateFolder
    from sealane_agent.log import Log

START_DEADLINE_S: Final = 60.0
"""How long a new endpoint may take to listen."""

RESTART_FIRST_S: Final = 0.2
RESTART_MAX_S: Final = 10.0
"""Pauses before the endpoint is started again; doubled each time it dies young."""

YOUNG_S: Final = 30.0
"""An endpoint that dies before this age died young."""

SAME_PORTS_TRIES: Final = 3
"""Starts on the addresses that it had, before it takes free ports: something else may have them."""

STOP_DEADLINE_S: Final = 40.0
"""How long the endpoint may take to answer what is inside it when it is told to stop."""

LOG_BYTES: Final = 4 * MIB
"""The endpoint's log is put aside at a start when it is larger."""

LAST_WORDS_BYTES: Final = 4 * KIB
"""As much of the end of its log is read to see why the endpoint does not start."""

_POLL_S: Final = 0.05
_CREDENTIALS: Final = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class EndpointCommand:
    """How to start an endpoint.

    Attributes:
        arguments: the command line; True asks for the addresses that it had before.
        log: file for what it says.
    """

    arguments: Callable[[bool], Sequence[str]]
    log: Path


class Keeper:
    """The endpoint of one state folder."""

    def __init__(self, folder: StateFolder, command: EndpointCommand, log: Log) -> None:
        self._folder, self._command, self._log = folder, command, log
        self._complaint = ""
        self._child: subprocess.Popen[bytes] | None = None
        self._refusals = 0

    async def run(self, appeared: Callable[[], None]) -> None:
        """Until cancelled; `appeared` is called whenever an endpoint listens anew."""
        deaths = 0
        while True:
            pid = await self._adopt() or await self._start()
            began = time.monotonic()
            if pid is not None:
                self._complaint = ""
                appeared()
                await _gone(pid)
                appeared()
            self._reap()
            deaths = 0 if time.monotonic() - began > YOUNG_S else deaths + 1
            pause = min(RESTART_FIRST_S * 2 ** min(deaths, 10), RESTART_MAX_S)
            if pid is not None:
                self._log("endpoint died", pid=pid, again_in_s=round(pause, 1))
            await asyncio.sleep(pause)

    async def stop(self) -> None:
        """Let the endpoint answer what is inside it, then end it."""
        pid = await asyncio.to_thread(listener_pid, self._folder.control_socket)
        pid = pid or (self._child.pid if self._child else None)
        if pid is not None:
            await _end(pid)
        self._reap()

    async def _adopt(self) -> int | None:
        pid = await asyncio.to_thread(listener_pid, self._folder.control_socket)
        if pid is not None:
            self._log("endpoint adopted", pid=pid)
        return pid

    async def _start(self) -> int | None:
        fileio.make_folder(self._command.log.parent)
        if self._command.log.is_file() and self._command.log.stat().st_size > LOG_BYTES:
            fileio.rename(self._command.log, self._command.log.with_suffix(".log.1"))
        launching = asyncio.create_task(asyncio.to_thread(self._launch))
        try:
            self._child = await asyncio.shield(launching)
        except asyncio.CancelledError:
            self._child = await launching  # it is there all the same, for `stop` to end
            raise
        deadline = time.monotonic() + START_DEADLINE_S
        while self._child.poll() is None and time.monotonic() < deadline:
            pid = await asyncio.to_thread(listener_pid, self._folder.control_socket)
            if pid is not None:
                self._log("endpoint started", pid=pid)
                self._refusals = 0
                return pid
            await asyncio.sleep(_POLL_S)
        self._refusals += 1
        await _end(self._child.pid)
        await asyncio.to_thread(self._complain)
        return None

    def _launch(self) -> subprocess.Popen[bytes]:
        with self._command.log.open("ab") as log:
            return subprocess.Popen(
                list(self._command.arguments(self._refusals < SAME_PORTS_TRIES)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _complain(self) -> None:
        """Say why no endpoint starts, once for each reason: it is tried again and again."""
        reason, hint = _last_words(self._command.log)
        if reason != self._complaint:
            self._log("endpoint does not start", reason=reason, hint=hint, log=self._command.log)
        self._complaint = reason

    def _reap(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            self._child = None


def _last_words(log: Path) -> tuple[str, str]:
    """What the endpoint complained of before it ended, and what it said to do."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LAST_WORDS_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    words = {"error": lines[-1] if lines else "it ended without a word", "hint": ""}
    for line in lines[-2:]:
        kind, colon, text = line.partition(": ")
        if colon and kind in words:
            words[kind] = text
    return words["error"], words["hint"]


def listener_pid(path: Path) -> int | None:
    """The process that listens on a unix socket, as the kernel says; None when nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(os.fspath(path))
        except OSError:
            return None
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(raw)[0]
    return pid


async def _gone(pid: int) -> None:
    """Wait until a process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def _end(pid: int) -> None:
    for sign, patience in ((signal.SIGTERM, STOP_DEADLINE_S), (signal.SIGKILL, 5.0)):
        with suppress(ProcessLookupError):
            os.kill(pid, sign)
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await _gone(pid)
                return

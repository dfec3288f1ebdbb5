"""What a process tells the machine's service manager, and as whom it works in a service's folder.

systemd's notification protocol: one datagram of `NAME=value` lines to the socket that the
environment names. Without that variable nobody listens, and nothing is said.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping
    from pathlib import Path

_SOCKET: Final = "NOTIFY_SOCKET"
_PERIOD: Final = "WATCHDOG_USEC"
_WATCHED: Final = "WATCHDOG_PID"
_MICROSECONDS: Final = 1_000_000


class ServiceManager:
    """Who started this process, if it wants to hear from it.

    Attributes:
        patience_s: after so long without `alive` the process is ended; None when nobody waits.
    """

    def __init__(self, address: str = "", patience_s: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.patience_s = patience_s

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """As the environment says; takes it out there, so that no child speaks for this process."""
        address = environment.pop(_SOCKET, "")
        period = environment.pop(_PERIOD, "")
        watched = environment.pop(_WATCHED, str(os.getpid()))
        waits = period.isdigit() and watched == str(os.getpid())
        return cls(address, int(period) / _MICROSECONDS if waits else None)

    def ready(self) -> None:
        """The process does now what it is for."""
        self._tell("READY=1")

    def alive(self) -> None:
        """The process is well: it was looked at."""
        self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """The process ends, as it should."""
        self._tell("STOPPING=1")

    def status(self, line: str) -> None:
        """One line for people who ask the service manager."""
        self._tell(f"STATUS={line}")

    def _tell(self, word: str) -> None:
        if not self._address:
            return
        # A service manager that is busy or gone stops nobody from working.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.settimeout(0)
            line.sendto(word.encode(), self._address)


@contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """Within the block be who owns the folder, when root runs a command; raises OSError."""
    if os.geteuid() != 0 or not folder.is_dir() or (owner := folder.stat()).st_uid == 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def become_owner(folder: Path) -> None:
    """Go on as the user who owns the folder, when root runs a command in a service's folder.

    What root wrote there the service could neither read nor replace. Raises OSError.
    """
    if os.geteuid() != 0 or not folder.is_dir():
        return
    owner = folder.stat()
    if owner.st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)

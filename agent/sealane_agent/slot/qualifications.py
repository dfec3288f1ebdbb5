"""Keeps on the device which variant of a bundle won here, and for what hardware that holds.

Beside it, in memory alone, what the manager told last of other devices of the same class.
"""

from __future__ import annotations

import json
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from sealane_agent.facts import hardware
from sealane_agent.recollection import Recollection, with_one_more
from sealane_agent.slot.qualification import (
    Qualified,
    decode,
    key_of,
    told_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane.fleet import DeviceFacts, Winner
    from sealane.names import Digest

    from sealane_agent.layout import StateFolder
    from sealane_agent.log import Log
    from sealane_agent.slot.qualification import Hardware


class Qualifications:
    """Those of one state folder; whatever cannot be read or written is measured again.

    Its methods may be called from any thread.

    Attributes:
        facts: what the device is.
        look: says what measurements depend on, for so many processors; blocks.
    """

    def __init__(
        self,
        folder: StateFolder,
        facts: DeviceFacts,
        log: Log | None = None,
        look: Callable[[int], Hardware] = hardware,
    ) -> None:
        self.facts, self._folder, self._look = facts, folder, look
        self._file = Recollection(folder.qualified, log)
        self._lock = Lock()
        self._known: dict[str, Qualified] | None = None
        self._told: tuple[Winner, ...] = ()

    def hear(self, winners: tuple[Winner, ...]) -> None:
        """Take what others of its class measured, in place of what was told before."""
        self._told = winners

    def of(self, manifest: Digest) -> Qualified | None:
        """Which variant won here, else on such a device; as far as it holds for what this is now.

        Blocks.
        """
        key = self.hardware()
        with self._lock:
            found = self._read().get(manifest)
        if found is not None and found.key == key:
            return found
        return told_of(self._told, manifest, key)

    def keep(
        self, manifest: Digest, won: tuple[str, int], passed: tuple[tuple[str, str], ...]
    ) -> Qualified:
        """Remember the winner and its latency in microseconds; blocks."""
        qualified = Qualified(self.hardware(), *won, passed)
        with self._lock:
            self._known = with_one_more(self._read(), manifest, qualified)
            self._file.write(self._known)
        return qualified

    def hardware(self) -> str:
        """The class of devices that this one belongs to now; blocks."""
        return key_of(self._hardware(), self.facts)

    def _read(self) -> dict[str, Qualified]:
        """Once a process: what is damaged is told once."""
        if self._known is None:
            self._known = self._file.read(decode)
        return self._known

    def _hardware(self) -> Hardware:
        """The endpoint says how many processors its workers may use: its quota is its own.

        Before it has said so for the first time, those of this process are taken.
        """
        usable = self.facts.cpus
        with suppress(OSError, ValueError, KeyError, TypeError):
            usable = int(json.loads(self._folder.endpoint_addresses.read_bytes())["processors"])
        return self._look(usable)

"""Keeps the holds of a device: those in the journal, and those that live with a connection."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

from sealane_agent.errors import Refused
from sealane_agent.line.requests import concerning

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sealane_agent.line.requests import Ask
    from sealane_agent.slot.journal import Journal
    from sealane_agent.slot.state import Hold

MAX_HOLDS: Final = 64
"""On one device, kept and durable ones together."""


class Holds:
    """The holds of one device, from any thread; opening it reads the journal.

    `name` makes ids, `now` is trusted time. A hold counts from before it is durable until after
    its end is: whoever got an answer can rely on it.
    """

    def __init__(
        self, journal: Journal, now: Callable[[], datetime], name: Callable[[], str]
    ) -> None:
        self._journal, self._now, self._name = journal, now, name
        self._lock = Lock()
        self._durable = {hold.id: hold for hold in journal.holds()}
        self._kept: dict[str, Hold] = {}

    def all(self) -> tuple[Hold, ...]:
        """Every hold that has not ended."""
        now = self._now()
        with self._lock:
            found = (*self._durable.values(), *self._kept.values())
        return tuple(hold for hold in found if now < hold.until)

    def of(self, slot: str) -> tuple[Hold, ...]:
        """Those that hold a slot."""
        return concerning(self.all(), slot)

    def add(self, ask: Ask) -> Hold:
        """Hold from now on; raises Refused (too many) or DiskTrouble."""
        if len(self.all()) >= MAX_HOLDS:
            raise Refused(
                f"this device has {MAX_HOLDS} holds already", hint="release one of them first"
            )
        hold = ask.hold(self._name(), self._now())
        with self._lock:
            (self._kept if ask.kept else self._durable)[hold.id] = hold
        if not ask.kept:
            self._write(hold)
        return hold

    def end(self, name: str) -> bool:
        """End a hold; whether there was one. Raises DiskTrouble."""
        with self._lock:
            if self._kept.pop(name, None) is not None:
                return True
            known = name in self._durable
        if known:
            self._journal.release(name, self._now())
        with self._lock:
            self._durable.pop(name, None)
        return known

    def _write(self, hold: Hold) -> None:
        try:
            self._journal.hold(hold, self._now())
        except BaseException:
            with self._lock:
                self._durable.pop(hold.id, None)
            raise

"""Keeps the holds of a device: of the line, of the manager, and of connections while they live."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

from sealane.holds import concerning

from sealane_agent.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sealane.holds import Hold

    from sealane_agent.line.requests import Ask
    from sealane_agent.slot.journal import Journal

MAX_HOLDS: Final = 64
"""Of the line on one device, kept and durable ones together."""


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
        self._ordered = self._written = journal.ordered_holds()

    def all(self) -> tuple[Hold, ...]:
        """Every hold that has not ended."""
        now = self._now()
        with self._lock:
            found = (*self._durable.values(), *self._kept.values(), *self._ordered)
        return tuple(hold for hold in found if now < hold.until)

    def of(self, slot: str) -> tuple[Hold, ...]:
        """Those that hold a slot."""
        return concerning(self.all(), slot)

    def order(self, holds: tuple[Hold, ...]) -> bool:
        """Keep the manager's holds in place of its earlier ones; whether that is something new.

        Raises DiskTrouble; they hold then too, as long as this process lives.
        """
        with self._lock:
            self._ordered = holds
        if {*self._written} == {*holds}:
            return False
        self._journal.order_holds(holds)
        self._written = holds
        return True

    def add(self, ask: Ask) -> Hold:
        """Hold from now on; raises Refused (too many) or DiskTrouble."""
        with self._lock:
            ordered = frozenset(self._ordered)
        if len([hold for hold in self.all() if hold not in ordered]) >= MAX_HOLDS:
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
        """End a hold of the line; whether there was one. Raises DiskTrouble, or Refused."""
        with self._lock:
            if name in {hold.id for hold in self._ordered}:
                raise Refused(
                    f"the manager holds {name}", hint=f"end it there: sealane device release {name}"
                )
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

"""Reconciles one slot: observe, plan, act, again. Slots do not wait for each other."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane.errors import InvalidName, SealaneError
from sealane.policy import Commit

from sealane_agent.errors import JournalDamaged
from sealane_agent.layout import ACTIVE, LKG, Pointer
from sealane_agent.serving.messages import SlotStatus, Traffic
from sealane_agent.slot.going_back import by_operator, obstacle
from sealane_agent.slot.plan import plan, resumed
from sealane_agent.slot.reports import chosen, report, told, why_degraded
from sealane_agent.slot.state import ENDED, AskDocument, Enter, Observed, Rest, SlotRecord, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane.fleet import SlotReport
    from sealane.names import SlotName

    from sealane_agent.slot.actions import Hands, Tools
    from sealane_agent.slot.desires import Desires
    from sealane_agent.slot.state import Action

TICK_OPEN_S: Final = 0.25
TICK_IDLE_S: Final = 5.0
"""How often the world is looked at, with and without an open attempt."""

TICK_UNASKED_S: Final = 10.0
"""How long an answer may take before another document is asked for."""

TROUBLE_FIRST_S: Final = 0.25
TROUBLE_MAX_S: Final = 10.0
"""Pauses after an action that failed in no way that the table knows; doubled each time."""

STUCK_S: Final = 60.0
"""A loop that has not turned for so long is stuck, unless it acts."""

ACT_MAX_S: Final = 3600.0
"""No action takes longer; one that was cut off is resumed by the next process."""


_QUIET: Final = ENDED | {State.WAITING}


class SlotLoop:
    """One slot's loop.

    Attributes:
        report: what the slot does, as last seen.
        obeyed: set when the last order is in the journal, or void.
        needed: pointers that must stay loadable.
    """

    def __init__(self, slot: SlotName, tools: Tools, hands: Hands, desires: Desires) -> None:
        self.slot = slot
        self.obeyed = asyncio.Event()
        self._tools, self._hands, self._desires = tools, hands, desires
        self._bell = asyncio.Event()
        self._state: object = None
        self._requests, self._asked = -1, asyncio.get_running_loop().time()
        self._since = 0.0
        self._trouble = 0
        self._resumed, self._doubt = False, True
        self._acted: Action | None = None
        self._noticed: object = None
        self._turned, self._patience = asyncio.get_running_loop().time(), STUCK_S
        self.record = SlotRecord(slot)
        # Said in the first Hello, which does not wait for the first look.
        active, lkg = self._pointer(ACTIVE), self._pointer(LKG)
        self.seen = Observed(heard=False, active=active, lkg=lkg, serving=None)

    def ring(self) -> None:
        """Look again now."""
        self._bell.set()

    @property
    def stuck(self) -> bool:
        """Whether the loop has not turned for longer than what it does may take."""
        return asyncio.get_running_loop().time() - self._turned > self._patience

    @property
    def report(self) -> SlotReport:
        """What the slot does, as last seen."""
        return report(self.slot, self.record.attempt, self.seen, self._tools.now())

    async def run(self, ended: Callable[[], None], ask: Callable[[], None]) -> None:
        """Until cancelled; `ended` is called when an attempt has ended, `ask` for a document."""
        while True:
            self._bell.clear()
            self._turn(STUCK_S)
            try:
                pause = await self._step(ended, ask)
            except JournalDamaged:
                raise
            except (SealaneError, OSError, sqlite3.Error) as error:
                pause = self._troubled(error)
            if pause > 0:
                await self._rest(pause)

    async def _step(self, ended: Callable[[], None], ask: Callable[[], None]) -> float:
        """One look and one action; returns how long to rest then."""
        await self._look()
        action = self._planned()
        if isinstance(action, Rest):
            return self._tick()
        if isinstance(action, AskDocument):
            ask()
            return TICK_UNASKED_S
        self._turn(ACT_MAX_S)
        await self._hands.act(action, self.seen)
        self._resumed, self._trouble = True, 0
        if isinstance(action, Enter) and by_operator(action.attempt):
            self._answer()
        if isinstance(action, Enter) and action.attempt.state in ENDED:
            self.record = await asyncio.to_thread(self._tools.journal.read, self.slot)
            ended()
        repeated, self._acted = action == self._acted, action
        return TICK_OPEN_S if repeated else 0.0

    def _answer(self) -> None:
        """The order is in the journal, or there is nothing left that it could do."""
        self._desires.going_back.pop(self.slot, None)
        self.obeyed.set()

    def _turn(self, patience_s: float) -> None:
        self._turned, self._patience = asyncio.get_running_loop().time(), patience_s

    def _planned(self) -> Action:
        attempt = self.record.attempt
        if attempt is None or self._resumed or resumed(attempt) == attempt:
            self._resumed = True
        else:
            return Enter(resumed(attempt))
        if self.seen.go_back and obstacle(self.record, self.seen):
            self._answer()
        wanted = self._desires.wanted.get(self.slot)
        return plan(wanted, self.record, self.seen, self._tools.now())

    async def _look(self) -> None:
        self.record = await asyncio.to_thread(self._tools.journal.read, self.slot)
        active, lkg = await asyncio.to_thread(self._pointers)
        serving = await self._serving()
        self.seen = Observed(
            heard=self._desires.heard,
            active=active,
            lkg=lkg,
            serving=serving,
            in_state_s=self._in_state(),
            holds=self._tools.holds(self.slot),
            zone=self._tools.zone,
            boot=self._tools.speaker.boot,
            told=await self._told(),
            spare=await asyncio.to_thread(self._spare) if self.record.ordered else None,
            go_back=self._desires.going_back.get(self.slot),
            degraded=why_degraded(self.record, serving, active),
            chosen=chosen(self.record, serving, active),
        )
        self.seen = replace(self.seen, quiet_s=self._quiet())
        self._notice()

    def _notice(self) -> None:
        """Tell of what no transition tells: what serves, on what, and what the slot waits for."""
        now = told(self.report)
        if now != self._noticed:
            self._noticed = now
            self._tools.said()

    def _pointers(self) -> tuple[Pointer | None, Pointer | None]:
        folder = self._tools.folder.pointer(self.slot, ACTIVE).parent
        if self._doubt and folder.is_dir():
            # A flip that died or failed half way can be seen before it is durable.
            fileio.sync_folder(folder)
        self._doubt = False
        return self._pointer(ACTIVE), self._pointer(LKG)

    def _spare(self) -> Pointer | None:
        """What was kept before, while an endpoint could load it."""
        before = self.record.before.pointer if self.record.before else None
        here = before is not None and self._tools.folder.view(before.manifest).is_dir()
        return before if here else None

    def _pointer(self, which: str) -> Pointer | None:
        path = self._tools.folder.pointer(self.slot, which)
        try:
            return Pointer.decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, InvalidName) as error:
            self._tools.log("pointer damaged", slot=self.slot, path=path, reason=error)
            return None

    async def _serving(self) -> SlotStatus | None:
        try:
            slots = await self._tools.endpoint.status()
        except OSError:
            return None
        for status in slots:
            if status.slot == self.slot:
                return status
        return SlotStatus(self.slot, None, "", None, probation=False, standby=(), traffic=Traffic())

    async def _told(self) -> bool:
        """Whether the manager knows everything; asked for only where something depends on it."""
        attempt = self.record.attempt
        if attempt is None or attempt.policy.commit is Commit.LOCAL_HEALTH:
            return True
        return await asyncio.to_thread(self._tools.journal.pending) == 0

    def _quiet(self) -> float:
        """How long the slot's requests have not grown."""
        serving, now = self.seen.serving, asyncio.get_running_loop().time()
        requests = serving.traffic.requests if serving else -1
        if requests != self._requests:
            self._requests, self._asked = requests, now
        return now - self._asked

    def _in_state(self) -> float:
        attempt, now = self.record.attempt, asyncio.get_running_loop().time()
        state = (attempt.key, attempt.state, attempt.since) if attempt else None
        if state != self._state:
            self._state, self._since = state, now
        return now - self._since

    def _tick(self) -> float:
        attempt = self.record.attempt
        return TICK_IDLE_S if attempt is None or attempt.state in _QUIET else TICK_OPEN_S

    def _troubled(self, error: Exception) -> float:
        self._doubt = True
        pause: float = min(TROUBLE_FIRST_S * 2 ** min(self._trouble, 10), TROUBLE_MAX_S)
        self._trouble += 1
        if self._trouble == 1 or pause == TROUBLE_MAX_S:
            self._tools.log("trouble", slot=self.slot, kind=type(error).__name__, reason=error)
        return pause

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._bell.wait()
        except TimeoutError:
            return

"""All slots of one device: a loop for each, opened when it is first heard of."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.names import AGENT_SLOT

from sealane_agent.errors import Refused
from sealane_agent.slot.actions import Hands
from sealane_agent.slot.going_back import by_operator, leads_to, obstacle
from sealane_agent.slot.loop import SlotLoop
from sealane_agent.slot.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sealane.failure import Failure
    from sealane.fleet import SlotReport
    from sealane.names import SlotName

    from sealane_agent.slot.actions import Tools
    from sealane_agent.slot.desires import Desires
    from sealane_agent.slot.state import RollBack, SlotRecord
    from sealane_agent.tasks import Tasks

KNOWN_S: Final = 10.0
"""How long a first word may wait for the journal to say which slots there are."""

OBEYED_S: Final = 5.0
"""How long somebody at the device waits for an order; it stands while the slot is busy."""


@dataclass(frozen=True, slots=True)
class Upgrades:
    """How versions of the agent itself come.

    Attributes:
        tools: of the agent's slot.
        refusal: why none may come by a rollout; None when one may.
    """

    tools: Tools
    refusal: Failure | None = None


@dataclass(frozen=True, slots=True)
class Ears:
    """Who hears what a slot comes to.

    Attributes:
        ended: called when an attempt has ended.
        ask: called when a slot needs another document.
    """

    ended: Callable[[], None]
    ask: Callable[[], None]


class Slots:
    """The loops of one device's slots."""

    def __init__(
        self, tools: Tools, desires: Desires, ears: Ears, upgrades: Upgrades | None
    ) -> None:
        self._tools, self._desires, self._ears = tools, desires, ears
        self._upgrades = upgrades
        self._loops: dict[SlotName, SlotLoop] = {}
        self._known = threading.Event()
        self._tasks: Tasks | None = None

    async def begin(self, tasks: Tasks) -> None:
        """Open every slot that is known here, and later ones, as tasks of these."""
        self._tasks = tasks
        known = await asyncio.to_thread(self._tools.journal.slots)
        here = {*known, *self._tools.folder.slots()} - {AGENT_SLOT}
        for slot in (*here, *self._desires.wanted):
            self.open(slot)
        if self._upgrades is not None:
            self.open(AGENT_SLOT)
        self._known.set()

    def wait_known(self) -> None:
        """Block, not for long, until every slot is open that is known here; from any thread."""
        self._known.wait(KNOWN_S)

    def open(self, slot: SlotName) -> None:
        """Begin with a slot; it may be open already."""
        if slot in self._loops or self._tasks is None:
            return
        tools = self._tools
        if slot == AGENT_SLOT:
            if self._upgrades is None:
                return
            tools = self._upgrades.tools
        hands = Hands(slot, tools, self._desires.unwanted)
        loop = self._loops[slot] = SlotLoop(slot, tools, hands, self._desires)
        self._tasks.start(loop.run(self._ears.ended, self._ears.ask), slot)

    def look(self) -> None:
        """Look at every slot now."""
        for loop in self:
            loop.ring()

    def __iter__(self) -> Iterator[SlotLoop]:
        """Every open slot; from any thread."""
        return iter(tuple(self._loops.values()))

    def reports(self) -> tuple[SlotReport, ...]:
        """What every slot does."""
        return tuple(loop.report for loop in self)

    def stuck(self) -> tuple[str, ...]:
        """Slots whose loop has not turned for too long."""
        return tuple(loop.slot for loop in self if loop.stuck)

    def activating(self) -> tuple[str, ...]:
        """Slots in which a release is being activated, or on probation."""
        moving = {State.ACTIVATING, State.PROBATION}
        attempts = tuple((loop.slot, loop.record.attempt) for loop in self)
        return tuple(slot for slot, attempt in attempts if attempt and attempt.state in moving)

    async def roll_back(self, slot: SlotName, order: RollBack) -> Mapping[str, str]:
        """Let a slot go back; what served, what will, and the state in which the slot is by now.

        Raises Refused, DiskTrouble or JournalDamaged.
        """
        await asyncio.to_thread(self.wait_known)
        loop = self._loops.get(slot)
        if loop is None or slot == AGENT_SLOT:
            hint = "see `sealane-agent status`; versions of the agent go back by a rollout"
            raise Refused(f"there is no slot {slot} of a model here", hint=hint)
        record = await asyncio.to_thread(self._tools.journal.read, slot)
        why = obstacle(record, loop.seen) or await asyncio.to_thread(self._missing, record)
        if why:
            raise Refused(f"slot {slot} cannot go back: {why}", hint="see `sealane-agent history`")
        serves, leads = loop.seen.active, leads_to(record, loop.seen)
        await self._obeyed(loop, order)
        attempt = (await asyncio.to_thread(self._tools.journal.read, slot)).attempt
        begun = attempt is not None and by_operator(attempt)
        self._tools.log("rolled back at the device", slot=slot, owner=order.owner)
        return {
            "slot": slot,
            "from": str(serves.release) if serves else "",
            "to": str(leads.release) if leads else "",
            "state": str(attempt.state) if attempt is not None and begun else "ordered",
        }

    async def _obeyed(self, loop: SlotLoop, order: RollBack) -> None:
        """Order it, and wait for a while until it is in the journal."""
        loop.obeyed.clear()
        self._desires.going_back[loop.slot] = order
        loop.ring()
        with suppress(TimeoutError):
            async with asyncio.timeout(OBEYED_S):
                await loop.obeyed.wait()

    def _missing(self, record: SlotRecord) -> str:
        """Why what the slot goes back to cannot be loaded any more."""
        attempt, before = record.attempt, record.before
        if attempt is None or attempt.state is not State.COMMITTED or before is None:
            return ""
        if self._tools.folder.view(before.manifest).is_dir():
            return ""
        return f"{before.release}, the release before, is not here any more"

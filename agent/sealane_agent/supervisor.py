"""The supervisor: everything that one device does, except serving.

It hears director documents and kits, lets a loop for each slot bring about what they say, and
keeps the store small.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from sealane.errors import TrustError
from sealane.fleet import Hello, MetadataFile

from sealane_agent.cleaning import Cleaning
from sealane_agent.documents import Documents
from sealane_agent.errors import DiskTrouble
from sealane_agent.kit.intake import Intake
from sealane_agent.packages import agent_version
from sealane_agent.slot.desires import Desires
from sealane_agent.slot.slots import Ears, Slots
from sealane_agent.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sealane.audit.position import Position
    from sealane.fleet import Assignment, SlotReport
    from sealane.names import SlotName
    from sealane.trust.verifier import Accepted

    from sealane_agent.judge import Judge
    from sealane_agent.slot.actions import Tools
    from sealane_agent.slot.slots import Upgrades
    from sealane_agent.slot.state import RollBack


class Supervisor:
    """The session's `Device`, and the line's `Slots`."""

    def __init__(
        self,
        tools: Tools,
        verifier: Judge,
        ask: Callable[[], None],
        upgrades: Upgrades | None = None,
    ) -> None:
        self._tools, self._verifier = tools, verifier
        desires = Desires()
        self._documents = Documents(tools, desires, verifier.clock_offset, upgrades)
        self._desires = desires
        self._kits = Intake(tools, verifier, desires, self._documents.settle)
        self._cleaning = Cleaning(tools.staging.store, desires, self._clear_shelf, tools.log)
        self._slots = Slots(tools, desires, Ears(self._cleaning.soon, ask), upgrades)

    async def run(self) -> None:
        """Reconcile every known slot until cancelled; raises what broke a part of it."""
        tasks = Tasks()
        await self._slots.begin(tasks)
        tasks.start(self._cleaning.run(self._slots), "cleaning")
        tasks.start(self._kits.resume(self.import_kit), "kit")
        await tasks.hold()

    # The line's Slots

    def look(self) -> None:
        """Look at every slot now."""
        self._slots.look()

    def stuck(self) -> tuple[str, ...]:
        """Slots whose loop has not turned for too long."""
        return self._slots.stuck()

    def activating(self) -> tuple[str, ...]:
        """Slots in which a release is being activated, or on probation."""
        return self._slots.activating()

    async def roll_back(self, slot: SlotName, order: RollBack) -> Mapping[str, str]:
        """Let a slot go back; what served, what will, and the state in which the slot is by now.

        Raises Refused, DiskTrouble or JournalDamaged.
        """
        return await self._slots.roll_back(slot, order)

    async def import_kit(self) -> Mapping[str, str]:
        """Take up the kit on the shelf; each slot's release, or why it is refused.

        Raises Refused when the kit as a whole is, OSError or DiskTrouble.
        """
        await asyncio.to_thread(self._slots.wait_known)
        accepted = await self._kits.judged()
        self._take_up(accepted)
        try:
            await asyncio.to_thread(self._clear_shelf)  # what it brings may be here already
        except (OSError, DiskTrouble):
            self._cleaning.soon()
        self._tools.redial()
        return {
            item.slot: str(accepted.refused.get(item.slot, item.release))
            for item in accepted.document.slots
        }

    def health(self) -> Mapping[str, float | None]:
        """What only this process knows: how far the clock is ahead of the manager's time."""
        off = self._verifier.clock_offset()
        return {"clock_ahead_s": None if off is None else off.total_seconds()}

    # The session's Device

    def hello(self) -> Hello:
        """The first word; waits until every slot is known, since a manager may go by it."""
        self._slots.wait_known()
        facts = self._tools.staging.facts
        return Hello(
            agent_version=agent_version(),
            boot_id=self._tools.speaker.boot,
            facts=replace(facts, endpoint=self._tools.address()),
            slots=self.reports(),
            memory=self._verifier.memory(),
        )

    def reports(self) -> tuple[SlotReport, ...]:
        """What every slot does."""
        return self._slots.reports()

    def new_nonce(self) -> str:
        """A question that one document may answer."""
        return self._verifier.new_nonce()

    def seen(self) -> Position:
        """How much of the audit log was seen."""
        return self._verifier.seen()

    def hardware(self) -> str:
        """The class of devices that this one belongs to now."""
        won = self._tools.staging.qualifications
        return won.hardware() if won is not None else ""

    def files(self, above: Mapping[str, int]) -> Iterator[MetadataFile]:
        """What a manager that was put back from a backup may have lost: it verifies it itself."""
        yield from self._verifier.files(above)
        for loop in self._slots:
            for pointer in {each for each in (loop.seen.active, loop.seen.lkg) if each}:
                with suppress(OSError):
                    manifest = self._tools.staging.store.path(pointer.manifest).read_bytes()
                    yield MetadataFile(pointer.release.target_path, manifest)

    async def accept(self, answer: Assignment, nonce: str) -> bool:
        """Verify a document and take it up; what serves does not change when it is refused."""
        facts = self._tools.staging.facts
        try:
            accepted = await asyncio.to_thread(
                self._verifier.accept, answer.document, nonce, facts, answer.proof
            )
            await asyncio.to_thread(self._documents.settle, accepted)
        except TrustError as error:
            self._tools.log("document refused", step=error.step, reason=error, hint=error.hint)
            return False
        except Exception as error:  # noqa: BLE001 - whatever a hostile answer provokes, we go on
            self._tools.log("document not verified", kind=type(error).__name__, reason=error)
            return False
        if (won := self._tools.staging.qualifications) is not None:
            won.hear(answer.winners)
        self._take_up(accepted)
        return True

    def _take_up(self, accepted: Accepted) -> None:
        self._documents.take_up(accepted)
        for slot in self._desires.wanted:
            self._slots.open(slot)
        self._slots.look()

    def _clear_shelf(self) -> None:
        self._kits.clear([loop.slot for loop in self._slots])

"""Takes up the kit on the shelf as if its document had come over the wire, and lets it go later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sealane.errors import KitError, SealaneError, TrustError
from sealane.trust.steps import Step

from sealane_agent.errors import JournalDamaged, Refused
from sealane_agent.kit.shelf import opened
from sealane_agent.slot.state import ENDED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from sealane.kit.file import Kit
    from sealane.names import SlotName
    from sealane.trust.verifier import Accepted

    from sealane_agent.judge import Judge
    from sealane_agent.kit.shelf import Shelf
    from sealane_agent.slot.actions import Tools
    from sealane_agent.slot.desires import Desires

_MET: Final = "the device has met its manager, or taken up a later kit, since: export it again"

AGAIN_S: Final = 30.0
"""Pause before a kit that the disk did not let be taken up is tried again."""


def refused(error: KitError | TrustError) -> Refused:
    """What is said of a kit that is not taken up."""
    if not isinstance(error, TrustError):
        return Refused(f"the kit is refused: {error}", hint=error.hint)
    hint = _MET if error.step == Step.VERSION_FLOOR else error.hint
    return Refused(f"the kit is refused: {error} (step {error.step})", hint=hint)


class Intake:
    """The kits of one device.

    `settle` makes durable what a document says, as `Documents.settle`; it blocks.
    """

    def __init__(
        self, tools: Tools, judge: Judge, desires: Desires, settle: Callable[[Accepted], None]
    ) -> None:
        self._tools, self._judge, self._desires = tools, judge, desires
        self._settle, self._one = settle, asyncio.Lock()

    async def judged(self) -> Accepted:
        """What the kit that was brought last asks for, settled; it is fetched from now.

        Raises Refused when the kit as a whole is, and then it is gone, and one before it goes on;
        OSError or DiskTrouble when the disk is in the way, and then it stays.
        """
        shelf = self._tools.shelf
        async with self._one:
            path = await asyncio.to_thread(shelf.newest) if shelf else None
            if shelf is None or path is None:
                raise Refused("there is no kit on the shelf", hint="sealane-agent import KIT")
            try:
                return await asyncio.to_thread(self._taken_in, shelf, path)
            except (KitError, TrustError) as error:
                refusal = refused(error)
                self._tools.log("kit refused", reason=error, hint=refusal.hint)
                await asyncio.to_thread(shelf.drop, path)
                raise refusal from error

    async def resume(self, take_up: Callable[[], Awaitable[object]]) -> None:
        """What lay on the shelf when the process began is taken up, once the disk lets it."""
        shelf = self._tools.shelf
        while shelf is not None and shelf.kit is None and await asyncio.to_thread(shelf.has_one):
            try:
                await take_up()
            except JournalDamaged:
                raise
            except Refused:
                continue  # it is gone, and one before it may lie there
            except (OSError, SealaneError) as error:
                self._tools.log("kit not taken up", reason=error, hint="it is tried again")
                await asyncio.sleep(AGAIN_S)

    def clear(self, slots: Iterable[SlotName]) -> None:
        """Let the kit go unless something still comes, or shall come, from it to these slots.

        Blocks on the disk; raises OSError or DiskTrouble.
        """
        shelf = self._tools.shelf
        kit = shelf.kit if shelf is not None else None
        if shelf is None or kit is None:
            return  # one that is not judged yet is not done
        if not any(self._comes(slot, kit) for slot in slots):
            shelf.clear()
            self._tools.log("kit done", kit=kit.index.id)

    def _taken_in(self, shelf: Shelf, path: Path) -> Accepted:
        kit = opened(path)
        try:
            document = kit.document(self._tools.speaker.device)
            accepted = self._judge.accept_carried(document, kit, self._tools.staging.facts)
            self._settle(accepted)
            shelf.keep(path, kit)
        except BaseException:
            kit.close()
            raise
        self._tools.log("kit accepted", kit=kit.index.id, blobs=len(kit.index.blobs))
        return accepted

    def _comes(self, slot: SlotName, kit: Kit) -> bool:
        """Whether something of the kit is under way, or will be after what is under way."""
        attempt, wanted = self._tools.journal.read(slot).attempt, self._desires.wanted.get(slot)
        under_way = attempt is not None and attempt.state not in ENDED
        if under_way and attempt is not None and attempt.rollout == kit.index.id:
            return True
        if wanted is None or wanted.assignment.rollout != kit.index.id:
            return False
        return attempt is None or attempt.key != wanted.key

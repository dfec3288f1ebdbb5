"""What is wanted of the slots, as far as it was heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealane.names import Digest, SlotName

    from sealane_agent.slot.state import Attempt, RollBack, Wanted


class Desires:
    """What the director wants, as far as it was heard, and what somebody at the device orders.

    Written by the supervisor; a slot's loop takes away what it has done.
    """

    def __init__(self) -> None:
        self.heard = False
        self.wanted: dict[SlotName, Wanted] = {}
        self.ordered: frozenset[Digest] = frozenset()
        self.going_back: dict[SlotName, RollBack] = {}

    def unwanted(self, attempt: Attempt) -> bool:
        """Whether this attempt shall not go on; from any thread."""
        if attempt.manifest in self.ordered or attempt.slot in self.going_back:
            return True
        if not self.heard:
            return False
        wanted = self.wanted.get(attempt.slot)
        return wanted is None or wanted.refusal is not None or wanted.key != attempt.key

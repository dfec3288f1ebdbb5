"""The line's own software: it holds a slot for a batch, and lets it go when the batch is done."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.errors import SealaneError
from sealane_agent.line.requests import Ask
from support.agent_fakes import CAM

if TYPE_CHECKING:
    from sealane_agent.line.holds import Holds
    from support.crash_plant import Plant, Wish

LENGTH: Final = timedelta(minutes=10)
"""Of a hold whose answer was lost, and which nobody ends."""


@dataclass
class Press:
    """What it wants, and what it was told.

    Attributes:
        wishes: of the manager once the slot is held, the first of them for the slot.
        held: the hold that was acknowledged; empty before.
        asked: how often it asked for one.
        done: the hold was ended, and that was acknowledged.
    """

    wishes: tuple[Wish, ...]
    held: str = ""
    asked: int = 0
    done: bool = False

    def name(self) -> str:
        """What the agent calls the next hold."""
        self.asked += 1
        return f"h{self.asked}"

    def act(self, plant: Plant, holds: Holds) -> None:
        """Do the next thing; whatever was not acknowledged is asked for again."""
        with suppress(SealaneError, OSError):
            if not self.held:
                self.held = holds.add(Ask(CAM, "press 7", "batch 12", LENGTH)).id
                plant.endpoint.held.add(self.wishes[0].version)
                plant.want(*self.wishes)
            elif not self.done and plant.manager.states.get(CAM, ("", ""))[0] == "waiting":
                plant.endpoint.held.discard(self.wishes[0].version)
                holds.end(self.held)
                self.done = True

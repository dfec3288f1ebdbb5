"""What the supervisor needs of the endpoint: a seam, so that tests serve without processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sealane_agent.layout import Pointer
    from sealane_agent.serving.messages import Load, Proved, SlotStatus


class Endpoint(Protocol):
    """The endpoint's control socket; every method raises ConnectionError while nobody listens."""

    async def status(self) -> tuple[SlotStatus, ...]:
        """Every slot as it serves."""
        ...

    async def load(self, load: Load) -> Proved:
        """Start a standby worker and prove it; raises LoadFailed."""
        ...

    async def restore(self, slot: str, pointer: Pointer, deadline_s: float) -> Proved:
        """Start a standby worker of what was kept before; raises LoadFailed.

        What serves may end before it has loaded, and another variant may stand in for it.
        """
        ...

    async def activate(
        self, slot: str, worker: str, *, probation: bool, share: float = 1.0
    ) -> SlotStatus:
        """Send the slot's requests, or in probation a share of them, to this worker."""
        ...

    async def mirror(self, slot: str, worker: str) -> SlotStatus:
        """Give this standby copies of the slot's requests."""
        ...

    async def settle(self, slot: str) -> SlotStatus:
        """End the probation."""
        ...

    async def return_(self, slot: str) -> SlotStatus:
        """Send the slot's requests back to the previous worker."""
        ...

    async def drop(self, slot: str, worker: str) -> None:
        """Stop a standby worker."""
        ...

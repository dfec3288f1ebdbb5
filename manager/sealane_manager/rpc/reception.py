"""Lets devices in, and knows who speaks here and whom to tell that something changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sealane.names import parse_device

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from sealane_manager.desk import Desk
    from sealane_manager.identity.renewal import Renewal
    from sealane_manager.rpc.peers import Caller, Door

    Context = grpc.aio.ServicerContext[Any, Any]


class Reception:
    """Who may speak here, who does now, and whom to tell that something changed."""

    def __init__(self, door: Door, desk: Desk, renewal: Renewal, wake: Callable[[], None]) -> None:
        self.door, self.desk, self.renewal, self.wake = door, desk, renewal, wake
        self.sessions = renewal.sessions

    async def admit(self, context: Context) -> Caller:
        """The device that calls; raises NotAllowed."""
        caller = self.door.admit(context)
        await asyncio.to_thread(self.desk.admit, parse_device(caller.name), caller.shown)
        return caller

    async def admit_to_fetch(self, context: Context) -> Caller:
        """The device that calls with a key that counts; raises NotAllowed."""
        caller = await self.admit(context)
        await asyncio.to_thread(self.renewal.check, parse_device(caller.name), caller.shown)
        return caller

    async def admit_to_session(self, context: Context) -> Caller:
        """The same; a superseded key puts the device into quarantine."""
        caller = await self.admit(context)
        await asyncio.to_thread(self.renewal.meet, parse_device(caller.name), caller.shown)
        return caller

"""Devices of one class of hardware that stage the same bundle of several variants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane_agent.slot.state import State
from support.agent_fakes import CAM
from support.agent_site import Site

if TYPE_CHECKING:
    from pathlib import Path

    from sealane.fleet import Winner
    from sealane.names import SlotName
    from sealane.receipt import Receipt

ALL: Final = ["fp32", "fp16", "int8"]
LATENCY_US: Final = {"fp32": 3000, "fp16": 2000, "int8": 1000}


def a_site(root: Path) -> Site:
    """A device on which int8 is the fastest."""
    root.mkdir(parents=True, exist_ok=True)
    site = Site(root, variants=tuple(ALL))
    site.endpoint.latency_us = dict(LATENCY_US)
    return site


async def staged(site: Site, *told: Winner, slot: SlotName = CAM) -> tuple[list[str], Receipt]:
    """Which variants were loaded to serve version 1 in a slot, and the receipt for it."""
    site.endpoint.asked.clear()
    site.want(site.wish(1, slot))
    async with site.supervisor() as run:
        assert await run.hear(*told)
        await run.until(State.COMMITTED, slot)
        return [variant for variant, _ in site.endpoint.asked], run.receipts()[-1]

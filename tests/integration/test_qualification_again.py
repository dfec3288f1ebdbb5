"""A bundle of several variants that is staged again; endpoint and manager are simulated."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from sealane.failure import FailureKind
from sealane.limits import MIB
from sealane.names import SlotName
from sealane_agent.slot.state import State
from support.agent_fakes import failure
from support.agent_site import Site

if TYPE_CHECKING:
    from pathlib import Path

GATE, BELT, PRESS = SlotName("gate"), SlotName("belt"), SlotName("press")
ALL = ["fp32", "fp16", "int8"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path, variants=tuple(ALL))
    site.endpoint.latency_us = {"fp32": 3000, "fp16": 2000, "int8": 1000}
    return site


async def staged(site: Site, slot: SlotName) -> tuple[list[str], str]:
    """Which variants were loaded to serve version 1 in a slot, and which one does."""
    site.endpoint.asked.clear()
    site.want(site.wish(1, slot))
    async with site.supervisor() as run:
        assert await run.hear()
        await run.until(State.COMMITTED, slot)
        attempt = run.journal.read(slot).attempt
        assert attempt is not None
        assert attempt.choice is not None
        return [variant for variant, _ in site.endpoint.asked], attempt.choice.variant


def test_a_bundle_that_was_measured_is_proved_by_its_winner_alone(site: Site) -> None:
    async def story() -> None:
        assert await staged(site, GATE) == (ALL, "int8")
        assert await staged(site, BELT) == (["int8"], "int8")

    asyncio.run(story())


def test_a_winner_that_is_clearly_slower_now_is_compared_with_the_others(site: Site) -> None:
    async def story() -> None:
        await staged(site, GATE)
        site.endpoint.latency_us["int8"] = 2500
        assert await staged(site, BELT) == (["int8", "fp32", "fp16"], "fp16")

    asyncio.run(story())


def test_a_winner_that_fails_now_leaves_the_place_to_another(site: Site) -> None:
    async def story() -> None:
        await staged(site, GATE)
        site.endpoint.bad["int8"] = failure(FailureKind.PERMANENT)
        assert await staged(site, BELT) == (["int8", "fp32", "fp16"], "fp16")

    asyncio.run(story())


def test_with_other_processors_everything_is_measured_again(site: Site) -> None:
    async def story() -> None:
        await staged(site, GATE)
        site.folder.endpoint_addresses.parent.mkdir(exist_ok=True)
        site.folder.endpoint_addresses.write_text(json.dumps({"processors": 64}))
        assert await staged(site, BELT) == (ALL, "int8")

    asyncio.run(story())


def test_what_failed_for_a_reason_that_may_pass_settles_nothing(site: Site) -> None:
    async def story() -> None:
        site.endpoint.bad["int8"] = failure(FailureKind.ENVIRONMENTAL)
        assert await staged(site, GATE) == (ALL, "fp16")
        site.endpoint.bad.clear()
        assert await staged(site, BELT) == (ALL, "int8")

    asyncio.run(story())


@pytest.mark.parametrize("damage", [b"", b"\0garbage", b"[" * 10**6, b" " * (5 * MIB)])
def test_a_damaged_memory_costs_a_measurement_and_a_line(site: Site, damage: bytes) -> None:
    async def story() -> None:
        await staged(site, GATE)
        site.folder.qualified.write_bytes(damage)
        assert await staged(site, BELT) == (ALL, "int8")
        assert await staged(site, PRESS) == (["int8"], "int8")

    asyncio.run(story())
    assert [event for event, _ in site.lines.events].count("damaged file ignored") == 1

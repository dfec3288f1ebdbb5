"""What one device measured helps the next of its class; endpoint and manager are simulated."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sealane.failure import FailureKind
from sealane.names import SlotName
from sealane_manager.winners import winner_of
from support.agent_fakes import failure
from support.agent_site import Site
from support.classes import ALL, a_site, staged

if TYPE_CHECKING:
    from pathlib import Path

    from sealane.fleet import Winner


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return a_site(tmp_path / "second")


@pytest.fixture
def told(tmp_path: Path) -> Winner:
    """What the first device of the class measured."""

    async def story() -> Winner:
        asked, receipt = await staged(a_site(tmp_path / "first"))
        assert asked == ALL
        assert (receipt.measured_us, receipt.memory_bytes) == (1000, 1000)
        winner = winner_of(receipt)
        assert winner is not None
        return winner

    return asyncio.run(story())


def test_the_second_device_of_a_class_proves_the_winner_of_the_first_alone(
    site: Site, told: Winner
) -> None:
    async def story() -> None:
        asked, receipt = await staged(site, told)
        assert (asked, receipt.variant) == (["int8"], "int8")

    asyncio.run(story())


def test_what_a_device_was_only_told_it_neither_remembers_nor_tells_on(
    site: Site, told: Winner
) -> None:
    async def story() -> None:
        _, receipt = await staged(site, told)
        assert winner_of(receipt) is None
        assert not site.folder.qualified.exists()

    asyncio.run(story())


def test_a_winner_that_is_clearly_slower_here_is_compared_with_the_others(
    site: Site, told: Winner
) -> None:
    async def story() -> None:
        site.endpoint.latency_us["int8"] = 2500
        asked, receipt = await staged(site, told)
        assert (asked, receipt.variant) == (["int8", "fp32", "fp16"], "fp16")
        assert receipt.hardware == told.hardware

    asyncio.run(story())


def test_a_winner_that_does_not_prove_itself_here_leaves_the_place_to_another(
    site: Site, told: Winner
) -> None:
    async def story() -> None:
        site.endpoint.bad["int8"] = failure(FailureKind.PERMANENT)
        asked, receipt = await staged(site, told)
        assert (asked, receipt.variant) == (["int8", "fp32", "fp16"], "fp16")

    asyncio.run(story())


def test_what_a_device_measured_itself_counts_before_what_it_is_told_and_is_told_again(
    site: Site, told: Winner
) -> None:
    async def story() -> None:
        site.endpoint.latency_us = {"fp32": 500, "fp16": 2000, "int8": 1000}
        await staged(site)
        asked, receipt = await staged(site, told, slot=SlotName("belt"))
        assert (asked, receipt.variant) == (["fp32"], "fp32")
        again = winner_of(receipt)
        assert again is not None
        assert (again.hardware, again.variant) == (told.hardware, "fp32")

    asyncio.run(story())


def test_where_there_was_nothing_to_compare_nothing_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        _, receipt = await staged(Site(tmp_path))
        assert winner_of(receipt) is None

    asyncio.run(story())

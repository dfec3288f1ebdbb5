"""Somebody at the device goes back to the release before, in a supervisor with its real loops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sealane import fileio
from sealane.names import AGENT_SLOT, SlotName
from sealane_agent.errors import Refused
from sealane_agent.slot.loop import TICK_OPEN_S
from sealane_agent.slot.state import RollBack, State
from support.agent_fakes import CAM
from support.agent_site import Site, digest_of

if TYPE_CHECKING:
    from pathlib import Path

GATE = SlotName("gate")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def serve(site: Site, version: int) -> None:
    """Bring one version to the end, so that something serves."""
    site.want(site.wish(version))
    async with site.supervisor() as run:
        assert await run.hear()
        await run.settled((version, version))


ORDER = RollBack("press 7", "it misses scratches")


def test_somebody_at_the_device_goes_back_and_the_manager_does_not_fight_it(site: Site) -> None:
    async def story() -> None:
        await serve(site, 1)
        await serve(site, 2)
        async with site.supervisor() as run:
            await run.wait_for(lambda: "committed" in {it.state for it in run.supervisor.reports()})
            said = await run.supervisor.roll_back(CAM, ORDER)
            assert (said["from"], said["to"]) == ("demo/tiny@2", "demo/tiny@1")
            await run.settled((1, 1))
            await run.until(State.ROLLED_BACK)
            assert run.receipts()[-1].verdict == "rolled_back"
            assert await run.hear()
            await asyncio.sleep(TICK_OPEN_S)
            assert (site.pointers, run.state()) == ((1, 1), State.ROLLED_BACK)
            with pytest.raises(Refused, match="the manager alone"):
                await run.supervisor.roll_back(CAM, ORDER)
        async with site.supervisor() as run:
            assert await run.hear()
            await asyncio.sleep(TICK_OPEN_S)
            assert site.pointers == (1, 1)
        site.want(site.wish(2, rollout="another"))
        async with site.supervisor() as run:
            assert await run.hear()
            await run.settled((2, 2))

    asyncio.run(story())


def test_what_is_being_fetched_ends_at_once_when_somebody_goes_back(site: Site) -> None:
    async def story() -> None:
        await serve(site, 1)
        site.want(site.wish(2))
        site.blobs.breaks = [0] * 10_000
        async with site.supervisor() as run:
            assert await run.hear()
            await run.until(State.FETCHING)
            said = await run.supervisor.roll_back(CAM, ORDER)
            assert said["to"] == "demo/tiny@1"
            await run.until(State.FAILED)
            assert site.pointers == (1, 1)

    asyncio.run(story())


def test_a_release_before_whose_files_are_gone_is_not_gone_back_to(site: Site) -> None:
    async def story() -> None:
        await serve(site, 1)
        await serve(site, 2)
        fileio.remove_tree(site.folder.view(digest_of(site, 1)))
        async with site.supervisor() as run:
            await run.wait_for(lambda: "committed" in {it.state for it in run.supervisor.reports()})
            with pytest.raises(Refused, match="not here any more"):
                await run.supervisor.roll_back(CAM, ORDER)

    asyncio.run(story())


def test_slots_that_are_not_there_are_refused(site: Site) -> None:
    async def story() -> None:
        async with site.supervisor() as run:
            for slot in (GATE, AGENT_SLOT):
                with pytest.raises(Refused, match="there is no slot"):
                    await run.supervisor.roll_back(slot, ORDER)

    asyncio.run(story())

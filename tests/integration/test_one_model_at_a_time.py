"""A supervisor on a device with memory for one model a slot; endpoint and manager are simulated."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.failure import FailureKind
from sealane.fleet import SlotReport
from sealane.holds import Hold
from sealane.policy import Policy
from sealane.receipt import SERVING
from sealane_agent.serving.messages import MEMORY, GivesWay
from sealane_agent.slot.state import State
from support.agent_fakes import CAM, failure
from support.agent_site import Site

if TYPE_CHECKING:
    from pathlib import Path

    from sealane.trust.documents import SlotAssignment

ALLOWED = Policy(interrupts=True)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def wish(site: Site, version: int, policy: Policy) -> SlotAssignment:
    return replace(site.wish(version), policy=policy)


async def serve(site: Site, version: int) -> None:
    """Bring one version to the end, and let there be no room beside it."""
    site.want(site.wish(version))
    async with site.supervisor() as run:
        assert await run.hear()
        await run.settled((version, version))
        await run.until(State.COMMITTED)
    site.endpoint.crowded.add(CAM)
    site.endpoint.asked.clear()


def test_without_permission_the_release_fails_and_what_serves_is_not_touched(site: Site) -> None:
    async def story() -> None:
        await serve(site, 1)
        site.want(site.wish(2))
        async with site.supervisor() as run:
            assert await run.hear()
            await run.until(State.FAILED)
            record = run.journal.read(CAM)
            assert record.attempt is not None
            assert record.attempt.failure is not None
            assert record.attempt.failure.kind is FailureKind.ENVIRONMENTAL
            assert record.quarantined == {}
            await run.settled((1, 1))
        assert [way for _, way in site.endpoint.asked] == [GivesWay.IDLE]

    asyncio.run(story())


def test_with_permission_it_takes_the_place_of_what_serves_and_the_gap_is_told(site: Site) -> None:
    async def story() -> None:
        await serve(site, 1)
        site.want(wish(site, 2, ALLOWED))
        async with site.supervisor() as run:
            assert await run.hear()
            await run.settled((2, 2))
            assert run.receipts()[-1].verdict == SERVING
            told = [
                item.body.failure.message
                for item in run.journal.events(0)
                if isinstance(item.body, SlotReport) and item.body.state == State.PROBATION
                if item.body.failure is not None
            ]
        assert told == ["nobody served for 0.7 s: there was no memory for two models"]
        assert [way for _, way in site.endpoint.asked] == [GivesWay.IDLE, GivesWay.SERVING]

    asyncio.run(story())


def test_it_waits_while_a_hold_forbids_the_interruption(site: Site) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    hold = Hold("m-1", "", "ada", "the plant is audited", until)

    async def story() -> None:
        await serve(site, 1)
        site.want(wish(site, 2, ALLOWED), holds=(hold,))
        async with site.supervisor() as run:
            assert await run.hear()
            await run.wait_for(lambda: len(site.endpoint.asked) > 1)
            assert run.state() is State.FETCHING
            assert {way for _, way in site.endpoint.asked} == {GivesWay.IDLE}
            assert run.serving() == 1
            site.want(wish(site, 2, ALLOWED), holds=())
            assert await run.hear()
            await run.settled((2, 2))

    asyncio.run(story())


def test_what_does_not_even_fit_alone_fails_instead_of_waiting_for_another_window(
    site: Site,
) -> None:
    async def story() -> None:
        await serve(site, 1)
        no_room = failure(FailureKind.ENVIRONMENTAL, MEMORY, "it needs 99 GiB")
        site.endpoint.bad["onnx-fp32"] = replace(no_room, element="onnx-fp32")
        site.endpoint.crowded.clear()
        site.want(wish(site, 2, ALLOWED))
        async with site.supervisor() as run:
            assert await run.hear()
            await run.until(State.FAILED)
            attempt = run.journal.read(CAM).attempt
            assert attempt is not None
            assert attempt.failure is not None
            assert attempt.failure.message == (
                "not even without what serves in its slot: it needs 99 GiB"
            )
            assert run.serving() == 1

    asyncio.run(story())

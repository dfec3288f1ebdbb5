"""A supervisor that hears that a quarantine was lifted, with its real journal, store and loops."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sealane.holds import Hold
from sealane.trust.documents import Quarantined
from sealane_agent.slot.state import State
from support.agent_site import Site, digest_of

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_still_wanted_when_its_quarantine_is_lifted_is_taken_up_within_holds(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    away = (Quarantined(digest_of(site, 2), "wrong labels"),)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    hold = Hold("m-1", "", "ada", "the plant is audited", until)

    async def story() -> None:
        site.want(site.wish(1))
        async with site.supervisor() as run:
            assert await run.hear()
            await run.settled((1, 1))
            site.want(site.wish(2), quarantined=away)
            assert await run.hear()
            await run.until(State.QUARANTINED)
        async with site.supervisor() as run:
            site.want(site.wish(2), quarantined=(), holds=(hold,))
            assert await run.hear()
            await run.until(State.WAITING)
            assert (site.pointers, run.serving()) == ((1, 1), 1)
            told = run.states()
            assert told[told.index("quarantined") + 1 :][:2] == ["idle", "accepted"]
            site.want(site.wish(2), quarantined=(), holds=())
            assert await run.hear()
            await run.settled((2, 2))

    asyncio.run(story())


def test_a_slot_whose_release_served_on_says_so_no_more_and_goes_on(tmp_path: Path) -> None:
    site = Site(tmp_path)
    away = (Quarantined(digest_of(site, 1), "wrong labels"),)

    async def story() -> None:
        site.want(site.wish(1))
        async with site.supervisor() as run:
            assert await run.hear()
            await run.settled((1, 1))
            site.want(quarantined=away)
            assert await run.hear()
            await run.until(State.QUARANTINED)
            (said,) = run.supervisor.reports()
            assert said.failure is not None
            site.want(quarantined=())
            assert await run.hear()
            await run.until(State.IDLE)
            await run.settled((1, 1))
            (said,) = run.supervisor.reports()
            assert (said.state, said.failure) == (State.IDLE, None)
            assert said.active_release == str(site.wish(1).release)

    asyncio.run(story())

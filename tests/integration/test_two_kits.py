"""A kit that comes while another one is being taken in, with real journal, store and loops."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.kit.index import Index
from sealane.policy import ANY_TIME, Policy
from sealane.windows import parse_window
from sealane_agent.errors import Refused
from sealane_agent.kit.shelf import Shelf
from sealane_agent.slot.state import State
from sealane_agent.store import Store
from support.agent_fakes import CAM
from support.agent_site import DEVICE, Run, Site

if TYPE_CHECKING:
    from pathlib import Path

HOUR = (datetime.now(UTC).hour + 12) % 24
CLOSED = Policy(download=((parse_window(f"daily {HOUR:02}:00-{HOUR:02}:30"),),))
"""Nothing is fetched now."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def kit_of(site: Site, name: str, version: int, policy: Policy = ANY_TIME) -> bytes:
    """A kit that brings a version, and that the device's verifier accepts."""
    asked = replace(site.wish(version, rollout=name), policy=policy)
    site.want(asked)
    assert site.judge.accepted is not None
    site.judge.carried[name.encode()] = site.judge.accepted
    layers = {each.digest for each in site.bundle(version).layers}
    blobs = {each: site.blobs.contents[each] for each in sorted(layers)}
    sizes = {each: len(content) for each, content in blobs.items()}
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    index = Index(name, "plant", until, {DEVICE: len(name)}, {}, sizes)
    return index.encode() + name.encode() + b"".join(blobs.values())


def put(site: Site, kit: bytes, stick: Path) -> None:
    """Copied to the shelf; nobody has judged it."""
    stick.write_bytes(kit)
    with stick.open("rb") as file:
        Shelf(site.folder).put(file, DEVICE, Store(site.folder))


async def imported(site: Site, run: Run, kit: bytes, stick: Path) -> None:
    """As `sealane-agent import` does."""
    put(site, kit, stick)
    await run.supervisor.import_kit()


async def begun(site: Site, run: Run, stick: Path) -> None:
    """Version 1 serves, and a kit with version 2 waits for its window; there is no other source."""
    site.want(site.wish(1))
    assert await run.hear()
    await run.settled((1, 1))
    site.blobs.breaks = [0] * 1000
    await imported(site, run, kit_of(site, "kit-1", 2, CLOSED), stick)
    await run.until(State.FETCHING)


def test_a_later_kit_takes_the_place_of_one_whose_release_is_under_way(
    site: Site, tmp_path: Path
) -> None:
    async def story() -> None:
        async with site.supervisor() as run:
            await begun(site, run, tmp_path / "stick")
            await imported(site, run, kit_of(site, "kit-2", 3), tmp_path / "stick")
            await run.settled((3, 3))
            assert run.receipts()[-1].rollout == "kit-2"
            await run.wait_for(lambda: not any(site.folder.kit.parent.iterdir()))

    asyncio.run(story())


def test_a_kit_that_is_refused_costs_the_one_before_it_nothing(site: Site, tmp_path: Path) -> None:
    async def story() -> None:
        stick = tmp_path / "stick"
        async with site.supervisor() as run:
            await begun(site, run, stick)
            older = kit_of(site, "kit-0", 3)
            del site.judge.carried[b"kit-0"]
            with pytest.raises(Refused, match="the kit is refused: it is an older one"):
                await imported(site, run, older, stick)
            assert [each.name for each in site.folder.kit.parent.iterdir()] == ["kit"]
            assert run.state(CAM) is State.FETCHING
            put(site, older, stick)
        # The process died before it judged that one.
        kit_of(site, "kit-1", 2)
        async with site.supervisor() as run:
            await run.settled((2, 2))
            assert run.receipts()[-1].rollout == "kit-1"
            await run.wait_for(lambda: not any(site.folder.kit.parent.iterdir()))

    asyncio.run(story())

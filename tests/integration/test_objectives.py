"""What a device serves of a bundle that says by what to choose; its endpoint is simulated."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from sealane.bundle.types import Measure, Objective
from sealane.limits import MIB
from sealane.names import SlotName
from sealane_agent.cli.status import slot_lines
from sealane_agent.overview import slot_overview
from sealane_agent.serving.messages import Bar
from sealane_agent.slot.journal import Journal
from support.agent_fakes import CAM
from support.classes import ALL, a_site, staged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.agent_site import Site

GATE = SlotName("gate")
LATENCY, MEMORY = Objective(), Objective(Measure.MEMORY)
THROUGHPUT = Objective(Measure.THROUGHPUT)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A device on which another variant is the best by each objective."""
    site = a_site(tmp_path)
    site.endpoint.measured = {
        "fp32": {"rows_per_s": 4000.0, "memory_bytes": 90 * MIB, "p95_us": 3500},
        "fp16": {"rows_per_s": 3000.0, "memory_bytes": 40 * MIB, "p95_us": 2500},
        "int8": {"rows_per_s": 2000.0, "memory_bytes": 60 * MIB, "p95_us": 1500},
    }
    return site


@contextmanager
def told(site: Site) -> Iterator[list[str]]:
    """What `sealane-agent status` says of the slot."""
    journal = Journal(site.folder.journal)
    try:
        status = site.endpoint.statuses[CAM]
        yield slot_lines(slot_overview(site.folder, journal, CAM, status))
    finally:
        journal.close()


@pytest.mark.parametrize(
    ("objective", "wins", "says"),
    [
        (LATENCY, "int8", "lowest latency of 3: 1 ms"),
        (THROUGHPUT, "fp32", "highest throughput of 3: 4,000.0 rows/s"),
        (MEMORY, "fp16", "least memory of 3: 40 MiB"),
        (
            Objective(Measure.THROUGHPUT, 3),
            "fp16",
            "highest throughput of 3 within 3 ms: 3,000.0 rows/s",
        ),
        (Objective(Measure.MEMORY, 1), "int8", "closest to 1 ms, of 3 that miss it: p95 1.5 ms"),
    ],
)
def test_the_best_by_the_bundles_objective_serves_and_the_device_says_why(
    site: Site, objective: Objective, wins: str, says: str
) -> None:
    site.objective = objective
    asked, receipt = asyncio.run(staged(site))
    assert (asked, receipt.variant) == (ALL, wins)
    with told(site) as lines:
        assert [line for line in lines if line.startswith(f"  variant   {wins}, {says}")]


def test_each_variant_has_to_beat_the_best_one_before_it(site: Site) -> None:
    asyncio.run(staged(site))
    assert site.endpoint.bars == [Bar(), Bar(3000), Bar(2000)]


def test_what_was_given_up_is_never_chosen(site: Site) -> None:
    site.endpoint.measured["int8"] |= {"given_up": True}
    asked, receipt = asyncio.run(staged(site))
    assert (asked, receipt.variant) == (ALL, "fp16")


def test_a_winner_by_one_objective_is_not_remembered_for_another(site: Site) -> None:
    async def story() -> None:
        await staged(site)
        site.objective = MEMORY
        asked, receipt = await staged(site, slot=GATE)
        assert (asked, receipt.variant) == (ALL, "fp16")
        site.objective = LATENCY
        asked, receipt = await staged(site, slot=SlotName("belt"))
        assert (asked, receipt.variant) == (["int8"], "int8")

    asyncio.run(story())


def test_a_winner_that_is_proved_alone_says_where_it_won(site: Site) -> None:
    async def story() -> None:
        await staged(site, slot=GATE)
        asked, _ = await staged(site)
        assert asked == ["int8"]

    asyncio.run(story())
    with told(site) as lines:
        assert "  variant   int8, it won here before: 1 ms" in lines


def test_what_an_agent_remembers_that_ranked_by_latency_alone_is_measured_anew(
    site: Site,
) -> None:
    async def story() -> None:
        site.objective = MEMORY
        await staged(site)
        known = json.loads(site.folder.qualified.read_bytes())
        for each in known.values():
            each |= {"key": sha256(b"of an earlier version").hexdigest(), "variant": "int8"}
        site.folder.qualified.write_text(json.dumps(known))
        asked, receipt = await staged(site, slot=GATE)
        assert (asked, receipt.variant) == (ALL, "fp16")

    asyncio.run(story())


def test_a_winner_that_misses_its_limit_now_is_compared_again(site: Site) -> None:
    async def story() -> None:
        site.objective = Objective(Measure.MEMORY, 3)
        await staged(site)
        site.endpoint.measured["fp16"] |= {"p95_us": 3100}
        asked, receipt = await staged(site, slot=GATE)
        assert (asked, receipt.variant) == (["fp16", "fp32", "int8"], "int8")

    asyncio.run(story())

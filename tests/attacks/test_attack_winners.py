"""What is told of other devices is signed by nobody: it may say where to begin, and no more."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sealane.failure import FailureKind
from sealane.fleet import Winner
from sealane.limits import MEASURED_US
from sealane_agent.facts import hardware
from sealane_agent.slot.qualification import key_of
from support.agent_fakes import failure
from support.agent_site import FACTS
from support.classes import ALL, a_site, staged

if TYPE_CHECKING:
    from pathlib import Path

    from support.agent_site import Site

SLOWEST = "fp32"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return a_site(tmp_path)


def lie(site: Site) -> Winner:
    """The slowest variant is told to have won, on this very class."""
    return Winner(key_of(hardware(FACTS.cpus), FACTS), site.bundle(1).digest, SLOWEST, 3000)


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "of-another-bundle"},
        {"variant": "../other"},
        {"variant": ""},
        {"latency_us": 0},
        {"latency_us": MEASURED_US + 1},
        {"latency_us": 2**64 - 1},
        {"hardware": "c" * 64},
        {"hardware": ""},
        {"manifest": "sha256:" + "f" * 64},
    ],
)
def test_a_winner_that_cannot_be_or_is_of_another_class_changes_nothing(
    site: Site, changes: dict[str, object]
) -> None:
    async def story() -> None:
        told = replace(lie(site), **changes)  # type: ignore[arg-type]  # fields by name
        asked, receipt = await staged(site, told)
        assert (asked, receipt.variant) == (ALL, "int8")

    asyncio.run(story())


def test_a_winner_that_is_told_to_be_faster_than_it_is_costs_a_measurement_of_all(
    site: Site,
) -> None:
    async def story() -> None:
        asked, receipt = await staged(site, replace(lie(site), latency_us=1))
        assert (asked, receipt.variant) == (ALL, "int8")

    asyncio.run(story())


def test_at_worst_another_variant_that_proved_itself_serves_and_nobody_is_told_on(
    site: Site,
) -> None:
    async def story() -> None:
        asked, receipt = await staged(site, lie(site))
        assert (asked, receipt.variant) == ([SLOWEST], SLOWEST)
        assert receipt.hardware == ""
        assert not site.folder.qualified.exists()

    asyncio.run(story())


def test_no_word_of_others_makes_a_variant_serve_that_misses_its_golden_outputs(
    site: Site,
) -> None:
    async def story() -> None:
        site.endpoint.bad[SLOWEST] = failure(FailureKind.PERMANENT)
        asked, receipt = await staged(site, lie(site))
        assert (asked, receipt.variant) == (ALL, "int8")

    asyncio.run(story())

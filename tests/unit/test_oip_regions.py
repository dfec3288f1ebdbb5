"""Whose shared memory a connection may name: its own, and what its user registered elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from sealane.shared_memory import SharedRegion
from sealane_agent.oip.regions import REGIONS, Regions
from sealane_agent.serving.types import InvalidInference, ModelUnknown, NotAllowed

if TYPE_CHECKING:
    from sealane_agent.oip.regions import Region

ME, SOMEBODY = os.getuid(), os.getuid() + 1
USERS: dict[str, int | None] = {"one": ME, "two": ME, "other": SOMEBODY, "far": None}


def registered(regions: Regions, memory: SharedRegion, client: str = "one") -> Region:
    regions.register(client, "r", (f"/{memory.name}", 0, memory.byte_size))
    return regions.find(client, "r")


def test_other_connections_of_the_same_user_may_name_it_and_nobody_else() -> None:
    regions, memory = Regions(USERS.get, allowed=True), SharedRegion(64)
    region = registered(regions, memory)
    assert regions.find("two", "r") is region
    assert regions.status("two") == ()
    for client in ("other", "far"):
        with pytest.raises(ModelUnknown):
            regions.find(client, "r")
    regions.unregister("two")
    assert regions.find("two", "r") is region
    regions.unregister("one")
    with pytest.raises(ModelUnknown):
        regions.find("two", "r")


def test_a_region_outlives_its_connection_as_long_as_its_file_has_a_name() -> None:
    regions, memory = Regions(USERS.get, allowed=True), SharedRegion(64)
    region = registered(regions, memory)
    regions.leave("one")
    assert regions.find("two", "r") is region
    with pytest.raises(ModelUnknown):
        regions.find("other", "r")
    memory.forget()
    with pytest.raises(ModelUnknown):
        regions.find("two", "r")


def test_of_those_that_were_left_a_user_keeps_the_youngest() -> None:
    regions, memory = Regions(USERS.get, allowed=True), SharedRegion(64)
    for number in range(REGIONS + 1):
        regions.register("one", str(number), (f"/{memory.name}", 0, 64))
        regions.leave("one")
    assert regions.find("two", str(REGIONS)).name == str(REGIONS)
    with pytest.raises(ModelUnknown):
        regions.find("two", "0")


def test_what_a_connection_registered_itself_comes_before_what_its_user_did() -> None:
    regions, first, second = Regions(USERS.get, allowed=True), SharedRegion(8), SharedRegion(8)
    registered(regions, first)
    assert registered(regions, second, "two").key == f"/{second.name}"
    assert regions.find("one", "r").key == f"/{first.name}"


def test_bytes_that_are_held_stay_while_the_next_ones_are_read() -> None:
    regions, memory = Regions(USERS.get, allowed=True), SharedRegion(64)
    region = registered(regions, memory)
    memory.content[:] = 1
    held = region.read(0, 64)
    memory.content[:] = 2
    assert bytes(region.read(0, 64)) == b"\x02" * 64
    assert bytes(held) == b"\x01" * 64
    with pytest.raises(InvalidInference, match="were named"):
        region.read(1, 64)


def test_a_file_of_another_user_far_away_or_not_allowed_is_refused() -> None:
    memory = SharedRegion(64)
    place = (f"/{memory.name}", 0, 64)
    with pytest.raises(InvalidInference, match="not the client's own"):
        Regions(USERS.get, allowed=True).register("other", "r", place)
    with pytest.raises(NotAllowed, match="on this machine"):
        Regions(USERS.get, allowed=True).register("far", "r", place)
    with pytest.raises(NotAllowed, match="not offered"):
        Regions(USERS.get, allowed=False).register("one", "r", place)


def test_a_client_registers_so_many_and_no_more() -> None:
    regions, memory = Regions(USERS.get, allowed=True), SharedRegion(64)
    for number in range(REGIONS):
        regions.register("one", str(number), (f"/{memory.name}", 0, 64))
    with pytest.raises(InvalidInference, match=f"at most {REGIONS}"):
        regions.register("one", "r", (f"/{memory.name}", 0, 64))

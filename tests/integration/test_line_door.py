"""The socket of the line's own software, asked as it would ask."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from sealane_agent.errors import Refused
from sealane_agent.line.client import ask
from sealane_agent.line.door import MAX_CONNECTIONS, Door
from sealane_agent.line.holds import Holds
from sealane_agent.slot.journal import Journal
from support.agent_fakes import Lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sealane_agent.slot.state import RollBack

ASKED = {"slot": "cam", "owner": "press 7", "reason": "batch 12", "seconds": 600}


@dataclass(frozen=True)
class FakeSlots:
    late: tuple[str, ...] = ()

    def activating(self) -> tuple[str, ...]:
        return self.late

    def look(self) -> None:
        pass

    async def roll_back(self, slot: str, order: RollBack) -> dict[str, str]:
        if slot != "cam":
            raise Refused(f"there is no slot {slot} of a model here", hint="see status")
        return {"slot": slot, "owner": order.owner, "reason": order.reason}

    async def import_kit(self) -> dict[str, str]:
        raise OSError("the disk is gone")

    def health(self) -> dict[str, Any]:
        return {"clock_ahead_s": 7.5}


@asynccontextmanager
async def door(tmp_path: Path, late: tuple[str, ...] = ()) -> AsyncIterator[tuple[Path, Holds]]:
    journal, names = Journal(tmp_path / "journal.db"), count(1)
    holds = Holds(journal, lambda: datetime.now(UTC), lambda: f"h{next(names)}")
    path = tmp_path / "line.sock"
    task = asyncio.create_task(Door(holds, FakeSlots(late), Lines()).run(path))
    while not path.is_socket():  # noqa: ASYNC110 - there is no event for a name on the disk
        await asyncio.sleep(0.01)
    try:
        yield path, holds
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        journal.close()


async def asks(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    return await asyncio.to_thread(ask, path, request)


async def connected(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(path)


async def exchange(
    line: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes
) -> dict[str, Any]:
    reader, writer = line
    writer.write(request)
    await writer.drain()
    answer: dict[str, Any] = json.loads(await reader.readline())
    return answer


def test_a_slot_is_asked_to_go_back_and_refuses_what_it_cannot(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path) as (path, _):
            wanted = {"slot": "cam", "owner": "press 7", "reason": "it misses scratches"}
            assert await asks(path, {"roll_back": wanted}) == wanted
            for bad in ({"slot": "gate"}, {"slot": 7}, {"slot": "../cam"}, {"reason": ""}):
                with pytest.raises(Refused):
                    await asks(path, {"roll_back": wanted | bad})
            assert await asks(path, {"health": True}) == {"clock_ahead_s": 7.5}
            with pytest.raises(Refused, match="the disk is gone"):
                await asks(path, {"import_kit": True})

    asyncio.run(story())


def test_a_request_that_is_too_long_is_answered_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path) as (path, _):
            with pytest.raises(Refused, match="at most 4096 bytes"):
                await asks(path, {"hold": ASKED | {"reason": "x" * 5000}})

    asyncio.run(story())


def test_a_hold_is_asked_for_shown_and_released(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, late=("cam", "gate")) as (path, holds):
            made = await asks(path, {"hold": ASKED})
            assert (made["id"], made["too_late"]) == ("h1", ["cam"])
            shown = await asks(path, {"holds": True})
            assert [hold["owner"] for hold in shown["holds"]] == ["press 7"]
            assert await asks(path, {"release": "h1"}) == {"released": True}
            assert holds.all() == ()

    asyncio.run(story())


def test_a_hold_that_is_kept_dies_with_its_holder(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path) as (path, holds):
            reader, writer = await connected(path)
            await exchange((reader, writer), json.dumps({"keep": ASKED}).encode() + b"\n")
            assert len(holds.of("cam")) == 1
            writer.close()
            await writer.wait_closed()
            async with asyncio.timeout(10):
                while holds.all():  # noqa: ASYNC110 - the holder is gone; the door notices by itself
                    await asyncio.sleep(0.01)

    asyncio.run(story())


def test_garbage_is_answered_in_a_line_and_endless_lines_are_hung_up_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path) as (path, holds):
            line = await connected(path)
            assert "no JSON" in (await exchange(line, b"\xff\n"))["error"]
            assert "nothing that the agent knows" in (await exchange(line, b"{}\n"))["error"]
            line[1].write(b"x" * 1_000_000)
            with suppress(ConnectionResetError):
                assert await line[0].read() == b""
            line[1].close()
            assert (await asks(path, {"hold": ASKED}))["id"] == "h1"
            assert len(holds.all()) == 1

    asyncio.run(story())


def test_so_many_are_listened_to_at_once_and_the_next_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path) as (path, _):
            lines = [await connected(path) for _ in range(MAX_CONNECTIONS)]
            for line in lines:
                await exchange(line, b'{"holds": true}\n')
            reader, writer = await connected(path)
            assert "too many" in json.loads(await reader.readline())["error"]
            for each in (writer, *(line[1] for line in lines)):
                each.close()

    asyncio.run(story())


def test_without_a_supervisor_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no agent answers"):
        ask(tmp_path / "line.sock", {"holds": True})

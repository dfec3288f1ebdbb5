"""When a supervisor counts as well, and what the service manager hears of it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from sealane.service import ServiceManager
from sealane_agent import health
from sealane_agent.errors import JournalDamaged
from sealane_agent.health import Examination, keep_telling

if TYPE_CHECKING:
    import pytest


class Loops:
    def __init__(self, *stuck: str) -> None:
        self._stuck = stuck

    def stuck(self) -> tuple[str, ...]:
        return self._stuck


class Heard(ServiceManager):
    """A service manager that waits one hundredth of a second."""

    def __init__(self) -> None:
        super().__init__(patience_s=0.01)
        self.words: list[str] = []

    def _tell(self, word: str) -> None:
        self.words.append(word)


def damaged() -> object:
    raise JournalDamaged("the journal cannot be read")


def quiet(event: str, **fields: object) -> None:
    del event, fields


def test_a_supervisor_whose_journal_answers_and_whose_loops_turn_is_well() -> None:
    assert asyncio.run(Examination(Loops(), list)()) == ""


def test_a_loop_that_does_not_turn_is_named() -> None:
    assert asyncio.run(Examination(Loops("cam", "belt"), list)()) == (
        "the loop of cam, belt does not turn"
    )


def test_a_journal_that_cannot_be_read_is_no_health() -> None:
    assert "cannot be read" in asyncio.run(Examination(Loops(), damaged)())


def test_a_journal_that_hangs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ANSWER_S", 0.01)
    release = threading.Event()

    async def look() -> str:
        try:
            return await Examination(Loops(), release.wait)()
        finally:
            release.set()

    assert "does not answer" in asyncio.run(look())


async def words_of(*findings: str) -> list[str]:
    """What is said while these findings are made, one after the other."""
    left, service, done = list(findings), Heard(), asyncio.Event()

    async def examine() -> str:
        if len(left) == 1:
            done.set()
        return left.pop(0) if len(left) > 1 else left[0]

    telling = asyncio.create_task(keep_telling(service, examine, quiet))
    await done.wait()
    await asyncio.sleep(0)
    telling.cancel()
    with suppress(asyncio.CancelledError):
        await telling
    return [word for word in service.words if not word.startswith("STATUS")]


def test_ready_is_said_once_and_alive_at_every_good_look() -> None:
    words = asyncio.run(words_of("", "", ""))
    assert words == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]


def test_a_supervisor_that_is_not_well_says_nothing() -> None:
    assert asyncio.run(words_of("the journal does not answer")) == []


def test_one_that_is_well_only_later_is_ready_only_then() -> None:
    assert asyncio.run(words_of("stuck", "", "stuck")) == ["READY=1", "WATCHDOG=1"]

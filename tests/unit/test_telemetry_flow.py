"""From the endpoint into the spool, and from the spool into a session; both ends are simulated."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.errors import TelemetryError
from sealane.telemetry.codec import decode_windows
from sealane.telemetry.types import HostWindow, Level, TelemetryAck, TelemetryBatch, Window
from sealane_agent.serving.waiting import Waiting
from sealane_agent.telemetry.collector import Collector, Times
from sealane_agent.telemetry.sending import Sending
from sealane_agent.telemetry.spool import Spool
from support.agent_fakes import Lines
from support.clock import MovableClock
from support.eventually import until
from support.telemetry import plain_window

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class FakeSource:
    """An endpoint's closed windows; `dies_after` answers the connection is gone, once."""

    waiting: Waiting = field(default_factory=lambda: Waiting("life"))
    dies_after: int = 99
    gone: bool = False
    asked: list[str] = field(default_factory=list)

    async def telemetry(self, stored: str) -> tuple[str, bytes]:
        self.asked.append(stored)
        offer = self.waiting.offer(stored)
        if self.gone or len(self.asked) > self.dies_after:
            raise ConnectionError("the endpoint went away")
        return offer.name, offer.body


@dataclass
class FakeHost:
    """A machine that is busier each time."""

    busy: int = 0

    def measure(self) -> HostWindow:
        self.busy += 1
        return HostWindow(cpu=Level.of(self.busy))


class Device:
    """A collector with a real spool, on a clock of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.source, self.host = MovableClock(BEGIN), FakeSource(), FakeHost()
        self.ahead = timedelta()
        self.path = folder / "telemetry.db"
        self.spool = Spool(self.path, "boot")
        self.start()

    def start(self) -> None:
        times = Times(
            self.clock, lambda: self.clock.now() + self.ahead, lambda: -self.ahead or None
        )
        self.collector = Collector(self.source, self.spool, self.host, times)

    def collect(self, seconds: int = 10) -> None:
        self.clock.advance(timedelta(seconds=seconds))
        asyncio.run(self.collector.collect())

    def windows(self) -> list[Window]:
        """What would be sent now."""
        found: list[Window] = []
        while (batch := self.spool.next_batch()) is not None:
            found += decode_windows(batch.body)
            self.spool.acknowledge(TelemetryAck(batch.boot, batch.sequence))
        return found


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    made = Device(tmp_path)
    yield made
    made.spool.close()


def requests(windows: list[Window]) -> int:
    return sum(model.requests for window in windows for model in window.models)


def test_a_window_of_the_machine_says_how_far_its_clock_is_ahead(device: Device) -> None:
    device.ahead = timedelta(seconds=-40)
    for _ in range(7):
        device.collect()
    offsets = [window.host.clock_offset for window in device.windows() if window.host]
    assert offsets
    assert all(offset and offset.low == offset.high == 40_000 for offset in offsets)


def test_the_endpoints_windows_come_into_the_spool_once(device: Device) -> None:
    for minute in range(100):
        device.source.waiting.add(plain_window(requests=2, minute=minute))
    device.collect()
    device.collect()
    assert requests(device.windows()) == 200
    assert device.source.waiting.offer(device.spool.stored).name == ""


def test_windows_that_were_stored_before_a_death_are_not_stored_again(device: Device) -> None:
    device.source.waiting.add(plain_window(requests=5))
    device.source.dies_after = 1
    device.collect()
    device.source.dies_after = 99
    device.start()
    device.collect()
    assert device.source.asked[-1] == device.spool.stored != ""
    assert requests(device.windows()) == 5


def test_windows_that_were_not_stored_come_again(device: Device) -> None:
    device.source.waiting.add(plain_window(requests=5))
    device.source.waiting.offer("")
    device.collect()
    assert requests(device.windows()) == 5


def test_an_endpoint_that_does_not_answer_is_asked_ever_more_seldom(device: Device) -> None:
    device.source.gone = True
    for _ in range(10):
        device.collect()
    assert 3 <= len(device.source.asked) <= 5
    with pytest.raises(ConnectionError):
        device.collect(600)
    device.source.gone = False
    device.source.waiting.add(plain_window(requests=4))
    device.collect(600)
    assert requests(device.windows()) == 4


def test_windows_are_written_in_trusted_time(device: Device) -> None:
    device.ahead = timedelta(hours=2)
    device.source.waiting.add(plain_window())
    device.collect()
    (window,) = device.windows()
    assert window.start == plain_window().start + 7200


def test_damaged_windows_stop_nobody(device: Device) -> None:
    device.source.waiting.add(plain_window())
    offer = device.source.waiting.offer("")
    device.source.waiting._offer = type(offer)(offer.name, offer.body[:-3])
    with pytest.raises(TelemetryError):
        device.collect()
    device.source.waiting.add(plain_window(requests=3, minute=1))
    device.collect()
    assert requests(device.windows()) == 3


def test_the_machine_is_measured_into_windows_of_a_minute(device: Device) -> None:
    for _ in range(7):
        device.collect()
    (window,) = device.windows()
    assert (window.start, window.seconds) == (int(BEGIN.timestamp()), 60)
    assert window.host == HostWindow(cpu=Level(5, 15, 1, 5))


# Sending


class FakeOutgoing:
    """A spool of ready batches."""

    def __init__(self, *bodies: bytes) -> None:
        self.batches = [TelemetryBatch("boot", at, body) for at, body in enumerate(bodies, 1)]

    def next_batch(self) -> TelemetryBatch | None:
        return self.batches[0] if self.batches else None

    def acknowledge(self, ack: TelemetryAck) -> None:
        self.batches = [item for item in self.batches if item.sequence > ack.sequence]


@dataclass
class FakeManager:
    """Hears batches; acknowledges when it is told to."""

    sending: Sending
    answers: bool = True
    heard: list[int] = field(default_factory=list)

    async def say(self, batch: TelemetryBatch) -> None:
        self.heard.append(batch.sequence)
        if self.answers:
            await self.sending.hear(TelemetryAck(batch.boot, batch.sequence))


@contextlib.asynccontextmanager
async def session(manager: FakeManager) -> AsyncIterator[None]:
    task = asyncio.create_task(manager.sending.run(manager.say))
    try:
        await asyncio.sleep(0.05)
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_batches_go_one_after_the_other() -> None:
    async def test() -> None:
        sending = Sending(FakeOutgoing(b"1", b"2", b"3"), Lines())
        manager = FakeManager(sending)
        async with session(manager):
            await until(lambda: manager.heard == [1, 2, 3])

    asyncio.run(test())


def test_without_an_answer_the_next_batch_waits_and_another_session_begins_again() -> None:
    async def test() -> None:
        sending = Sending(FakeOutgoing(b"1", b"2"), Lines())
        silent = FakeManager(sending, answers=False)
        async with session(silent):
            await until(lambda: silent.heard == [1])
        manager = FakeManager(sending)
        async with session(manager):
            await until(lambda: manager.heard == [1, 2])

    asyncio.run(test())


def test_an_answer_that_leaves_the_batch_out_brings_no_storm() -> None:
    async def test() -> None:
        sending = Sending(FakeOutgoing(b"1", b"2"), Lines())
        manager = FakeManager(sending, answers=False)
        async with session(manager):
            await until(lambda: manager.heard == [1])
            await sending.hear(TelemetryAck("boot", 0))
            await sending.hear(TelemetryAck("another", 5))
            await asyncio.sleep(0.05)
            assert manager.heard == [1]

    asyncio.run(test())


def test_something_new_is_sent_at_once() -> None:
    async def test() -> None:
        spool = FakeOutgoing()
        sending = Sending(spool, Lines())
        manager = FakeManager(sending)
        async with session(manager):
            assert manager.heard == []
            spool.batches = [TelemetryBatch("boot", 1, b"1")]
            sending.rouse()
            await until(lambda: manager.heard == [1])

    asyncio.run(test())


def test_what_is_large_leaves_the_line_to_others_for_a_while() -> None:
    async def test() -> None:
        sending = Sending(FakeOutgoing(bytes(16 * 1024), b"2"), Lines())
        manager = FakeManager(sending)
        async with session(manager):
            assert manager.heard == [1]

    asyncio.run(test())

"""What a session says when; the manager's half is simulated."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from sealane import fileio
from sealane.audit.position import Position
from sealane.fleet import (
    Assignment,
    AssignmentRequest,
    DesiredChanged,
    DeviceFacts,
    Events,
    EventsAck,
    Heartbeat,
    Hello,
    MetadataFile,
    MetadataWanted,
    SlotReport,
    Welcome,
)
from sealane.names import DeviceId
from sealane_agent.slot.journal import Entry, Journal
from sealane_agent.uplink.dialling import CUTS, By
from sealane_agent.uplink.profile import METERED
from sealane_agent.uplink.rpc import SessionEnded
from sealane_agent.uplink.session import Session
from support.agent_fakes import CAM, START, Lines
from support.disks import FailingDisk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from sealane.fleet import DeviceMessage, ManagerMessage

SEEN = Position(1, 41)
HARDWARE = "c" * 64
REPORT = SlotReport(CAM, "fetching")
HELLO = Hello("0.1.0", "boot", DeviceFacts("x86_64", "linux", 2, 1, (), ""), (REPORT,))
PATIENCE_S = 60.0


def welcome(acked: int = 0, heartbeat_s: float = 60.0) -> Welcome:
    return Welcome(DeviceId("press-7"), heartbeat_s, 5.0, acked)


class FakeLine:
    """One session: `said` is what the device said, `answer` what it hears next."""

    def __init__(self) -> None:
        self.said: list[DeviceMessage] = []
        self.closed = False
        self._heard: asyncio.Queue[ManagerMessage | SessionEnded] = asyncio.Queue()

    async def say(self, message: DeviceMessage) -> None:
        self.said.append(message)

    async def hear(self) -> ManagerMessage | None:
        heard = await self._heard.get()
        if isinstance(heard, SessionEnded):
            raise heard
        return heard

    async def close(self) -> None:
        self.closed = True

    def answer(self, *messages: ManagerMessage | SessionEnded) -> None:
        for message in messages:
            self._heard.put_nowait(message)

    async def has_said(self, kind: type, times: int = 1) -> list[DeviceMessage]:
        """Wait for so many messages of a kind."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self._said(kind)) < times:  # noqa: ASYNC110 - nothing tells when it speaks
                await asyncio.sleep(0.005)
        return self._said(kind)

    def _said(self, kind: type) -> list[DeviceMessage]:
        return [item for item in self.said if isinstance(item, kind)]


@dataclass
class FakeDevice:
    """Takes up the documents that it is told to; notes the others too."""

    useful: bool = True
    report: SlotReport = REPORT
    accepted: list[tuple[bytes, str]] = field(default_factory=list)
    nonces: int = 0

    def hello(self) -> Hello:
        return HELLO

    def reports(self) -> tuple[SlotReport, ...]:
        return (self.report,)

    def new_nonce(self) -> str:
        self.nonces += 1
        return f"nonce-{self.nonces}"

    def seen(self) -> Position:
        return SEEN

    def hardware(self) -> str:
        return HARDWARE

    def files(self, above: Mapping[str, int]) -> Iterator[MetadataFile]:
        for role, version in above.items():
            yield MetadataFile(role, str(version).encode())

    async def accept(self, answer: Assignment, nonce: str) -> bool:
        self.accepted.append((answer.document, nonce))
        return self.useful


class Talk:
    """A session with as many lines as it dials."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal(folder / "journal.db")
        self.device, self.log, self.lines = FakeDevice(), Lines(), list[FakeLine]()
        self.dialled: list[By] = []
        self.session = Session(self.dial, self.journal, self.log)

    def dial(self, by: By) -> FakeLine:
        self.dialled.append(by)
        self.lines.append(FakeLine())
        return self.lines[-1]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[FakeLine]:
        task = asyncio.create_task(self.session.run(self.device, lambda: 0.01))
        try:
            yield await self.line(1)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self.journal.close()

    async def log_of(self, event: str) -> None:
        """Wait until it was said."""
        async with asyncio.timeout(PATIENCE_S):
            while event not in [said for said, _ in self.log.events]:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.005)

    async def line(self, number: int) -> FakeLine:
        """Wait for the n-th line."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.lines) < number:  # noqa: ASYNC110 - nothing tells when it dials
                await asyncio.sleep(0.005)
        return self.lines[number - 1]


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    return Talk(tmp_path)


def write(journal: Journal, times: int) -> None:
    for _ in range(times):
        journal.write(Entry(CAM, None, START, REPORT))


def test_a_device_says_hello_and_asks_for_its_document(talk: Talk) -> None:
    async def story() -> None:
        async with talk.running() as line:
            line.answer(welcome())
            (asked,) = await line.has_said(AssignmentRequest)
            assert line.said[0] == HELLO
            assert asked == AssignmentRequest("nonce-1", SEEN, HARDWARE)
            line.answer(Assignment(b"document"), DesiredChanged(2))
            await line.has_said(AssignmentRequest, 2)
            assert talk.device.accepted == [(b"document", "nonce-1")]

    asyncio.run(story())


def test_events_are_told_until_the_manager_has_stored_them(talk: Talk) -> None:
    async def story() -> None:
        write(talk.journal, 2)
        async with talk.running() as line:
            line.answer(welcome())
            (told,) = await line.has_said(Events)
            assert isinstance(told, Events)
            assert [event.sequence for event in told.events] == [1, 2]
            write(talk.journal, 1)
            talk.session.said()
            _, second = await line.has_said(Events, 2)
            assert isinstance(second, Events)
            assert [event.sequence for event in second.events] == [3]
            assert talk.journal.pending() == 3
            line.answer(EventsAck(2), SessionEnded("the link was cut"))
            again = await talk.line(2)
            again.answer(welcome(acked=2))
            (rest,) = await again.has_said(Events)
            assert isinstance(rest, Events)
            assert [event.sequence for event in rest.events] == [3]

    asyncio.run(story())


def test_a_manager_that_lost_metadata_gets_it_back(talk: Talk) -> None:
    async def story() -> None:
        async with talk.running() as line:
            line.answer(welcome(), MetadataWanted({"root": 1, "vision": 3}))
            files = await line.has_said(MetadataFile, 2)
            assert files == [MetadataFile("root", b"1"), MetadataFile("vision", b"3")]

    asyncio.run(story())


def test_what_the_welcome_acknowledges_is_forgotten(talk: Talk) -> None:
    async def story() -> None:
        write(talk.journal, 2)
        async with talk.running() as line:
            line.answer(welcome(acked=2))
            await line.has_said(AssignmentRequest)
            assert talk.journal.pending() == 0

    asyncio.run(story())


def test_heartbeats_come_at_the_managers_pace(talk: Talk) -> None:
    async def story() -> None:
        async with talk.running() as line:
            line.answer(welcome(heartbeat_s=0.1))
            beats = await line.has_said(Heartbeat, 2)
            assert beats[0] == Heartbeat((REPORT,))

    asyncio.run(story())


def test_what_no_event_tells_is_told_at_once_and_only_when_it_is_news(talk: Talk) -> None:
    async def story() -> None:
        async with talk.running() as line:
            line.answer(welcome(heartbeat_s=3600.0))
            await line.has_said(AssignmentRequest)
            talk.session.said()  # nothing is different
            talk.device.report = replace(REPORT, degraded="its card is gone")
            talk.session.said()
            (told,) = await line.has_said(Heartbeat)
            assert told == Heartbeat((talk.device.report,))
            talk.device.report = REPORT
            talk.session.said()
            assert (await line.has_said(Heartbeat, 2))[1] == Heartbeat((REPORT,))

    asyncio.run(story())


def test_what_an_event_has_told_is_not_told_again(talk: Talk) -> None:
    async def story() -> None:
        async with talk.running() as line:
            line.answer(welcome(heartbeat_s=3600.0))
            await line.has_said(AssignmentRequest)
            talk.device.report = SlotReport(CAM, "staged")
            talk.journal.write(Entry(CAM, None, START, talk.device.report))
            talk.session.said()
            await line.has_said(Events)
            talk.device.report = SlotReport(CAM, "staged", degraded="its card is gone")
            talk.session.said()
            (told,) = await line.has_said(Heartbeat)
            assert told == Heartbeat((talk.device.report,))

    asyncio.run(story())


def test_what_flickers_is_told_less_and_less_often_down_to_the_ordinary_pace(talk: Talk) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with talk.running() as line:
            line.answer(welcome(heartbeat_s=2.0))
            await line.has_said(AssignmentRequest)
            talk.device.report = replace(REPORT, degraded="its card is gone")
            talk.session.said()
            await line.has_said(Heartbeat)
            early = loop.time()
            talk.device.report = REPORT
            talk.session.said()
            beats = await line.has_said(Heartbeat, 2)
            assert loop.time() - early > 1.5, "the next keeps its time: 2 s, less a fifth"
            assert beats[1] == Heartbeat((REPORT,))

    asyncio.run(story())


def test_a_document_that_cannot_be_used_is_asked_for_again(talk: Talk) -> None:
    async def story() -> None:
        talk.device.useful = False
        async with talk.running() as line:
            line.answer(welcome())
            await line.has_said(AssignmentRequest)
            line.answer(Assignment(b"bad"))
            asked = await line.has_said(AssignmentRequest, 2)
            assert asked[1] == AssignmentRequest("nonce-2", SEEN, HARDWARE)

    asyncio.run(story())


def test_a_manager_that_is_down_is_dialled_again_and_told_of_once(talk: Talk) -> None:
    async def story() -> None:
        async with talk.running():
            for number in (1, 2, 3):
                line = await talk.line(number)
                line.answer(SessionEnded("nobody listens"))
            line = await talk.line(4)
            line.answer(welcome())
            await line.has_said(AssignmentRequest)
            assert [event for event, _ in talk.log.events] == ["session lost", "session open"]
            assert all(line.closed for line in talk.lines[:3])

    asyncio.run(story())


def test_where_sessions_are_cut_again_and_again_the_device_polls_and_goes_on_with_it(
    talk: Talk,
) -> None:
    async def story() -> None:
        async with talk.running():
            for number in range(1, CUTS + 1):
                line = await talk.line(number)
                line.answer(welcome())
                await line.has_said(AssignmentRequest)
                line.answer(SessionEnded("Socket closed"))
            for number in (CUTS + 1, CUTS + 2):
                line = await talk.line(number)
                line.answer(welcome())
                await line.has_said(AssignmentRequest)
                line.answer(SessionEnded("Socket closed"))
            await talk.line(CUTS + 3)
            assert talk.dialled == [By.SESSION] * CUTS + [By.POLL] * 3

    asyncio.run(story())


def test_a_session_is_dialled_again_when_the_device_has_another_certificate(talk: Talk) -> None:
    async def story() -> None:
        async with talk.running() as line:
            line.answer(welcome())
            await talk.session.open()
            talk.session.redial()
            again = await talk.line(2)
            assert line.closed
            opening = asyncio.create_task(talk.session.open())
            await asyncio.sleep(0)
            assert not opening.done(), "it waits for the new session"
            again.answer(welcome())
            await opening

    asyncio.run(story())


def test_a_device_that_waits_to_dial_again_does_not_wait_for_a_new_certificate(talk: Talk) -> None:
    async def story() -> None:
        async with talk.running() as line:
            line.answer(SessionEnded("expired", refused=True))
            await talk.log_of("session lost")
            talk.session.redial()
            (await talk.line(2)).answer(welcome())
            await talk.session.open()

    asyncio.run(story())


def test_a_journal_out_of_reach_costs_a_session_but_not_the_supervisor(talk: Talk) -> None:
    async def story() -> None:
        with fileio.using(FailingDisk({"execute": 2})):
            async with talk.running() as line:
                line.answer(welcome(acked=3))
                (await talk.line(2)).answer(welcome(acked=3))
                (await talk.line(3)).answer(welcome(acked=3))
                await talk.session.open()
                assert [event for event, _ in talk.log.events] == ["session lost", "session open"]

    asyncio.run(story())


def test_a_metered_device_says_how_seldom_it_wants_to_speak(tmp_path: Path) -> None:
    line, journal = FakeLine(), Journal(tmp_path / "journal.db")

    async def story() -> None:
        session = Session(lambda _by: line, journal, Lines())
        session.profile = METERED
        task = asyncio.create_task(session.run(FakeDevice(), lambda: 0.0))
        async with asyncio.timeout(PATIENCE_S):
            while not line.said:  # noqa: ASYNC110 - the line is a list
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())
    journal.close()
    assert isinstance(line.said[0], Hello)
    assert line.said[0].heartbeat_s == METERED.heartbeat_s

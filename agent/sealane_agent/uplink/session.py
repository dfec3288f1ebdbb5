"""Keeps a session with the manager: what is said when, and what is heard.

Lost sessions are dialled again after a random time; what serves does not depend on any of it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from sealane.errors import SealaneError
from sealane.fleet import (
    Assignment,
    AssignmentRequest,
    DesiredChanged,
    Events,
    EventsAck,
    Heartbeat,
    MetadataWanted,
    SlotReport,
    Welcome,
)
from sealane.telemetry.types import TelemetryAck

from sealane_agent.slot.reports import told
from sealane_agent.uplink.dialling import Ended, Link, after
from sealane_agent.uplink.profile import DEFAULT
from sealane_agent.uplink.rpc import SessionEnded, clock_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sealane.audit.position import Position
    from sealane.fleet import DeviceMessage, Hello, ManagerMessage, MetadataFile
    from sealane.names import SlotName

    from sealane_agent.log import Log
    from sealane_agent.slot.journal import Journal
    from sealane_agent.telemetry.sending import Sending
    from sealane_agent.uplink.dialling import By

WELCOME_DEADLINE_S: Final = 20.0
"""How long the manager may take to answer Hello."""

ANSWER_DEADLINE_S: Final = 30.0
"""After that a question for a document counts as lost."""

ASK_AGAIN_MAX_S: Final = 900.0
"""Longest pause after a document that could not be used."""

WINDOW_MAX_S: Final = 3600.0
"""Longest time over which a manager may spread the dials of a fleet that it lost."""

REDIAL_FIRST_S: Final = 1.0
REDIAL_MAX_S: Final = 30.0
REDIAL_REFUSED_S: Final = 300.0
"""Longest pauses between dials: doubled each time, full jitter; long when the manager refuses."""

SETTLE_S: Final = 1.0
"""What changed is told so much later: several changes at once are one message."""

ASK_AGAIN_S: Final = 5.0
"""Pause after a document that could not be used; doubled each time, full jitter."""


AGAIN: Final = "dialling again until it answers"


class Line(Protocol):
    """One open session."""

    async def say(self, message: DeviceMessage) -> None:
        """Send one message; raises SessionEnded."""
        ...

    async def hear(self) -> ManagerMessage | None:
        """The next message; raises SessionEnded."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class Device(Protocol):
    """What the session asks of the device."""

    def hello(self) -> Hello:
        """The first word."""
        ...

    def reports(self) -> tuple[SlotReport, ...]:
        """What every slot does."""
        ...

    def new_nonce(self) -> str:
        """A question that one document may answer."""
        ...

    def seen(self) -> Position:
        """How much of the audit log the device has seen; blocks on the disk."""
        ...

    def hardware(self) -> str:
        """The class of devices that this one belongs to now; blocks on the disk."""
        ...

    def files(self, above: Mapping[str, int]) -> Iterator[MetadataFile]:
        """Metadata that the device holds above these versions of its roles; blocks on the disk."""
        ...

    async def accept(self, answer: Assignment, nonce: str) -> bool:
        """Verify a document and take it up; False when it cannot be used."""
        ...


class Session:
    """Dials, talks, dials again."""

    def __init__(
        self,
        dial: Callable[[By], Line],
        journal: Journal,
        log: Log,
        sending: Sending | None = None,
    ) -> None:
        self._dial, self._journal, self._log = dial, journal, log
        self._sending = sending
        self.link, self._welcomed = Link(), False
        self.profile = DEFAULT
        self._window_s = 0.0
        self._talk: _Talk | None = None
        self._opened = asyncio.Event()
        self._redial = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the manager has said welcome."""
        return self._talk is not None

    async def open(self) -> None:
        """Return when a session is open."""
        await self._opened.wait()

    def redial(self) -> None:
        """Hang up and dial again at once."""
        self._opened.clear()
        self._redial.set()

    def said(self) -> None:
        """The outbox, or a slot, has something new."""
        if self._talk:
            self._talk.outbox.set()
            self._talk.changed.set()

    def ask(self) -> None:
        """A new document is needed."""
        if self._talk:
            self._talk.questions.set()

    async def run(self, device: Device, chance: Callable[[], float]) -> None:
        """Speak for a device until cancelled; `chance` is a random number below 1, for jitter."""
        lost, last_reason = 0, ""
        while True:
            started = asyncio.get_running_loop().time()
            longest = REDIAL_FIRST_S * 2 ** min(lost, 10)
            ours = True
            try:
                await self._converse_until_redial(device, chance)
            except (SessionEnded, SealaneError, OSError, sqlite3.Error) as why:
                if str(why) != last_reason:
                    self._log("session lost", reason=why, hint=clock_hint(str(why)) or AGAIN)
                last_reason = str(why)
                refused = isinstance(why, SessionEnded) and why.refused
                ours = refused or not isinstance(why, SessionEnded)
                known = max(min(longest, REDIAL_MAX_S), self._window_s)
                longest = REDIAL_REFUSED_S if refused else known
            lasted = asyncio.get_running_loop().time() - started
            self.link = after(self.link, Ended(lasted, self._welcomed, ours))
            lost = 0 if lasted > REDIAL_MAX_S else lost + 1
            with suppress(TimeoutError):
                async with asyncio.timeout(longest * chance()):
                    await self._redial.wait()

    async def _converse_until_redial(self, device: Device, chance: Callable[[], float]) -> None:
        self._redial.clear()
        self._welcomed = False
        conversation = asyncio.create_task(self._converse(device, chance))
        redial = asyncio.create_task(self._redial.wait())
        try:
            await asyncio.wait(
                (conversation, redial),
                timeout=self.link.longest_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if conversation.done():
                conversation.result()
        finally:
            for task in (conversation, redial):
                task.cancel()
            await asyncio.gather(conversation, redial, return_exceptions=True)

    async def _converse(self, device: Device, chance: Callable[[], float]) -> None:
        line = self._dial(self.link.by)
        try:
            hello = await asyncio.to_thread(device.hello)
            await line.say(replace(hello, heartbeat_s=self.profile.heartbeat_s))
            welcome = await _welcome(line)
            self._window_s = min(max(0.0, welcome.reconnect_window_s), WINDOW_MAX_S)
            await asyncio.to_thread(self._journal.continue_after, welcome.acked_sequence)
            self._log("session open", device=welcome.device, by=self.link.by)
            self._talk = _Talk(line, device, self._journal, chance)
            self._talk.sending, self._talk.refresh_s = self._sending, self.profile.refresh_s
            self._talk.note(hello.slots)
            self._welcomed = True
            self._opened.set()
            await self._talk.run(welcome)
        finally:
            self._talk = None
            self._opened.clear()
            await line.close()


async def _welcome(line: Line) -> Welcome:
    try:
        async with asyncio.timeout(WELCOME_DEADLINE_S):
            while True:
                message = await line.hear()
                if isinstance(message, Welcome):
                    return message
    except TimeoutError:
        raise SessionEnded("the manager did not answer Hello") from None


class _Talk:
    """One conversation after Welcome: heartbeats, events and questions, each at its own pace."""

    def __init__(
        self, line: Line, device: Device, journal: Journal, chance: Callable[[], float]
    ) -> None:
        self._line, self._device, self._journal, self._chance = line, device, journal, chance
        self._writing = asyncio.Lock()
        self._answers: asyncio.Queue[Assignment] = asyncio.Queue(maxsize=4)
        self.wanted: asyncio.Queue[Mapping[str, int]] = asyncio.Queue(maxsize=1)
        self.outbox = asyncio.Event()
        self.changed = asyncio.Event()
        self._noted: dict[SlotName, object] = {}
        self.questions = asyncio.Event()
        self.sending: Sending | None = None
        self.refresh_s = DEFAULT.refresh_s

    async def run(self, welcome: Welcome) -> None:
        """Until the line breaks; raises SessionEnded."""
        self.outbox.set()
        self.questions.set()
        parts = [
            self._hear(),
            self._beat(welcome.heartbeat_interval_s),
            self._report(welcome.acked_sequence),
            self._ask(),
            self._give_back(),
        ]
        if self.sending is not None:
            parts.append(self.sending.run(self._say))
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _say(self, message: DeviceMessage) -> None:
        async with self._writing:
            await self._line.say(message)

    async def _hear(self) -> None:
        while True:
            match await self._line.hear():
                case DesiredChanged():
                    self.questions.set()
                case Assignment() as answer:
                    with suppress(asyncio.QueueFull):
                        self._answers.put_nowait(answer)
                case EventsAck(sequence):
                    await asyncio.to_thread(self._journal.forget, sequence)
                case MetadataWanted(above):
                    with suppress(asyncio.QueueFull):
                        self.wanted.put_nowait(above)
                case TelemetryAck() as ack if self.sending is not None:
                    await self.sending.hear(ack)

    async def _give_back(self) -> None:
        """The manager's repository is older than what was verified here: it may have it back."""
        while True:
            files = self._device.files(await self.wanted.get())
            while file := await asyncio.to_thread(next, files, None):
                await self._say(file)

    async def _beat(self, interval_s: float) -> None:
        gap = SETTLE_S
        while True:
            pause = max(0.1, interval_s) * (0.8 + 0.2 * self._chance())
            stirred = await self._rest(pause, gap)
            gap = min(2 * gap, interval_s) if stirred else SETTLE_S
            self.changed.clear()
            reports = self._device.reports()
            await self._say(Heartbeat(reports))
            self.note(reports)

    async def _rest(self, pause_s: float, gap_s: float) -> bool:
        """Until the next heartbeat, which comes early for news that no event has told.

        Returns whether anything stirred: as long as it does, the next news waits longer, so that
        what flickers for ever costs no more than heartbeats do.
        """
        stirred = False
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                while True:
                    await self.changed.wait()
                    stirred = True
                    await asyncio.sleep(gap_s)
                    self.changed.clear()
                    if any(
                        self._noted.get(each.slot) != told(each) for each in self._device.reports()
                    ):
                        break
        return stirred

    def note(self, reports: Iterable[SlotReport]) -> None:
        """The manager is told this of these slots."""
        self._noted.update({each.slot: told(each) for each in reports})

    async def _report(self, acked: int) -> None:
        await asyncio.to_thread(self._journal.forget, acked)
        last = acked
        while True:
            await self.outbox.wait()
            self.outbox.clear()
            while events := await asyncio.to_thread(self._journal.events, last):
                await self._say(Events(events))
                self.note(each.body for each in events if isinstance(each.body, SlotReport))
                last = events[-1].sequence

    async def _ask(self) -> None:
        useless = 0
        while True:
            self.questions.clear()
            good = await self._one_question()
            useless = 0 if good else useless + 1
            longest = min(ASK_AGAIN_S * 2 ** min(useless, 10), ASK_AGAIN_MAX_S)
            pause = self.refresh_s if good else longest * self._chance()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.questions.wait()
            if not good:
                await asyncio.sleep(self._chance())

    async def _one_question(self) -> bool:
        while not self._answers.empty():
            self._answers.get_nowait()
        seen = await asyncio.to_thread(self._device.seen)
        hardware = await asyncio.to_thread(self._device.hardware)
        nonce = self._device.new_nonce()
        await self._say(AssignmentRequest(nonce, seen, hardware))
        try:
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                answer = await self._answers.get()
        except TimeoutError:
            return False
        return await self._device.accept(answer, nonce)

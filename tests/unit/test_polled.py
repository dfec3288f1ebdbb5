"""A conversation by single calls, as the session sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sealane.fleet import AssignmentRequest, DesiredChanged, Heartbeat
from sealane_agent.uplink.polled import CALL_BYTES, MESSAGES, Polled
from sealane_agent.uplink.rpc import SessionEnded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealane.fleet import DeviceMessage, ManagerMessage

NEWS = DesiredChanged(7)


class FakeCalls:
    """Answers each call with one piece of news, once it may."""

    def __init__(self, bytes_each: int = 1) -> None:
        self.calls: list[Sequence[DeviceMessage]] = []
        self.may, self.begun = asyncio.Event(), asyncio.Event()
        self.broken, self.closed = False, False
        self._bytes_each = bytes_each
        self.may.set()

    def size(self, _message: DeviceMessage) -> int:
        return self._bytes_each

    async def exchange(self, said: Sequence[DeviceMessage]) -> list[ManagerMessage | None]:
        self.calls.append(said)
        self.begun.set()
        await self.may.wait()
        if self.broken:
            raise SessionEnded("the link broke")
        return [NEWS]

    async def close(self) -> None:
        self.closed = True


def ask(number: int) -> AssignmentRequest:
    return AssignmentRequest(str(number))


def test_what_is_said_at_once_goes_in_one_call_and_its_answer_is_heard() -> None:
    async def test() -> None:
        calls = FakeCalls()
        line = Polled(calls)
        await line.say(Heartbeat(()))
        await line.say(ask(1))
        assert await line.hear() == NEWS
        assert calls.calls == [[Heartbeat(()), ask(1)]]
        await line.close()
        assert calls.closed

    asyncio.run(test())


def test_what_is_said_during_a_call_goes_with_the_next_one_in_order() -> None:
    async def test() -> None:
        calls = FakeCalls()
        calls.may.clear()
        line = Polled(calls)
        await line.say(ask(0))
        await calls.begun.wait()
        for number in (1, 2):
            await line.say(ask(number))
        calls.may.set()
        for _ in range(2):
            await line.hear()
        assert calls.calls == [[ask(0)], [ask(1), ask(2)]]

    asyncio.run(test())


def test_whoever_says_more_than_a_few_things_waits_for_the_call() -> None:
    async def test() -> None:
        calls = FakeCalls()
        calls.may.clear()
        line = Polled(calls)
        await line.say(ask(0))
        await calls.begun.wait()
        for number in range(MESSAGES):
            await line.say(ask(number))
        late = asyncio.create_task(line.say(ask(99)))
        await asyncio.sleep(0)
        assert not late.done()
        calls.may.set()
        await late
        for _ in range(3):
            await line.hear()
        assert calls.calls[-1] == [ask(99)]

    asyncio.run(test())


def test_a_call_never_says_more_bytes_than_a_message_may_have() -> None:
    async def test() -> None:
        calls = FakeCalls(bytes_each=CALL_BYTES // 2)
        line = Polled(calls)
        for number in range(5):
            await line.say(ask(number))
        for _ in range(3):
            await line.hear()
        assert [len(each) for each in calls.calls] == [2, 2, 1]
        alone = FakeCalls(bytes_each=2 * CALL_BYTES)
        line = Polled(alone)
        for number in range(2):
            await line.say(ask(number))
        for _ in range(2):
            await line.hear()
        assert [len(each) for each in alone.calls] == [1, 1]

    asyncio.run(test())


def test_a_call_that_fails_ends_the_conversation_for_whoever_speaks_and_listens() -> None:
    async def test() -> None:
        calls = FakeCalls()
        calls.broken = True
        line = Polled(calls)
        await line.say(ask(0))
        with pytest.raises(SessionEnded, match="the link broke"):
            await line.hear()
        with pytest.raises(SessionEnded, match="the link broke"):
            await line.say(ask(1))

    asyncio.run(test())

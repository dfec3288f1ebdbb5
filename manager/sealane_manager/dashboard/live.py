"""Sends what changes to every browser that looks: looked at and rendered once, then broadcast."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from sealane_manager.errors import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from sealane_manager.rollout.controller import Controller

LOOK_EVERY_S: Final = 3.0
"""Seconds between two looks when no rollout changes: devices come and go without a notice."""

BREATH_S: Final = 0.4
"""Seconds between two looks at the least: a stage that is dispatched is one picture."""

KEEPALIVE_S: Final = 15.0
"""Seconds after which a silent stream says something, so that proxies keep it."""

MAX_TOPICS: Final = 256
"""Things looked at at the same time by all browsers together."""

MAX_WATCHERS: Final = 1000

_log = logging.getLogger(__name__)
Seen = TypeVar("Seen")


@dataclass(frozen=True, slots=True)
class Topic(Generic[Seen]):
    """Something to watch; both calls block, and `look` gives equal values while nothing changes."""

    key: tuple[str, ...]
    look: Callable[[], Seen]
    render: Callable[[Seen], str]


@dataclass(slots=True)
class _Channel:
    """One topic that somebody watches now."""

    watchers: int = 0
    number: int = 0
    text: str = ""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def publish(self, text: str) -> None:
        """Give all watchers a new picture."""
        self.text, self.number = text, self.number + 1
        self.news.set()
        self.news = asyncio.Event()


class Live:
    """The topics that browsers watch now; lives on the manager's loop."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._channels: dict[tuple[str, ...], _Channel] = {}
        self._closed = asyncio.Event()

    def close(self) -> None:
        """End every stream."""
        self._closed.set()
        for channel in self._channels.values():
            channel.news.set()

    async def follow(self, topic: Topic[Any]) -> AsyncGenerator[str]:
        """Pictures of the topic as they change; an empty text means that nothing did for a while.

        Raises Refused when too much is watched already.
        """
        channel, number = self._enter(topic), 0
        try:
            while not self._closed.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(KEEPALIVE_S):
                        await self._newer(channel, number)
                yield channel.text if channel.number > number else ""
                number = channel.number
        finally:
            self._leave(topic, channel)

    async def _newer(self, channel: _Channel, number: int) -> None:
        while channel.number <= number and not self._closed.is_set():
            await channel.news.wait()

    def _enter(self, topic: Topic[Any]) -> _Channel:
        watchers = sum(channel.watchers for channel in self._channels.values())
        if watchers >= MAX_WATCHERS or len(self._channels) >= MAX_TOPICS:
            raise Refused("too many pages are watched live", hint="close some, or load them anew")
        channel = self._channels.setdefault(topic.key, _Channel())
        channel.watchers += 1
        if not channel.task:
            channel.task = asyncio.create_task(self._look_on(topic, channel))
        return channel

    def _leave(self, topic: Topic[Any], channel: _Channel) -> None:
        channel.watchers -= 1
        if channel.watchers == 0 and channel.task:
            channel.task.cancel()
            del self._channels[topic.key]

    async def _look_on(self, topic: Topic[Any], channel: _Channel) -> None:
        last: Any = None
        while True:
            revision = self._controller.revision
            try:
                seen = await asyncio.to_thread(topic.look)
                if seen != last:
                    channel.publish(await asyncio.to_thread(topic.render, seen))
                    last = seen
            except Exception:  # noqa: BLE001 - the next look may do better; the page stays
                _log.exception("could not look at %s", topic.key)
            await self._wait(revision)

    async def _wait(self, revision: int) -> None:
        await asyncio.sleep(BREATH_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._controller.changed(revision)


def as_event(text: str) -> str:
    """A picture as one server-sent event; a comment when there is nothing new."""
    if not text:
        return ": still here\n\n"
    lines = "".join(f"data: {line}\n" for line in text.splitlines())
    return f"{lines}\n"

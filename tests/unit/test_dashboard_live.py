"""Live pages: looked at once for everybody, ended with the session, bounded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sealane_manager.dashboard import live
from sealane_manager.dashboard.live import Live, Topic, as_event
from sealane_manager.errors import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class FakeController:
    """Says that something changed when it is told to."""

    def __init__(self) -> None:
        self.revision = 0
        self._changed = asyncio.Event()

    def change(self) -> None:
        self.revision += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self, after: int) -> int:
        while self.revision <= after:
            await self._changed.wait()
        return self.revision


class Scene:
    """Something to look at, which counts the looks."""

    def __init__(self) -> None:
        self.value, self.looks, self.renders = 1, 0, 0
        self.topic: Topic[int] = Topic(("scene",), self._look, self._render)

    def _look(self) -> int:
        self.looks += 1
        return self.value

    def _render(self, seen: int) -> str:
        self.renders += 1
        return f"<p>{seen}</p>"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BREATH_S", 0.0)


async def first(stream: AsyncGenerator[str]) -> str:
    async with asyncio.timeout(60):
        return await anext(stream)


def run(scenario: Any) -> None:
    asyncio.run(scenario())


def test_many_watchers_cost_one_look_and_one_picture() -> None:
    async def scenario() -> None:
        controller, scene = FakeController(), Scene()
        streams = [Live_.follow(scene.topic) for Live_ in [Live(controller)] for _ in range(50)]  # type: ignore[arg-type]  # a simulator
        assert await asyncio.gather(*(first(stream) for stream in streams)) == ["<p>1</p>"] * 50
        assert scene.renders == 1
        scene.value = 2
        controller.change()
        assert await asyncio.gather(*(first(stream) for stream in streams)) == ["<p>2</p>"] * 50
        assert scene.renders == 2
        for stream in streams:
            await stream.aclose()

    run(scenario)


def test_who_comes_later_gets_the_picture_of_now() -> None:
    async def scenario() -> None:
        scene, streams = Scene(), Live(FakeController())  # type: ignore[arg-type]  # a simulator
        early, late = streams.follow(scene.topic), streams.follow(scene.topic)
        assert await first(early) == await first(late) == "<p>1</p>"
        assert scene.renders == 1
        await early.aclose()
        await late.aclose()

    run(scenario)


def test_nobody_looks_when_nobody_watches() -> None:
    async def scenario() -> None:
        controller, scene = FakeController(), Scene()
        streams = Live(controller)  # type: ignore[arg-type]  # a simulator
        stream = streams.follow(scene.topic)
        await first(stream)
        await stream.aclose()
        looks = scene.looks
        controller.change()
        await asyncio.sleep(0.01)
        assert scene.looks == looks
        assert streams._channels == {}

    run(scenario)


def test_a_look_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        controller, scene = FakeController(), Scene()
        broken = iter([ValueError("no")])

        def look() -> int:
            for error in broken:
                raise error
            return scene.value

        stream = Live(controller).follow(Topic(("x",), look, str))  # type: ignore[arg-type]  # a simulator
        task = asyncio.create_task(first(stream))
        while not task.done():
            controller.change()
            await asyncio.sleep(0.01)
        assert await task == "1"
        await stream.aclose()

    run(scenario)
    assert "could not look" in caplog.text


def test_closing_ends_every_stream() -> None:
    async def scenario() -> None:
        streams, scene = Live(FakeController()), Scene()  # type: ignore[arg-type]  # a simulator
        stream = streams.follow(scene.topic)
        await first(stream)
        task = asyncio.create_task(_drain(stream))
        await asyncio.sleep(0.01)
        streams.close()
        async with asyncio.timeout(60):
            await task

    async def _drain(stream: AsyncGenerator[str]) -> None:
        async for _ in stream:
            pass

    run(scenario)


def test_more_topics_than_the_limit_are_refused() -> None:
    async def scenario() -> None:
        streams = Live(FakeController())  # type: ignore[arg-type]  # a simulator
        topics = [Topic((str(number),), lambda: 1, str) for number in range(live.MAX_TOPICS)]
        opened = [streams.follow(topic) for topic in topics]
        await asyncio.gather(*(first(stream) for stream in opened))
        with pytest.raises(Refused, match="too many pages"):
            await first(streams.follow(Scene().topic))
        for stream in opened:
            await stream.aclose()

    run(scenario)


def test_a_picture_is_one_event_and_silence_a_comment() -> None:
    assert as_event("<p>\n1</p>") == "data: <p>\ndata: 1</p>\n\n"
    assert as_event("").startswith(":")

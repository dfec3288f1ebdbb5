"""What keeps the endpoint ends it, too, whenever the supervisor is told to stop."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from sealane_agent.endpoint.keeper import EndpointCommand, Keeper
from sealane_agent.layout import StateFolder

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_an_endpoint_that_is_being_launched_when_the_supervisor_stops_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = subprocess.Popen
    begun, go_on = threading.Event(), threading.Event()
    launched: list[subprocess.Popen[bytes]] = []

    def slowly(*words: Any, **how: Any) -> subprocess.Popen[bytes]:
        begun.set()
        go_on.wait(30)
        launched.append(launch(*words, **how))
        return launched[-1]

    monkeypatch.setattr(subprocess, "Popen", slowly)
    command = EndpointCommand(lambda _: ["sleep", "600"], tmp_path / "log" / "endpoint.log")
    keeper = Keeper(StateFolder(tmp_path), command, lambda *_, **__: None)

    async def stopped() -> None:
        running = asyncio.create_task(keeper.run(lambda: None))
        await asyncio.to_thread(begun.wait, 30)
        running.cancel()
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(running, return_exceptions=True)
        await keeper.stop()

    asyncio.run(asyncio.wait_for(stopped(), 60))
    (endpoint,) = launched
    try:
        assert endpoint.poll() is not None
    finally:
        endpoint.kill()
        endpoint.wait()

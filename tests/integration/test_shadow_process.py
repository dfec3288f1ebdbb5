"""A real standby gets copies of a real endpoint's requests, and may do with them what it likes."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sealane.telemetry.codec import decode_windows
from sealane.telemetry.types import Arm
from sealane_agent.serving.messages import Load
from sealane_agent.serving.shadow import WAITING
from support.endpoints import SLOT, EndpointProcess, endpoint, lay_out, tiny_pointer
from support.under_load import linked, workers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane_agent.endpoint.link import EndpointLink
    from sealane_agent.serving.messages import Shadowed

pytestmark = pytest.mark.slow

BODY = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
)
PATIENCE_S = 120


async def mirror(link: EndpointLink) -> None:
    proved = await link.load(Load(SLOT, tiny_pointer(2), 60))
    await link.mirror(SLOT, proved.worker)


@contextmanager
def shadowed(root: Path) -> Iterator[EndpointProcess]:
    """An endpoint that serves release 1 while release 2 gets copies."""
    with endpoint(lay_out(root, 1, 2)) as running:
        linked(running, mirror)
        yield running


def ask(running: EndpointProcess, times: int) -> None:
    """Every request is answered by the release that serves."""
    connection = http.client.HTTPConnection(running.rest, timeout=PATIENCE_S)
    for _ in range(times):
        connection.request("POST", f"/v2/models/{SLOT}/infer", BODY)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        assert answer["model_version"] == "1"
        assert "parameters" not in answer
    connection.close()


def seen(running: EndpointProcess, **least: int) -> Shadowed:
    """What the standby came to, once these counts were reached."""

    async def look(link: EndpointLink) -> Shadowed:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                (status,) = await link.status()
                assert status.shadow is not None
                if all(getattr(status.shadow, name) >= count for name, count in least.items()):
                    return status.shadow
                await asyncio.sleep(0.02)

    found: Shadowed = linked(running, look)
    return found


def test_copies_are_compared_and_told_in_telemetry(tmp_path: Path) -> None:
    with shadowed(tmp_path) as running:
        ask(running, 50)
        came_to = seen(running, compared=10)
        assert came_to.disagreed == came_to.failed == came_to.lost == 0
        folder = running.folder
    with endpoint(folder) as running:
        _, body = linked(running, lambda link: link.telemetry(""))
    models = [model for window in decode_windows(body) for model in window.models]
    found = {arm: [m for m in models if m.arm is arm] for arm in (Arm.ACTIVE, Arm.SHADOW)}
    assert sum(model.requests for model in found[Arm.ACTIVE]) == 50
    assert {model.release[-1] for model in found[Arm.SHADOW]} == {"2"}
    assert sum(model.predictions.compared for model in found[Arm.SHADOW]) >= came_to.compared
    # What still waited when the endpoint ended is not counted.
    assert 50 - WAITING - 1 <= sum(model.requests for model in found[Arm.SHADOW]) <= 50


def test_a_standby_that_hangs_holds_up_nobody(tmp_path: Path) -> None:
    with shadowed(tmp_path) as running:
        standby = workers(running)[-1]
        standby.send_signal(signal.SIGSTOP)
        try:
            ask(running, 300)
            assert seen(running, dropped=200).answered == 0
        finally:
            standby.send_signal(signal.SIGCONT)
        seen(running, answered=1)


def test_a_standby_that_crashes_costs_no_request_and_is_counted(tmp_path: Path) -> None:
    with shadowed(tmp_path) as running:
        ask(running, 10)
        workers(running)[-1].kill()
        ask(running, 100)
        assert seen(running, lost=1).lost == 1
        (status,) = linked(running, lambda link: link.status())
        assert (status.traffic.crashes, status.traffic.errors) == (0, 0)

"""Swaps, crashes and hangs while eight clients ask over REST and gRPC: nobody notices."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest
from sealane_agent.serving.types import LoadFailed
from support.endpoints import EndpointProcess, endpoint, lay_out, tiny_pointer
from support.under_load import active_worker, asking, linked, swap, workers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane_agent.endpoint.link import EndpointLink

pytestmark = pytest.mark.slow

SWAPS = 6
ANSWERS = 200


@pytest.fixture
def running(tmp_path: Path) -> Iterator[EndpointProcess]:
    with endpoint(lay_out(tmp_path, *range(1, SWAPS + 2))) as started:
        yield started


def test_swaps_lose_no_request_and_every_answer_names_who_computed_it(
    running: EndpointProcess,
) -> None:
    async def swap_all(link: EndpointLink) -> None:
        for version in range(2, SWAPS + 2):
            await asyncio.to_thread(asked.go_on, "swaps", ANSWERS)
            await swap(link, version)

    with asking(running) as asked:
        linked(running, swap_all)
        asked.go_on("after", ANSWERS)
    for seen in asked.phases.values():
        assert (seen["failures"], seen["wrong"], seen["backwards"]) == (0, 0, 0), seen
    swaps, after = asked.phases["swaps"]["versions"], asked.phases["after"]["versions"]
    # Whether the last one answered before the phase after it began is a matter of a moment.
    assert sorted({*swaps, *after}) == list(range(1, SWAPS + 2))
    assert after[-1] == SWAPS + 1


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
def test_a_worker_that_crashes_or_hangs_costs_no_request(
    running: EndpointProcess, sign: signal.Signals
) -> None:
    with asking(running) as asked:
        linked(running, lambda link: swap(link, 2))
        asked.go_on("before", ANSWERS)
        before = {worker.pid for worker in workers(running)}
        active_worker(running).send_signal(sign)
        asked.go_on("after", 2 * ANSWERS)
    assert running.process.poll() is None
    assert len(before) == 2
    for seen in asked.phases.values():
        assert (seen["failures"], seen["wrong"]) == (0, 0), seen
    assert asked.phases["after"]["requests"] >= ANSWERS


def test_a_release_that_is_taken_back_is_gone_at_once(running: EndpointProcess) -> None:
    async def there_and_back(link: EndpointLink) -> None:
        await swap(link, 2, probation=True)
        await asyncio.to_thread(asked.go_on, "probation", ANSWERS)
        await link.return_("cam")

    with asking(running) as asked:
        linked(running, there_and_back)
        asked.go_on("settling", ANSWERS)
        asked.go_on("back", ANSWERS)
    for seen in asked.phases.values():
        assert (seen["failures"], seen["wrong"]) == (0, 0), seen
    assert asked.phases["back"]["versions"] == [1]


def test_a_load_that_fails_changes_nothing_for_anybody(running: EndpointProcess) -> None:
    broken = running.folder.view(tiny_pointer(2).manifest) / "onnx-fp32" / "model.onnx"
    broken.write_bytes(b"\0" * 100)

    async def refused(link: EndpointLink) -> None:
        with pytest.raises(LoadFailed):
            await swap(link, 2)

    with asking(running) as asked:
        asked.go_on("before", ANSWERS)
        linked(running, refused)
        asked.go_on("after", ANSWERS)
    for seen in asked.phases.values():
        assert (seen["failures"], seen["wrong"], seen["versions"][-1]) == (0, 0, 1), seen

"""An endpoint with little memory for its models, its control socket, and lines that ask."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from sealane.failure import FailureKind
from sealane_agent.endpoint.link import EndpointLink
from sealane_agent.serving.messages import GivesWay, Load
from sealane_agent.serving.types import LoadFailed
from support.endpoints import SLOT, endpoint, lay_out, tiny_pointer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from sealane_agent.layout import StateFolder
    from sealane_agent.serving.messages import SlotStatus

GATE = "gate"
PAUSE_S = 0.005
"""Between two requests: the machine is to load models too."""

TOGETHER_MIB = 146
"""A tiny model is guessed to need 65 MiB and takes 28 to 41: two of them and a load fit, three do
not. 28 are its own; the others are the engine's pages, shared with all who run it: at least one.
"""

BODY = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
)


class Line(threading.Thread):
    """Asks one slot all the time; keeps which version answered."""

    def __init__(self, address: str, slot: str) -> None:
        super().__init__(daemon=True)
        self._address, self._path = address, f"/v2/models/{slot}/infer"
        self._over = threading.Event()
        self.versions: list[int] = []
        self.failed: list[str] = []

    def run(self) -> None:
        """Ask."""
        connection = http.client.HTTPConnection(self._address, timeout=60)
        while not self._over.wait(PAUSE_S):
            connection.request("POST", self._path, BODY)
            response = connection.getresponse()
            content = json.loads(response.read())
            if response.status == 200:
                self.versions.append(int(content["model_version"]))
            else:
                self.failed.append(str(content))
        connection.close()

    def finish(self) -> None:
        """Ask no more."""
        self._over.set()
        self.join(60)


@contextmanager
def asked(address: str, slot: str) -> Iterator[Line]:
    """A slot that is asked all the time within; none of its requests failed."""
    line = Line(address, slot)
    line.start()
    try:
        yield line
    finally:
        line.finish()
    assert not line.failed
    assert line.versions


class Bench:
    """An endpoint's control socket, with a slot's name and a version for a command."""

    def __init__(self, link: EndpointLink, rest: str) -> None:
        self.link, self.rest = link, rest

    async def load(self, slot: str, version: int, way: GivesWay = GivesWay.IDLE) -> str:
        """A standby of that version; its name."""
        return (await self.link.load(Load(slot, tiny_pointer(version), 60, gives_way=way))).worker

    async def serve(self, slot: str, version: int, *, probation: bool = False) -> SlotStatus:
        """Load a version and activate it."""
        worker = await self.load(slot, version)
        return await self.link.activate(slot, worker, probation=probation)

    async def refused(self, slot: str, version: int) -> str:
        """What is said of a version for which there is no memory."""
        with pytest.raises(LoadFailed) as caught:
            await self.load(slot, version)
        failure = caught.value.failure
        assert (failure.kind, failure.component) == (FailureKind.ENVIRONMENTAL, "memory")
        return failure.message

    async def status(self, slot: str) -> SlotStatus:
        """One slot as it serves."""
        return next(each for each in await self.link.status() if each.slot == slot)


def on_a_small_device(
    state: StateFolder, work: Callable[[Bench], Awaitable[None]], together_mib: int = TOGETHER_MIB
) -> None:
    """Run an endpoint whose models may hold so much, beside another one, and work with it."""
    config = state.root / "agent.toml"
    config.write_text(f"[worker]\ntogether = {together_mib}\n")

    async def within(rest: str) -> None:
        link = EndpointLink(state.control_socket)
        try:
            await work(Bench(link, rest))
        finally:
            await link.close()

    with TemporaryDirectory() as folder, endpoint(lay_out(Path(folder), 1)) as other:
        _first_answer(other.rest)
        with endpoint(state, "--config", str(config)) as running:
            _first_answer(running.rest)
            asyncio.run(within(running.rest))


def _first_answer(address: str) -> None:
    """Once the first model serves it is known what it holds; until then it is guessed."""
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("POST", f"/v2/models/{SLOT}/infer", BODY)
    assert connection.getresponse().status == 200
    connection.close()

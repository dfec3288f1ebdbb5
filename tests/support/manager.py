"""A real manager in this process: its three ports on loopback, its store in a folder.

`with running_manager(tmp_path) as manager:` runs it on a thread of its own, so that tests may
block. `manager.operator()` is an operator's client, `manager.enrolled("box-1")` a device.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sealane.clock import SystemClock
from sealane.names import ReleaseName, SlotName
from sealane.trust.token import JoinToken
from sealane_manager.app import Manager
from sealane_manager.bundle.publish import PublishOrder, publish
from sealane_manager.client import Operator
from sealane_manager.desk import Pace
from sealane_manager.layout import StateFolder
from sealane_manager.metrics.push import Endpoint
from sealane_manager.parts import ManagerSettings
from sealane_manager.trust.ceremony import init_development
from sealane_manager.trust.keys import key_path, load_signer
from support.bundles import TINY_MODEL, tiny_bundle
from support.device import Device, enrol
from support.stores import lay_schema

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from sealane.bundle.types import Manifest
    from sealane.clock import Clock
    from sealane_manager.doors import Addresses

FLEET = "demo"
FAMILY = "demo"
SLOT = SlotName("cam")


@dataclass(frozen=True)
class RunningManager:
    """A manager that answers."""

    state: StateFolder
    addresses: Addresses

    def operator(self) -> Operator:
        """A client with the first operator's certificate."""
        return Operator(self.state.operator)

    def token(self, labels: Mapping[str, str] | None = None, uses: int = 1) -> JoinToken:
        """A new join token."""
        with self.operator() as operator:
            return JoinToken.parse(
                operator.create_join_token(labels or {}, uses, timedelta(hours=1))
            )

    def publish(self, folder: Path, version: int = 1) -> Manifest:
        """Pack the tiny bundle into a folder and publish it as `demo/tiny@version`."""
        return self.publish_layout(tiny_bundle(folder / f"tiny-{version}", version), version)

    def publish_layout(self, layout: Path, version: int) -> Manifest:
        """Publish a bundle of the tiny model as `demo/tiny@version`."""
        order = PublishOrder(layout, ReleaseName(TINY_MODEL, version), (SLOT,), {})
        signer = load_signer(key_path(self.state.keys, FAMILY))
        with self.operator() as operator:
            return publish(order, operator, signer, lambda _sent, _total: None).manifest

    def enrolled(self, name: str, labels: Mapping[str, str] | None = None) -> Device:
        """A machine that has just become a device."""
        return enrol(self.token(labels), name)


def make_state(folder: Path) -> StateFolder:
    """A new development fleet on loopback."""
    state = StateFolder(folder / "state")
    init_development(state, FLEET, ["127.0.0.1"], [FAMILY])
    lay_schema(state.database)
    return state


@contextmanager
def running_manager(
    folder: Path,
    clock: Clock | None = None,
    pace: Pace | None = None,
    otlp: Endpoint | None = None,
) -> Iterator[RunningManager]:
    """A manager on a new state folder, or on the one that is there already."""
    state = StateFolder(folder / "state")
    if not state.root.exists():
        state = make_state(folder)
    settings = ManagerSettings(
        state,
        fleet_port=0,
        enrol_port=0,
        operator_port=0,
        dashboard_port=0,
        pace=pace or Pace(),
        otlp=otlp or Endpoint(),
    )
    with managing(settings, clock) as running:
        yield running


@contextmanager
def managing(settings: ManagerSettings, clock: Clock | None = None) -> Iterator[RunningManager]:
    """A manager with these settings, on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    manager = Manager(settings, clock or SystemClock())

    def call(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    try:
        yield RunningManager(settings.state, call(manager.start()))
    finally:
        call(manager.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

"""Runs the manager: opens its store and its doors, keeps what goes on by itself, ends it all."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import json
import logging
import os
import signal
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane.clock import SystemClock
from sealane.service import ServiceManager

from sealane_manager.alerts.watch import Watch, Watched
from sealane_manager.clock_check import behind
from sealane_manager.doors import Addresses, Doors
from sealane_manager.drift.watch import EVERY as DRIFT_EVERY
from sealane_manager.errors import Refused
from sealane_manager.housekeeping import Chore, Housekeeping, alert_chores, store_chores
from sealane_manager.metrics.otlp import Origin
from sealane_manager.metrics.push import Endpoint, Push
from sealane_manager.metrics.survey import VERSION, Survey
from sealane_manager.parts import ManagerSettings, Parts, build
from sealane_manager.store.store import open_store
from sealane_manager.store.summaries import AuditFilter
from sealane_manager.trust.settings import FleetSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sealane.clock import Clock

    from sealane_manager.layout import StateFolder
    from sealane_manager.rollout.controller import Controller
    from sealane_manager.store.store import Store

RESIGN_EVERY: Final = timedelta(hours=1)
"""How often it is asked whether snapshot and timestamp are due."""

FORGET_EVERY: Final = timedelta(hours=1)
"""How often sessions of the dashboard that are over are forgotten."""

COLLECT_AFTER: Final = 50_000
"""Objects made and not yet gone after which cycles are looked for among them: about 10 MB."""

_log = logging.getLogger(__name__)
_CLOCK: Final = SystemClock()


async def serve(settings: ManagerSettings) -> None:
    """Run until SIGTERM or SIGINT; raises SealaneError when the manager cannot start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    manager = Manager(settings)
    addresses = await manager.start()
    _log.info("serving %s: %s", settings.state.root, addresses.spelled())
    spare_the_collector()
    service = ServiceManager.of(os.environ)
    service.ready()
    try:
        await stop.wait()
    finally:
        service.stopping()
        await manager.stop()


def spare_the_collector() -> None:
    """Look for cycles rarely, and never among what lives as long as the manager.

    Telemetry makes tens of objects for each window that die by themselves: with Python's defaults
    a quarter of storing it is spent on looking for cycles, and there are none.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


class Manager:
    """One manager on one state folder."""

    def __init__(self, settings: ManagerSettings, clock: Clock = _CLOCK) -> None:
        self._settings, self._clock = settings, clock
        self._running = AsyncExitStack()

    async def start(self) -> Addresses:
        """Open everything; raises SealaneError, and then nothing stays open."""
        async with AsyncExitStack() as stack:
            fleet = FleetSettings.load(self._settings.state.settings)
            if fleet.development:
                _log.warning("development mode: every key of this fleet lies on this machine")
            stack.enter_context(_alone(self._settings.state))
            store = open_store(self._settings.state.database)
            stack.callback(store.close)
            _check_clock(store, self._clock)
            parts = build(self._settings, store, self._clock)
            await asyncio.to_thread(parts.certificates.adopt, self._settings.state.operator)
            await asyncio.to_thread(parts.publishing.settle)
            await asyncio.to_thread(parts.repository.renew, self._clock.now())
            _run_controller(stack, parts.controller)
            _keep_house(stack, parts)
            doors = Doors(self._settings, fleet, parts)
            stack.push_async_callback(doors.close)
            addresses = await doors.open()
            push = _push(fleet, self._settings.otlp, parts, addresses)
            watched = _watched(fleet, self._settings, parts, addresses)
            watched = replace(watched, exports=lambda: push.troubles)
            _watch(stack, Watch(store, watched, parts.channels), parts)
            if self._settings.otlp.address:
                _keep(stack, (Chore("push metrics", self._settings.otlp.every, push.push),), parts)
            _announce(self._settings.state, addresses)
            stack.callback(self._settings.state.addresses.unlink, missing_ok=True)
            self._running = stack.pop_all()
        return addresses

    async def stop(self) -> None:
        """End sessions, let calls finish, close the store."""
        await self._running.aclose()


def _check_clock(store: Store, clock: Clock) -> None:
    newest = [line.at for line in store.audit.lines(AuditFilter(size=1))]
    if complaint := behind(clock.now(), newest[0] if newest else None):
        _log.warning(complaint)


def _run_controller(stack: AsyncExitStack, controller: Controller) -> None:
    task = asyncio.create_task(controller.run())

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)


def _keep_house(stack: AsyncExitStack, parts: Parts) -> None:
    settle = Chore("complete publications", RESIGN_EVERY, lambda _: parts.publishing.settle())
    resign = Chore("sign metadata again", RESIGN_EVERY, parts.repository.resign)
    forget = Chore("forget sessions that are over", FORGET_EVERY, parts.accounts.prune)
    samples = Chore("delete samples that are over", FORGET_EVERY, parts.sampling.tidy)
    _keep(stack, (settle, resign, forget, samples, *store_chores(parts.store)), parts)


def _keep(stack: AsyncExitStack, chores: Iterable[Chore], parts: Parts) -> None:
    housekeeping = Housekeeping(chores, parts.clock)
    housekeeping.start()
    stack.callback(housekeeping.stop)


def _watched(
    fleet: FleetSettings, settings: ManagerSettings, parts: Parts, addresses: Addresses
) -> Watched:
    return Watched(
        fleet=fleet.fleet,
        address=f"https://{addresses.dashboard}",
        heartbeat_s=settings.pace.heartbeat_s,
        reachable=parts.sessions.reachable,
        drifted=parts.drifting.found,
    )


def _push(fleet: FleetSettings, endpoint: Endpoint, parts: Parts, addresses: Addresses) -> Push:
    survey = Survey(fleet.fleet, parts.store, lambda: frozenset(parts.sessions.reachable()))
    started = int(parts.started.timestamp() * 1e9)
    origin = Origin(fleet.fleet, VERSION, addresses.dashboard, started)
    return Push(endpoint, survey, origin)


def _watch(stack: AsyncExitStack, watch: Watch, parts: Parts) -> None:
    follow = Chore("tell devices what drifts", DRIFT_EVERY, parts.sampling.follow)
    _keep(stack, (*alert_chores(watch, parts.drifting), follow), parts)


def _announce(state: StateFolder, addresses: Addresses) -> None:
    """Write where the manager answers: into the operator's context, then for whoever waits."""
    context = state.operator / "context.json"
    if context.exists():
        fields = json.loads(context.read_bytes()) | {"address": addresses.operator}
        fileio.replace(context, json.dumps(fields, indent=2).encode() + b"\n")
    fileio.replace(state.addresses, json.dumps(asdict(addresses)).encode())


@contextmanager
def _alone(state: StateFolder) -> Iterator[None]:
    """Hold the state folder; raises Refused while another manager does."""
    fileio.make_folder(state.addresses.parent)
    with (state.addresses.parent / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"another manager runs on {state.root}", hint="stop it first") from error
        yield

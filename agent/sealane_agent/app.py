"""Builds the supervisor's objects and runs them; the only place that does."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import random
import secrets
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sealane import fileio
from sealane.clock import SystemClock
from sealane.lossy_stream import STDERR, LossyStream
from sealane.service import ServiceManager
from sealane.trust.verifier import Verifier

from sealane_agent import journald
from sealane_agent.config import Identity, IdentityFiles
from sealane_agent.endpoint.keeper import EndpointCommand, Keeper
from sealane_agent.endpoint.link import EndpointLink
from sealane_agent.errors import AlreadyRunning
from sealane_agent.facts import boot_id, device_facts
from sealane_agent.health import Examination, keep_telling
from sealane_agent.identity.membership import Certifier
from sealane_agent.identity.passport import Passport
from sealane_agent.identity.renewer import Renewer
from sealane_agent.kit.shelf import Shelf, ShelfBlobs
from sealane_agent.line.door import Door
from sealane_agent.line.holds import Holds
from sealane_agent.log import LineLog
from sealane_agent.recollection import Recollection
from sealane_agent.sampling.keeping import Samples
from sealane_agent.sampling.sending import SampleSending
from sealane_agent.slot.actions import Tools
from sealane_agent.slot.journal import Journal
from sealane_agent.slot.qualifications import Qualifications
from sealane_agent.slot.reports import Speaker
from sealane_agent.slot.slots import Upgrades
from sealane_agent.slot.staging import Staging
from sealane_agent.store import Store
from sealane_agent.supervisor import Supervisor
from sealane_agent.telemetry.collector import Times
from sealane_agent.telemetry.host import Host
from sealane_agent.telemetry.service import Surroundings, Telemetry
from sealane_agent.upgrade.fitness import Rules, left_to_the_package
from sealane_agent.upgrade.folder import UpgradeFolder
from sealane_agent.upgrade.staging import AgentStaging
from sealane_agent.upgrade.versions import Versions
from sealane_agent.uplink import rpc
from sealane_agent.uplink.dialling import as_said
from sealane_agent.uplink.lines import dialled
from sealane_agent.uplink.profile import DEFAULT, METERED
from sealane_agent.uplink.rate import Rate
from sealane_agent.uplink.session import Session
from sealane_agent.zone import device_zone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping

    from sealane_agent.config import RunSettings
    from sealane_agent.layout import StateFolder
    from sealane_agent.log import Log
    from sealane_agent.uplink.fetch import BlobSource
    from sealane_agent.uplink.profile import Profile

_THREADS = 128
"""Every slot may be fetching at once, and nothing short shall wait behind them."""

_PAUSE_FIRST_S = 0.5
_PAUSE_MAX_S = 30.0


def run(settings: RunSettings) -> None:
    """Run the supervisor until SIGTERM or SIGINT.

    Raises NotEnrolled, AlreadyRunning, JournalDamaged or OSError.
    """
    with alone(settings.folder):
        asyncio.run(_run(settings))


@contextmanager
def alone(folder: StateFolder) -> Iterator[None]:
    """Hold a state folder; raises AlreadyRunning when another agent does."""
    IdentityFiles(folder.identity).read()
    fileio.make_folder(folder.control_socket.parent)
    with folder.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(
                f"another agent runs on {folder.root}",
                hint="stop it first, or use another --state folder",
            ) from error
        yield


def _log(form: str) -> Log:
    if form == "journal" or (form == "auto" and journald.here()):
        return journald.JournalLog()
    return LineLog(SystemClock(), LossyStream(STDERR).write, as_json=form == "json")


async def _run(settings: RunSettings) -> None:
    log = _log(settings.log)
    stopping = _stop_signal()
    service = ServiceManager.of(os.environ)
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="work")
    asyncio.get_running_loop().set_default_executor(threads)
    async with _parts(settings, log) as parts:
        supervisor, keeper = parts.supervisor, parts.keeper
        examine = Examination(supervisor, parts.journal.slots)
        running = {**parts.work, "health": keep_telling(service, examine, log)}
        if keeper is not None:
            running["keeper"] = keeper.run(supervisor.look)
        work = [asyncio.create_task(part, name=name) for name, part in running.items()]
        stopped = asyncio.create_task(stopping.wait(), name="stop")
        await asyncio.wait([*work, stopped], return_when=asyncio.FIRST_COMPLETED)
        service.stopping()
        ended = [task for task in work if task.done()]
        for task in (*work, stopped):
            task.cancel()
        await asyncio.gather(*work, stopped, return_exceptions=True)
        if keeper is not None and not ended:
            await keeper.stop()
        if not ended:
            await asyncio.to_thread(parts.versions.ended)
        for task in ended:
            task.result()
    log("stopped")


def _stop_signal() -> asyncio.Event:
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stopping.set)
    return stopping


@dataclass(frozen=True, slots=True)
class _Parts:
    """The objects of one supervisor's process, and by name what runs as long as it does."""

    supervisor: Supervisor
    journal: Journal
    versions: Versions
    keeper: Keeper | None
    work: Mapping[str, Coroutine[Any, Any, None]]


@asynccontextmanager
async def _parts(settings: RunSettings, log: Log) -> AsyncIterator[_Parts]:
    folder, clock = settings.folder, SystemClock()
    profile = METERED if settings.metered else DEFAULT
    who, passport = _identity(IdentityFiles(folder.identity))
    journal, store = Journal(folder.journal), Store(folder)
    halt, link = threading.Event(), EndpointLink(folder.control_socket)
    downloads = rpc.Downloads(lambda: passport.membership, profile)
    verifier = Verifier(folder.trust, rpc.ManagerMetadata(downloads), who.device, clock)
    shelf, blobs = _blobs(downloads, settings, halt)
    times = Times(clock, verifier.trusted_now, verifier.clock_offset)
    telemetry, windows = _telemetry(folder, times, log)
    telemetry.sending.bytes_s = profile.telemetry_bytes_s
    sending = telemetry.sending if settings.telemetry else None
    session = Session(lambda by: dialled(by, passport.membership, profile), journal, log, sending)
    session.profile, session.link = profile, as_said(settings.link)
    holds = Holds(journal, verifier.trusted_now, lambda: secrets.token_hex(4))
    tools = Tools(
        folder=folder,
        journal=journal,
        endpoint=link,
        staging=_staging(store, blobs, link, _qualifications(folder, log)),
        key=lambda: passport.key,
        believe=passport.believe,
        speaker=Speaker(who.device, boot_id()),
        log=log,
        now=verifier.trusted_now,
        chance=random.random,
        pause=lambda tries: _pause(halt, tries),
        said=session.said,
        address=lambda: _addresses(folder).get("rest", ""),
        holds=holds.of,
        order_holds=holds.order,
        zone=device_zone(settings.zone),
        shelf=shelf,
        redial=session.redial,
    )
    renewer = _renewer(passport, profile, session, log)
    versions, upgrades = _upgrades(settings, tools, blobs, lambda: session.connected)
    supervisor = Supervisor(tools, verifier, session.ask, upgrades)
    work = {
        "versions": versions.run(),
        "supervisor": supervisor.run(),
        "session": session.run(supervisor, random.random),
        "line": Door(holds, supervisor, log).run(folder.line_socket),
        "renewer": renewer.run(verifier.trusted_now, random.random),
    }
    if settings.telemetry:
        work["telemetry"] = telemetry.run()
    work["samples"] = _samples(folder, passport, log).run(verifier.trusted_now)
    log("started", device=who.device, manager=who.address, state=folder.root)
    try:
        yield _Parts(supervisor, journal, versions, _keeper(settings, log), work)
    finally:
        halt.set()
        downloads.close()
        for each in (link, windows):
            await each.close()
        await asyncio.get_running_loop().shutdown_default_executor()
        shelf.close()
        journal.close()


def _qualifications(folder: StateFolder, log: Log) -> Qualifications:
    return Qualifications(folder, device_facts(Recollection(folder.engines, log)), log)


def _staging(
    store: Store, source: BlobSource, link: EndpointLink, known: Qualifications
) -> Staging:
    return Staging(store, source, link, known.facts, known)


def _identity(files: IdentityFiles) -> tuple[Identity, Passport]:
    who = files.read()
    return who, Passport(files, who)


def _renewer(passport: Passport, profile: Profile, session: Session, log: Log) -> Renewer:
    renew = partial(rpc.renew, lifetime_s=profile.certificate_s)
    return Renewer(passport, Certifier(renew, rpc.rejoin), session, log)


def _upgrades(
    settings: RunSettings, tools: Tools, source: BlobSource, connected: Callable[[], bool]
) -> tuple[Versions, Upgrades]:
    folder, store = UpgradeFolder(settings.folder), tools.staging.store
    rules = settings.upgrade or Rules()
    versions = Versions(folder, store, settings.launched, connected)
    staging = AgentStaging(store, source, versions, tools.staging.facts, folder, rules)
    own = replace(tools, endpoint=versions, staging=staging)
    if settings.upgrade is None:
        versions.leave()
        return versions, Upgrades(own, left_to_the_package())
    folder.begin()
    return versions, Upgrades(own)


def _blobs(
    downloads: rpc.Downloads, settings: RunSettings, halt: threading.Event
) -> tuple[Shelf, ShelfBlobs]:
    shelf, rate = Shelf(settings.folder), Rate(settings.rate_kb * 1000, time.monotonic, halt.wait)
    return shelf, ShelfBlobs(shelf, rpc.ManagerBlobs(downloads, rate))


def _telemetry(folder: StateFolder, times: Times, log: Log) -> tuple[Telemetry, EndpointLink]:
    link = EndpointLink(folder.control_socket)
    around = Surroundings(folder.telemetry, link, Host(folder.root), times, boot_id())
    return Telemetry(around, log), link


def _samples(folder: StateFolder, passport: Passport, log: Log) -> SampleSending:
    def send(sealed: bytes) -> None:
        rpc.put_sample(passport.membership, sealed)

    return SampleSending(Samples(folder), send, log)


def _pause(halt: threading.Event, tries: int) -> None:
    longest = min(_PAUSE_FIRST_S * 2**tries, _PAUSE_MAX_S)
    halt.wait(longest * random.random())  # noqa: S311 - jitter, no secret


def _keeper(settings: RunSettings, log: Log) -> Keeper | None:
    if settings.external_endpoint:
        return None
    command = EndpointCommand(
        lambda again: _endpoint_command(settings, again=again), settings.folder.endpoint_log
    )
    return Keeper(settings.folder, command, log)


def _endpoint_command(settings: RunSettings, *, again: bool) -> list[str]:
    """Free ports are taken once: clients find a restarted endpoint where it was."""
    before = _addresses(settings.folder) if again else {}
    doors = {"rest": settings.rest, "grpc": settings.grpc}
    for name, address in doors.items():
        if address.endswith(":0") and name in before:
            doors[name] = before[name]
    return [
        *(sys.executable, "-m", "sealane_agent.cli.main", "endpoint"),
        *("--state", str(settings.folder.root)),
        *("--rest", doors["rest"], "--grpc", doors["grpc"]),
        *(() if settings.config is None else ("--config", str(settings.config.absolute()))),
        *(() if settings.telemetry else ("--no-telemetry",)),
    ]


def _addresses(folder: StateFolder) -> dict[str, str]:
    with suppress(OSError, ValueError):
        found = json.loads(folder.endpoint_addresses.read_bytes())
        return {name: str(found[name]) for name in ("rest", "grpc") if name in found}
    return {}

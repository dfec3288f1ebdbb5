"""The endpoint process: builds it, serves the last known good models, and ends it in order.

It waits for nobody: it serves without a supervisor, and goes on when the supervisor dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import uvloop
from sealane.clock import SystemClock
from sealane.errors import SealaneError
from sealane.fileio import make_folder, remove, replace
from sealane.service import ServiceManager

from sealane_agent.errors import AgentError
from sealane_agent.layout import ACTIVE, LKG, Pointer, StateFolder
from sealane_agent.oip.extensions import Extensions
from sealane_agent.oip.grpc_door import make_server
from sealane_agent.oip.http import HttpServer
from sealane_agent.oip.metrics import Names
from sealane_agent.oip.peers import user_of
from sealane_agent.oip.regions import Regions
from sealane_agent.oip.rest import RestDoor
from sealane_agent.oip.rest_pages import RestPages, refuse
from sealane_agent.serving.admitting import Admission, DeviceMemory
from sealane_agent.serving.bodies import SlotBodies
from sealane_agent.serving.control import Control, ControlServer, bind
from sealane_agent.serving.control_groups import surroundings
from sealane_agent.serving.dataplane import Dataplane
from sealane_agent.serving.footprints import Footprints
from sealane_agent.serving.machine_memory import surrounding_memory
from sealane_agent.serving.recording import Recording
from sealane_agent.serving.sampler import Sampling
from sealane_agent.serving.stand_in import StandIns
from sealane_agent.serving.worker_groups import open_groups
from sealane_agent.serving.worker_limits import Terms, Wish
from sealane_agent.serving.worker_process import WorkerProcess, Workplace
from sealane_agent.worker.contract import read_variant
from sealane_agent.worker.host import usable_processors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import grpc.aio
    from sealane.bundle.types import Deployment, Variant
    from sealane.names import SlotName

    from sealane_agent.serving.messages import Load
    from sealane_agent.serving.slots import StartWorker
    from sealane_agent.serving.types import Worker

DRAIN_S: Final = 10.0
"""What the requests inside get when the endpoint is told to end."""

GROUP_TOO: Final = 0o660
"""Rights of the REST door's unix socket: the agent's group may ask."""

ALIVE_EVERY_S: Final = 5.0
"""How often the service manager hears that this loop turns."""

BACKLOG: Final = 1024
"""Connections that wait to be accepted."""

_log = logging.getLogger(__name__)


class CannotServe(AgentError):  # noqa: N818 - the word says what is wrong
    """The endpoint cannot begin: an address is taken, or another endpoint has the folder."""


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """What an endpoint is told; port 0 means any free one.

    Attributes:
        state: the agent's state folder.
        rest, grpc: host and port of the two doors.
        rest_fd: a socket that listens already, instead of `rest`.
        socket: path of the REST door's unix socket; None: in the state folder.
        telemetry: whether requests are recorded.
        repository: whether clients may load and unload models.
        shared_memory: whether clients may name shared memory.
        metrics: under which names metrics are told.
        wish: what each worker may take at most, as the operator wrote it down.
        together: bytes that all workers may hold together; 0: what the machine has to spare.
        listens: called when both doors are open.
    """

    state: Path
    rest: str = "127.0.0.1:8000"
    grpc: str = "127.0.0.1:8001"
    rest_fd: int | None = None
    socket: Path | None = None
    telemetry: bool = True
    repository: bool = False
    shared_memory: bool = False
    metrics: Names = Names.SEALANE
    wish: Wish = field(default_factory=Wish)
    together: int = 0
    listens: Callable[[], None] = lambda: None


def run(settings: EndpointSettings) -> int:
    """Serve until SIGTERM or SIGINT; the process's exit code. Raises CannotServe."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    folder = StateFolder(settings.state)
    with _only_one(folder):
        place = _workplace(folder, settings.wish)

        async def start(name: str, load: Load) -> Worker:
            return await WorkerProcess.start(name, load, place)

        starts = StandIns(start, partial(_variant, folder))
        uvloop.run(_Endpoint(settings, starts, place).serve())
    return 0


def _variant(folder: StateFolder, pointer: Pointer) -> tuple[Deployment, Variant]:
    return read_variant(folder.view(pointer.manifest), pointer.variant)


def _workplace(folder: StateFolder, wish: Wish) -> Workplace:
    found, files = surroundings()
    groups = open_groups(found, files, os.getpid(), wish)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    kept = Footprints(folder, machine)
    return Workplace(folder, groups, Terms(wish, machine), kept, SlotBodies())


@contextlib.contextmanager
def _only_one(folder: StateFolder) -> Iterator[None]:
    """Hold the folder: a second endpoint would take over the first one's sockets."""
    make_folder(folder.control_socket.parent)
    descriptor = os.open(folder.control_socket.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise CannotServe(
            f"another endpoint serves {folder.root}", hint="stop it, or give another --state"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


class _Endpoint:
    def __init__(self, settings: EndpointSettings, start: StartWorker, place: Workplace) -> None:
        self._settings, self._unlimited = settings, place.groups.why_not
        self._folder = StateFolder(settings.state)
        self._sampling = Sampling(self._folder) if settings.telemetry else None
        self._recording = (
            Recording(SystemClock(), self._folder.endpoint_windows, self._sampling)
            if settings.telemetry
            else None
        )
        recorder = self._recording.recorder if self._recording else None
        self._bodies = place.bodies
        self._near = settings.socket or self._folder.inference_socket
        self._dataplane = Dataplane(start, recorder, lambda slot: read_pointer(self._folder, slot))
        self._dataplane.admission = Admission(
            DeviceMemory(surrounding_memory(), place.footprints),
            lambda: self._dataplane.slots,
            settings.together,
        )
        self._addresses = {"rest": "", "grpc": ""}

    async def serve(self) -> None:
        """Everything from the first listening socket to the last worker's end."""
        remove(self._folder.endpoint_addresses)
        stop = _stop_event()
        commands = Control(self._dataplane, lambda: self._addresses, self._recording)
        control = ControlServer(commands)
        settings = self._settings
        regions = Regions(user_of, allowed=settings.shared_memory)
        shared = Extensions(self._dataplane, regions, settings.repository, settings.metrics)
        door = RestDoor(self._dataplane, RestPages(shared))
        http = HttpServer(door.answer, refuse, door.begin, regions.leave)
        http.bodies = self._bodies
        grpc = make_server(shared)
        rest = near = recording = sampling = telling = None
        service = ServiceManager.of(os.environ)
        try:
            if self._recording is not None:
                recording = asyncio.create_task(self._recording.run(), name="recording")
            if self._sampling is not None:
                sampling = asyncio.create_task(self._sampling.run(), name="sampling")
            rest = await self._listen_rest(http)
            near = await self._listen_near(http)
            self._addresses = {
                "rest": _name(rest.sockets[0]),
                "grpc": _listen_grpc(grpc, self._settings.grpc),
            }
            self._begin_slots()
            await grpc.start()
            self._announce()
            await control.listen(self._folder.control_socket)
            self._settings.listens()
            telling = asyncio.create_task(_keep_telling(service), name="telling")
            await stop.wait()
            service.stopping()
            _log.info("the endpoint ends: requests inside get %.0f s", DRAIN_S)
        finally:
            for listener in (rest, near):
                if listener is not None:
                    listener.close()
            await asyncio.gather(control.close(), http.close(DRAIN_S), grpc.stop(DRAIN_S))
            await self._dataplane.close(DRAIN_S)
            for task in (recording, sampling, telling):
                if task is not None:
                    task.cancel()
                    await asyncio.wait([task])
            if self._sampling is not None:
                self._sampling.close()
        remove(self._folder.endpoint_addresses)
        remove(self._folder.control_socket)
        remove(self._near)

    async def _listen_rest(self, http: HttpServer) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        if self._settings.rest_fd is not None:
            given = socket.socket(fileno=self._settings.rest_fd)
            return await loop.create_server(http.connect, sock=given, backlog=BACKLOG)
        host, port = _parse_address(self._settings.rest)
        try:
            return await loop.create_server(http.connect, host.strip("[]"), port, backlog=BACKLOG)
        except OSError as error:
            raise _taken(self._settings.rest, "--rest", _why(error)) from error

    async def _listen_near(self, http: HttpServer) -> asyncio.Server:
        """For clients on this machine: the same door without the network's cost."""
        try:
            listener = bind(self._near, GROUP_TOO)
        except OSError as error:
            raise _taken(str(self._near), "--socket", _why(error)) from error
        return await asyncio.get_running_loop().create_unix_server(http.connect, sock=listener)

    def _begin_slots(self) -> None:
        for slot in self._folder.slots():
            pointer = read_pointer(self._folder, slot)
            if pointer is not None:
                self._dataplane.open(slot).begin(pointer)

    def _announce(self) -> None:
        """Before commands are taken: who reaches the control socket finds the addresses."""
        content = {
            "pid": os.getpid(),
            **self._addresses,
            "unlimited": self._unlimited,
            "processors": usable_processors(),
        }
        replace(self._folder.endpoint_addresses, json.dumps(content).encode())
        _log.info("REST on %(rest)s, gRPC on %(grpc)s", self._addresses)
        if self._unlimited:
            _log.info("workers have no limits of their own: %s", self._unlimited)
        else:
            _log.info("each worker has limits of its own")


async def _keep_telling(service: ServiceManager) -> None:
    """That the loop turns which answers every request."""
    service.ready()
    while True:
        service.alive()
        await asyncio.sleep(ALIVE_EVERY_S)


def read_pointer(folder: StateFolder, slot: SlotName) -> Pointer | None:
    """What the slot serves without a supervisor: its last known good model, else the active one."""
    for which in (LKG, ACTIVE):
        try:
            return Pointer.decode(folder.pointer(slot, which).read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, SealaneError) as error:
            _log.warning("%s: the pointer %r cannot be read: %s", slot, which, error)
    return None


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _listen_grpc(server: grpc.aio.Server, address: str) -> str:
    """The library says on stderr in its own words what it cannot do, so it is tried before."""
    host, port = _parse_address(address)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host.strip("[]"), port), family=family).close()
        return f"{host}:{server.add_insecure_port(f'{host}:{port}')}"
    except OSError as error:
        raise _taken(address, "--grpc", _why(error)) from error
    except RuntimeError as error:
        raise _taken(address, "--grpc", str(error)) from error


def _why(error: OSError) -> str:
    """The system's own words: asyncio wraps them in the address, which is said already."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def _taken(address: str, option: str, why: str) -> CannotServe:
    return CannotServe(
        f"cannot listen on {address}: {why.lower()}", hint=f"free it, or choose with {option}"
    )


def _parse_address(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdigit() and int(port) < 1 << 16):
        raise CannotServe(f"{address!r} is no address", hint="write host:port")
    _warn_when_open(host.strip("[]"))
    return host, int(port)


def _warn_when_open(host: str) -> None:
    with contextlib.suppress(ValueError):
        if not ip_address(host).is_loopback:
            _log.warning("%s is reachable from other machines, without TLS or a password", host)


def _name(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

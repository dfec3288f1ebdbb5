"""Versions of the agent as the table of a slot sees them: what an endpoint is to models.

A version is loaded by unpacking it and starting it once; it is activated by giving this process's
place to the launcher, which starts what the active pointer names.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane.bundle.agent import parse_contract, tree_of
from sealane.bundle.manifest import AGENT_CONTRACT_PATH, layer_at, parse_manifest
from sealane.errors import BundleError
from sealane.failure import Failure, FailureKind
from sealane.names import AGENT_SLOT, hex_of

from sealane_agent.serving.messages import Load, Proved, SlotStatus, Traffic
from sealane_agent.serving.types import LoadFailed
from sealane_agent.upgrade.folder import AGENT
from sealane_agent.upgrade.interpreter import interpreter, place_interpreter
from sealane_agent.upgrade.launched import VARIABLE, Relaunch
from sealane_agent.upgrade.starts import PACKAGE, well

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sealane_agent.layout import Pointer
    from sealane_agent.store import Store
    from sealane_agent.upgrade.folder import UpgradeFolder
    from sealane_agent.upgrade.launched import Launched
    from sealane_agent.upgrade.starts import Pointers

SETTLED_S: Final = 86_400.0
"""A version that ran so long is no longer suspected when it ends without a word."""

_WORDS_BYTES: Final = 400


class Versions:
    """The versions of one agent; the `Endpoint` of the agent's slot.

    Attributes:
        relaunch: set when another version shall run.
    """

    def __init__(
        self, folder: UpgradeFolder, store: Store, launched: Launched, is_well: Callable[[], bool]
    ) -> None:
        self._folder, self._store, self._launched = folder, store, launched
        self._is_well = is_well
        pointers = folder.pointers()
        self._probation = pointers.active != pointers.lkg and self._runs(pointers.active)
        self._relaunch = asyncio.Event()
        self._off = False
        self._loaded = ""

    def leave(self) -> None:
        """Versions come with the package alone: nothing is started here."""
        self._off = True

    async def run(self) -> None:
        """Until another version shall run: raises Relaunch then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_S):
                await self._relaunch.wait()
        if not self._relaunch.is_set():
            await asyncio.to_thread(self._forget_starts)
            await self._relaunch.wait()
        raise Relaunch

    def ended(self) -> None:
        """This process ends as it was told to."""
        starts = self._folder.starts(AGENT)
        self._folder.write_starts(AGENT, replace(starts, clean=True))

    # The slot's Endpoint

    async def status(self) -> tuple[SlotStatus, ...]:
        """What runs; raises ConnectionError while a version on trial has not proved itself."""
        pointers = await asyncio.to_thread(self._folder.pointers)
        running = self._running()
        if self._off:
            raise ConnectionError("versions are left to the package manager")
        if self._probation and not self._is_well():
            raise ConnectionError("the version on trial has no session yet")
        return (
            SlotStatus(
                AGENT_SLOT,
                active=running,
                active_worker=running.manifest if running else "",
                previous=await asyncio.to_thread(self._before, pointers),
                probation=self._probation,
                standby=await asyncio.to_thread(self._standby),
                traffic=Traffic(),
                given_up=self._folder.given_up() if pointers.active == pointers.lkg else None,
            ),
        )

    async def load(self, load: Load) -> Proved:
        """Unpack a version and start it once; raises LoadFailed."""
        pointer = load.pointer
        said, tree = "", self._folder.version(pointer.manifest)
        if pointer != PACKAGE:
            await asyncio.to_thread(self._unpack, pointer, tree)
            said = await asyncio.to_thread(_version_said, pointer, tree, load.deadline_s)
        self._loaded = hex_of(pointer.manifest)
        return _proved(pointer, said)

    async def restore(self, slot: str, pointer: Pointer, deadline_s: float) -> Proved:
        """As `load`: a version has one variant."""
        return await self.load(Load(slot, pointer, deadline_s))

    async def mirror(self, _slot: str, _worker: str) -> SlotStatus:
        """Nothing: a version of the agent answers no requests of which there could be copies."""
        return (await self.status())[0]

    async def activate(
        self, _slot: str, _worker: str, *, probation: bool, share: float = 1.0
    ) -> SlotStatus:
        """Give this process's place to what the active pointer names; does not return.

        A version of the agent answers no requests that could be split.
        """
        del share
        await asyncio.to_thread(self._prepare, probation=probation)
        self._relaunch.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def settle(self, _slot: str) -> SlotStatus:
        """The version on trial is kept: nothing ends it any more."""
        signal.alarm(0)
        await asyncio.to_thread(self._forget_starts)
        self._probation = False
        return (await self.status())[0]

    async def return_(self, slot: str) -> SlotStatus:
        """Give this process's place to what was good before; does not return."""
        return await self.activate(slot, "", probation=False)

    async def drop(self, _slot: str, worker: str) -> None:
        """Remove a version's files, unless it is gone back to or is the package's."""
        self._loaded = ""
        if worker not in await asyncio.to_thread(self._used):
            await asyncio.to_thread(fileio.remove_tree, self._folder.versions / worker)

    def _runs(self, pointer: Pointer | None) -> bool:
        return pointer is not None and pointer.manifest == self._launched.manifest

    def _running(self) -> Pointer | None:
        found = self._folder.pointers()
        known = (found.active, found.lkg, found.previous, PACKAGE)
        return next((each for each in known if self._runs(each)), None)

    def _before(self, pointers: Pointers) -> Pointer | None:
        """What was good before what is good now, if its files are here; else the package's own."""
        before, good = pointers.previous, pointers.lkg
        if good in (None, PACKAGE):
            return None
        here = before is not None and self._folder.version(before.manifest).is_dir()
        return before if here and before != good else PACKAGE

    def _standby(self) -> tuple[str, ...]:
        """What was loaded last, and versions that nothing runs from or may go back to."""
        there = self._folder.versions
        found = {path.name for path in there.iterdir()} if there.is_dir() else set()
        return tuple(sorted((found - self._used()) | ({self._loaded} - {""})))

    def _used(self) -> set[str]:
        """Versions that something runs from or may go back to."""
        pointers = self._folder.pointers()
        used = {self._launched.manifest, self._folder.starts("endpoint").manifest}
        used |= {each.manifest for each in (PACKAGE, pointers.lkg, pointers.previous) if each}
        return {hex_of(manifest) for manifest in used if manifest}  # type: ignore[arg-type]  # digests all

    def _prepare(self, *, probation: bool) -> None:
        self._folder.write_given_up(None)
        lkg = self._folder.pointers().lkg
        if probation and lkg is not None:
            self._folder.keep_previous(lkg)
        self._folder.write_starts(AGENT, well(self._folder.starts(AGENT)))

    def _forget_starts(self) -> None:
        starts = self._folder.starts(AGENT)
        self._folder.write_starts(AGENT, replace(well(starts), clean=False))

    def _unpack(self, pointer: Pointer, tree: Path) -> None:
        if tree.is_dir():
            return
        from sealane_agent.upgrade.unpack import unpack  # noqa: PLC0415 - 0.8 MB, seldom needed

        try:
            manifest = parse_manifest(self._store.path(pointer.manifest).read_bytes())
            contract = layer_at(manifest, AGENT_CONTRACT_PATH)
            said = parse_contract(self._store.path(contract.digest).read_bytes())
            fileio.make_folder(tree.parent)
            archive = self._store.path(tree_of(manifest).digest)
            unpack(archive, tree, said.unpacked_bytes)
        except BundleError as error:
            raise LoadFailed(_failure(pointer, FailureKind.PERMANENT, str(error))) from error
        except OSError as error:
            reason = f"it cannot be unpacked: {error}"
            raise LoadFailed(_failure(pointer, FailureKind.ENVIRONMENTAL, reason)) from error


def _version_said(pointer: Pointer, tree: Path, deadline_s: float) -> str:
    """What a version calls itself after it imported everything; raises LoadFailed."""
    command = (str(interpreter(tree)), "-I", "-m", "sealane_agent.cli.main", "version", "--imports")
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    try:
        place_interpreter(tree)
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=deadline_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"it does not start: {error}"
        raise LoadFailed(_failure(pointer, FailureKind.PERMANENT, message)) from error
    if done.returncode:
        said = done.stderr[-_WORDS_BYTES:].decode(errors="replace").strip()
        message = f"it does not start: it ended {done.returncode}: {said.splitlines()[-1:]}"
        raise LoadFailed(_failure(pointer, FailureKind.PERMANENT, message))
    return done.stdout.decode(errors="replace").strip()[:_WORDS_BYTES]


def _proved(pointer: Pointer, version: str) -> Proved:
    return Proved(
        worker=hex_of(pointer.manifest),
        runtime_version=version,
        golden_max_error=0.0,
        latency_us=0,
        memory_bytes=0,
        load_ms=0,
    )


def _failure(pointer: Pointer, kind: FailureKind, message: str) -> Failure:
    hint = "release a version that starts here, or leave this device out of the rollout"
    return Failure(kind, "staged", "version", str(pointer.release), message, hint)

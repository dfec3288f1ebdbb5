"""The supervisor: takes up director documents, runs a loop for each slot, keeps the store small."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from sealane import fileio
from sealane.bundle.manifest import parse_manifest
from sealane.errors import BundleError, KitError, TrustError
from sealane.failure import Failure, FailureKind
from sealane.fleet import Hello, MetadataFile
from sealane.names import AGENT_SLOT
from sealane.trust.agreement import is_package

from sealane_agent.errors import DiskTrouble, Refused
from sealane_agent.facts import agent_version
from sealane_agent.sampling.orders import Order, encode
from sealane_agent.slot.actions import Hands
from sealane_agent.slot.going_back import by_operator, leads_to, obstacle
from sealane_agent.slot.loop import Desires, SlotLoop
from sealane_agent.slot.state import ENDED, State, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sealane.audit.position import Position
    from sealane.fleet import Assignment, DeviceFacts, Memory, SlotReport
    from sealane.kit.file import Kit
    from sealane.names import Digest, SlotName
    from sealane.trust.documents import SlotAssignment
    from sealane.trust.verifier import Accepted, MetadataSource

    from sealane_agent.slot.actions import Tools
    from sealane_agent.slot.state import RollBack, SlotRecord


CLOCK_OFF: Final = timedelta(minutes=2)
"""A clock that is off by more is told."""


KNOWN_S: Final = 10.0
"""How long a first word may wait for the journal to say which slots there are."""


OBEYED_S: Final = 5.0
"""How long somebody at the device waits for an order; it stands while the slot is busy."""


class Judge(Protocol):
    """Judges director documents: `sealane.trust.verifier.Verifier`."""

    def new_nonce(self) -> str:
        """A question that one document may answer."""
        ...

    def seen(self) -> Position:
        """How much of the audit log was seen."""
        ...

    def memory(self) -> Memory:
        """What was seen, for a manager that may have forgotten it."""
        ...

    def files(self, above: Mapping[str, int]) -> Iterator[MetadataFile]:
        """Metadata that this device holds above these versions of its roles."""
        ...

    def clock_offset(self) -> timedelta | None:
        """How far this machine's clock is ahead of the time that is known; None if none is."""
        ...

    def accept_carried(
        self, document: bytes, source: MetadataSource, facts: DeviceFacts
    ) -> Accepted:
        """What a document asks for that was carried here with its metadata; raises TrustError."""
        ...

    def accept(
        self, document: bytes, nonce: str | None, facts: DeviceFacts, proof: Sequence[bytes]
    ) -> Accepted:
        """What the document asks for; raises TrustError, or what the transport raises."""
        ...


@dataclass(frozen=True, slots=True)
class Upgrades:
    """How versions of the agent itself come.

    Attributes:
        tools: of the agent's slot.
        refusal: why none may come by a rollout; None when one may.
    """

    tools: Tools
    refusal: Failure | None = None


class Supervisor:
    """Everything that one device does, except serving; the session's `Device`."""

    def __init__(
        self,
        tools: Tools,
        verifier: Judge,
        ask: Callable[[], None],
        upgrades: Upgrades | None = None,
    ) -> None:
        self._tools, self._verifier, self._ask = tools, verifier, ask
        self._upgrades = upgrades
        self._known = threading.Event()
        self._store = tools.staging.store
        self._desires = Desires()
        self._loops: dict[SlotName, SlotLoop] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._collecting = asyncio.Lock()
        self._told_off = timedelta(0)
        self._broken: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Reconcile every known slot until cancelled; raises what broke a slot's loop."""
        self._broken = asyncio.get_running_loop().create_future()
        known = await asyncio.to_thread(self._tools.journal.slots)
        for slot in {*known, *self._tools.folder.slots()} - {AGENT_SLOT}:
            self._open(slot)
        if self._upgrades is not None:
            self._open(AGENT_SLOT)
        self._known.set()
        try:
            await self._resume_kit()
            await self._broken
        finally:
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def look(self) -> None:
        """Look at every slot now."""
        for loop in self._loops.values():
            loop.ring()

    def stuck(self) -> tuple[str, ...]:
        """Slots whose loop has not turned for too long."""
        return tuple(slot for slot, loop in tuple(self._loops.items()) if loop.stuck)

    def activating(self) -> tuple[str, ...]:
        """Slots in which a release is being activated, or on probation."""
        moving = {State.ACTIVATING, State.PROBATION}
        loops = tuple(self._loops.values())
        return tuple(
            it.slot for it in loops if it.record.attempt and it.record.attempt.state in moving
        )

    async def roll_back(self, slot: SlotName, order: RollBack) -> Mapping[str, str]:
        """Let a slot go back; what served, what will, and the state in which the slot is by now.

        Raises Refused, DiskTrouble or JournalDamaged.
        """
        await asyncio.to_thread(self._known.wait, KNOWN_S)
        loop = self._loops.get(slot)
        if loop is None or slot == AGENT_SLOT:
            hint = "see `sealane-agent status`; versions of the agent go back by a rollout"
            raise Refused(f"there is no slot {slot} of a model here", hint=hint)
        record = await asyncio.to_thread(self._tools.journal.read, slot)
        why = obstacle(record, loop.seen) or await asyncio.to_thread(self._missing, record)
        if why:
            raise Refused(f"slot {slot} cannot go back: {why}", hint="see `sealane-agent history`")
        serves, leads = loop.seen.active, leads_to(record, loop.seen)
        loop.obeyed.clear()
        self._desires.going_back[slot] = order
        loop.ring()
        with suppress(TimeoutError):
            async with asyncio.timeout(OBEYED_S):
                await loop.obeyed.wait()
        attempt = (await asyncio.to_thread(self._tools.journal.read, slot)).attempt
        begun = attempt is not None and by_operator(attempt)
        self._tools.log("rolled back at the device", slot=slot, owner=order.owner)
        return {
            "slot": slot,
            "from": str(serves.release) if serves else "",
            "to": str(leads.release) if leads else "",
            "state": str(attempt.state) if attempt is not None and begun else "ordered",
        }

    def _missing(self, record: SlotRecord) -> str:
        """Why what the slot goes back to cannot be loaded any more."""
        attempt, before = record.attempt, record.before
        if attempt is None or attempt.state is not State.COMMITTED or before is None:
            return ""
        if self._tools.folder.view(before.manifest).is_dir():
            return ""
        return f"{before.release}, the release before, is not here any more"

    def health(self) -> Mapping[str, float | None]:
        """What only this process knows: how far the clock is ahead of the manager's time."""
        off = self._verifier.clock_offset()
        return {"clock_ahead_s": None if off is None else off.total_seconds()}

    # The session's Device

    def hello(self) -> Hello:
        """The first word; waits until every slot is known, since a manager may go by it."""
        self._known.wait(KNOWN_S)
        facts = self._tools.staging.facts
        return Hello(
            agent_version=agent_version(),
            boot_id=self._tools.speaker.boot,
            facts=replace(facts, endpoint=self._tools.address()),
            slots=self.reports(),
            memory=self._verifier.memory(),
        )

    def reports(self) -> tuple[SlotReport, ...]:
        """What every slot does."""
        return tuple(loop.report for loop in tuple(self._loops.values()))

    def new_nonce(self) -> str:
        """A question that one document may answer."""
        return self._verifier.new_nonce()

    def seen(self) -> Position:
        """How much of the audit log was seen."""
        return self._verifier.seen()

    def files(self, above: Mapping[str, int]) -> Iterator[MetadataFile]:
        """What a manager that was put back from a backup may have lost: it verifies it itself."""
        yield from self._verifier.files(above)
        for loop in tuple(self._loops.values()):
            for pointer in {loop.seen.active, loop.seen.lkg} - {None}:
                assert pointer is not None  # noqa: S101 - taken away above
                with suppress(OSError):
                    manifest = self._store.path(pointer.manifest).read_bytes()
                    yield MetadataFile(pointer.release.target_path, manifest)

    async def accept(self, answer: Assignment, nonce: str) -> bool:
        """Verify a document and take it up; what serves does not change when it is refused."""
        facts = self._tools.staging.facts
        try:
            accepted = await asyncio.to_thread(
                self._verifier.accept, answer.document, nonce, facts, answer.proof
            )
            await asyncio.to_thread(self._settle, accepted)
        except TrustError as error:
            self._tools.log("document refused", step=error.step, reason=error, hint=error.hint)
            return False
        except Exception as error:  # noqa: BLE001 - whatever a hostile answer provokes, we go on
            self._tools.log("document not verified", kind=type(error).__name__, reason=error)
            return False
        self._take_up(accepted)
        return True

    def _settle(self, accepted: Accepted) -> None:
        """Make durable what follows from a document before anything is done for it."""
        self._keep_manifests(accepted)
        if self._tools.believe(accepted.authorities):
            self._tools.log("authorities changed", bytes=len(accepted.authorities))
        self._order_samples(accepted)
        self._obey(accepted)
        self._hold(accepted)

    # Kits

    async def import_kit(self) -> Mapping[str, str]:
        """Take up the kit on the shelf; each slot's release, or why it is refused.

        Raises Refused when the kit as a whole is, or OSError.
        """
        await asyncio.to_thread(self._known.wait, KNOWN_S)
        shelf = self._tools.shelf
        try:
            kit = await asyncio.to_thread(shelf.open) if shelf else None
            if kit is None:
                raise Refused("there is no kit on the shelf", hint="sealane-agent import KIT")
            accepted = await asyncio.to_thread(self._judge_kit, kit)
        except (KitError, TrustError) as error:
            await asyncio.to_thread(self._clear_shelf)
            step = f" (step {error.step})" if isinstance(error, TrustError) else ""
            self._tools.log("kit refused", reason=f"{error}{step}", hint=error.hint)
            raise Refused(f"the kit is refused: {error}{step}", hint=error.hint) from error
        self._tools.log("kit accepted", kit=kit.index.id, blobs=len(kit.index.blobs))
        self._take_up(accepted)
        await asyncio.to_thread(self._clear_shelf)  # what it brings may be here already
        self._tools.redial()
        return {
            item.slot: str(accepted.refused.get(item.slot, item.release))
            for item in accepted.document.slots
        }

    def _judge_kit(self, kit: Kit) -> Accepted:
        document = kit.document(self._tools.speaker.device)
        facts = self._tools.staging.facts
        accepted = self._verifier.accept_carried(document, kit, facts)
        self._settle(accepted)
        return accepted

    async def _resume_kit(self) -> None:
        """A kit that lay on the shelf when the process ended is taken up again."""
        shelf = self._tools.shelf
        if shelf is not None and await asyncio.to_thread(shelf.has_one):
            with suppress(Refused, OSError):
                await self.import_kit()

    def _clear_shelf(self) -> None:
        """Let the kit go unless something still comes, or shall come, from it."""
        shelf = self._tools.shelf
        if shelf is None or not shelf.has_one():
            return
        if shelf.kit is None or not any(map(self._comes_from(shelf.kit), tuple(self._loops))):
            shelf.clear()
            self._tools.log("kit done")

    def _comes_from(self, kit: Kit) -> Callable[[SlotName], bool]:
        def comes(slot: SlotName) -> bool:
            attempt = self._tools.journal.read(slot).attempt
            if attempt is not None and attempt.state not in ENDED:
                return attempt.rollout == kit.index.id
            wanted = self._desires.wanted.get(slot)
            if wanted is None or wanted.assignment.rollout != kit.index.id:
                return False
            return attempt is None or attempt.key != wanted.key

        return comes

    def _obey(self, accepted: Accepted) -> None:
        """Make durable what is in quarantine; a manager that says nothing of it changes nothing."""
        ordered = accepted.document.quarantined
        if ordered is None:
            return
        if self._tools.journal.obey(ordered):
            names = ",".join(each.manifest.removeprefix("sha256:")[:12] for each in ordered)
            self._tools.log("quarantine ordered", bundles=names or "none")
        self._desires.ordered = frozenset(each.manifest for each in ordered)

    def _hold(self, accepted: Accepted) -> None:
        """Keep the manager's holds; one that says nothing of them changes nothing."""
        holds = accepted.document.holds
        if holds is not None and self._tools.order_holds(holds):
            self._tools.log("holds ordered", holds=",".join(each.id for each in holds) or "none")

    def _keep_manifests(self, accepted: Accepted) -> None:
        for release in accepted.approved:
            self._store.put(release.assignment.manifest, release.manifest)

    def _take_up(self, accepted: Accepted) -> None:
        if accepted.lost:
            self._tools.log("audit log lost", reason=accepted.lost)
        refused = accepted.refused
        self._desires.wanted = {
            item.slot: Wanted(item, self._refusal(item, refused.get(item.slot)))
            for item in accepted.document.slots
            if not self._is_here(item)
        }
        self._desires.heard = True
        self._tools.log(
            "document accepted",
            version=accepted.document.version,
            generation=accepted.document.generation,
            slots=len(accepted.document.slots),
        )
        self._tell_clock(self._verifier.clock_offset() or timedelta(0))
        for slot in self._desires.wanted:
            self._open(slot)
        self.look()

    def _tell_clock(self, off: timedelta) -> None:
        """Once for each error: what is verified does not depend on it, other programs may."""
        if abs(off - self._told_off) > CLOCK_OFF and abs(off) > CLOCK_OFF:
            way = "ahead" if off > timedelta(0) else "behind"
            much = timedelta(seconds=round(abs(off).total_seconds()))
            reason = f"it is {much} {way} of the manager's time"
            self._tools.log("clock wrong", reason=reason, hint="set it: timedatectl set-ntp true")
            self._told_off = off

    def _is_here(self, wanted: SlotAssignment) -> bool:
        """What the package brought runs already where the package alone brings versions."""
        left = self._upgrades is None or self._upgrades.refusal is not None
        return left and is_package(wanted)

    def _refusal(self, wanted: SlotAssignment, error: TrustError | None) -> Failure | None:
        if error is None and wanted.slot == AGENT_SLOT and self._upgrades is not None:
            return self._upgrades.refusal
        return _refusal(wanted, error)

    def _order_samples(self, accepted: Accepted) -> None:
        """Tell the endpoint of what both authorities let be kept: of approved releases alone."""
        shift = round((self._tools.now() - datetime.now(UTC)).total_seconds())
        orders: dict[str, Order] = {
            each.assignment.slot: Order(
                release=str(each.assignment.release),
                key=each.assignment.sampling.key,
                until=int(each.assignment.sampling.until.timestamp()),
                shift=shift,
            )
            for each in accepted.approved
            if each.assignment.sampling is not None
        }
        path = self._tools.folder.sampling
        try:
            if orders or path.exists():
                fileio.replace(path, encode(orders))
        except OSError as error:  # what serves does not depend on it, and each order ends by itself
            self._tools.log("sampling not changed", reason=error)

    # Slots

    def _open(self, slot: SlotName) -> None:
        if slot in self._loops:
            return
        tools = self._tools
        if slot == AGENT_SLOT:
            if self._upgrades is None:
                return
            tools = self._upgrades.tools
        hands = Hands(slot, tools, self._desires.unwanted)
        loop = self._loops[slot] = SlotLoop(slot, tools, hands, self._desires)
        task = asyncio.create_task(loop.run(self._collect_soon, self._ask), name=slot)
        self._tasks.add(task)
        task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._broken is not None and not self._broken.done():
            self._broken.set_exception(error)

    # The store

    def _collect_soon(self) -> None:
        task = asyncio.create_task(self._collect(), name="collect")
        self._tasks.add(task)
        task.add_done_callback(self._closed)

    async def _collect(self) -> None:
        async with self._collecting:
            kept = frozenset(self._needed())
            try:
                gone = await asyncio.to_thread(self._remove_all_but, kept)
                await asyncio.to_thread(self._clear_shelf)
            except (OSError, DiskTrouble) as error:
                self._tools.log("store not cleaned", reason=error, hint="it is tried again later")
                return
        if gone:
            self._tools.log("store cleaned", removed=gone)

    def _needed(self) -> Iterator[Digest]:
        """Manifests of all that serves, may serve again, or is on its way."""
        for wanted in self._desires.wanted.values():
            yield wanted.assignment.manifest
        for loop in self._loops.values():
            if loop.record.attempt is not None:
                yield loop.record.attempt.manifest
            if loop.record.before is not None:
                yield loop.record.before.manifest
            status = loop.seen.serving
            active, previous = (status.active, status.previous) if status else (None, None)
            for pointer in (loop.seen.active, loop.seen.lkg, active, previous):
                if pointer is not None:
                    yield pointer.manifest

    def _remove_all_but(self, manifests: frozenset[Digest]) -> int:
        blobs = set(manifests)
        for manifest in manifests:
            with suppress(OSError, BundleError):
                layers = parse_manifest(self._store.path(manifest).read_bytes()).layers
                blobs |= {layer.digest for layer in layers}
        return self._store.collect(blobs, manifests)


def _refusal(wanted: SlotAssignment, error: TrustError | None) -> Failure | None:
    if error is None:
        return None
    return Failure(
        FailureKind.PERMANENT,
        phase="accepted",
        component="verifier",
        element=str(wanted.release),
        message=f"{error} (step {error.step})",
        hint=error.hint,
    )

"""A device's supervisor in this process: real journal, store and loops around simulated others."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sealane import receipt as receipts
from sealane.audit.position import NOWHERE, Position
from sealane.bundle.types import Objective, ProbationLimits
from sealane.errors import TrustError
from sealane.fleet import Assignment, DeviceFacts, Memory, MetadataFile, RuntimeFact
from sealane.kit.file import Kit
from sealane.names import DeviceId, Digest, ReleaseName, SlotName
from sealane.receipt import Receipt, SignedReceipt
from sealane.trust.documents import (
    ApprovedRelease,
    DirectorDocument,
    Lease,
    Quarantined,
    SlotAssignment,
)
from sealane.trust.identity import new_key
from sealane.trust.verifier import Accepted
from sealane_agent.kit.shelf import Shelf, ShelfBlobs
from sealane_agent.layout import ACTIVE, LKG, Pointer, StateFolder
from sealane_agent.line.holds import Holds
from sealane_agent.slot.actions import Tools
from sealane_agent.slot.journal import Journal
from sealane_agent.slot.qualifications import Qualifications
from sealane_agent.slot.reports import Speaker
from sealane_agent.slot.staging import Staging
from sealane_agent.slot.state import State
from sealane_agent.store import Store
from sealane_agent.supervisor import Supervisor
from support.agent_fakes import CAM, Died, FakeBlobs, FakeEndpoint, Lines
from support.bundles import TINY_MODEL, manifest_of, tiny_deployment, tiny_files, with_variants

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sealane.bundle.types import Manifest
    from sealane.fleet import Winner
    from sealane.holds import Hold
    from sealane.trust.verifier import MetadataSource

DEVICE = DeviceId("press-7")
ORT = RuntimeFact("onnxruntime", "1.32.0", ("cpu",))
FACTS = DeviceFacts("x86_64", "linux", 2, 2**32, (ORT,), "")
PATIENCE_S = 60.0


@dataclass
class FakeJudge:
    """Accepts what it is told to, without signatures; `carried` by their documents."""

    accepted: Accepted | None = None
    carried: dict[bytes, Accepted] = field(default_factory=dict)

    def new_nonce(self) -> str:
        return "nonce"

    def seen(self) -> Position:
        return NOWHERE

    def clock_offset(self) -> timedelta | None:
        return None

    def memory(self) -> Memory:
        return Memory()

    def files(self, above: Mapping[str, int]) -> Iterator[MetadataFile]:
        yield from (MetadataFile(role, b"") for role in above)

    def accept_carried(
        self, document: bytes, source: MetadataSource, facts: DeviceFacts
    ) -> Accepted:
        assert isinstance(source, Kit)
        assert facts == FACTS
        if document not in self.carried:
            raise TrustError("7 version floor", "it is an older one")
        return self.carried[document]

    def accept(
        self, document: bytes, nonce: str | None, facts: DeviceFacts, proof: Sequence[bytes]
    ) -> Accepted:
        assert (document, nonce, facts, proof) == (b"document", "nonce", FACTS, ())
        if self.accepted is None:
            raise TrustError("4 threshold", "nobody signed it")
        return self.accepted


@dataclass
class Site:
    """One device: its disk outlives its supervisors, and so does its endpoint."""

    root: Path
    probation: ProbationLimits = field(default_factory=lambda: ProbationLimits(seconds=0))
    endpoint: FakeEndpoint = field(default_factory=FakeEndpoint)
    blobs: FakeBlobs = field(default_factory=lambda: FakeBlobs({}, chunk=4096))
    judge: FakeJudge = field(default_factory=FakeJudge)
    lines: Lines = field(default_factory=Lines)
    variants: tuple[str, ...] = ("onnx-fp32",)
    objective: Objective = field(default_factory=Objective)

    def __post_init__(self) -> None:
        self.folder = StateFolder(self.root)
        self.key = new_key()
        self.said = asyncio.Event()

    def bundle(self, version: int) -> Manifest:
        """Put a bundle into the source of blobs."""
        deployment = with_variants(tiny_deployment(self.probation), self.variants)
        deployment = replace(deployment, objective=self.objective)
        manifest, files = manifest_of(tiny_files(version, deployment))
        self.blobs.contents |= {item.digest: files[item.path] for item in manifest.layers}
        return manifest

    def wish(self, version: int, slot: SlotName = CAM, rollout: str = "") -> SlotAssignment:
        """An assignment with a lease."""
        manifest = self.bundle(version)
        lease = Lease("lease", datetime.now(UTC) + timedelta(hours=1))
        name = ReleaseName(TINY_MODEL, version)
        length = len(manifest.content)
        return SlotAssignment(slot, name, manifest.digest, length, rollout or f"r{version}", lease)

    def want(
        self,
        *wishes: SlotAssignment,
        refused: TrustError | None = None,
        quarantined: tuple[Quarantined, ...] | None = None,
        holds: tuple[Hold, ...] | None = None,
    ) -> None:
        """What the next document says."""
        now = datetime.now(UTC)
        document = DirectorDocument(
            DEVICE, 1, now, now + timedelta(hours=1), "nonce", 1, 1, 1, wishes
        )
        document = replace(document, quarantined=quarantined, holds=holds)
        approved = tuple(
            ApprovedRelease(wish, self.bundle(wish.release.version).content) for wish in wishes
        )
        no = {wish.slot: refused for wish in wishes if refused is not None}
        self.judge.accepted = Accepted(document, () if refused else approved, no)

    def pointer(self, which: str, slot: SlotName = CAM) -> int:
        """The version that a pointer names; 0 without one."""
        path = self.folder.pointer(slot, which)
        return Pointer.decode(path.read_bytes()).release.version if path.is_file() else 0

    @property
    def pointers(self) -> tuple[int, int]:
        """The versions that are active and last known good."""
        return self.pointer(ACTIVE), self.pointer(LKG)

    @contextlib.asynccontextmanager
    async def supervisor(self) -> AsyncIterator[Run]:
        """A supervisor on this disk; leaving ends it as a crash would."""
        threads = ThreadPoolExecutor(4)
        asyncio.get_running_loop().set_default_executor(threads)
        journal = Journal(self.folder.journal)
        won = Qualifications(self.folder, FACTS, self.lines)
        shelf = Shelf(self.folder)
        blobs = ShelfBlobs(shelf, self.blobs)
        holds = Holds(journal, lambda: datetime.now(UTC), lambda: "h1")
        tools = Tools(
            folder=self.folder,
            journal=journal,
            endpoint=self.endpoint,
            staging=Staging(Store(self.folder), blobs, self.endpoint, FACTS, won),
            key=lambda: self.key,
            speaker=Speaker(DEVICE, "boot"),
            log=self.lines,
            now=lambda: datetime.now(UTC),
            chance=lambda: 0.0,
            pause=lambda _: None,
            said=self.said.set,
            address=lambda: "127.0.0.1:8000",
            holds=holds.of,
            order_holds=holds.order,
            shelf=shelf,
        )
        supervisor = Supervisor(tools, self.judge, lambda: None)
        task = asyncio.create_task(supervisor.run())
        await asyncio.sleep(0)
        try:
            yield Run(supervisor, journal, self, task)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Died):
                await task
            threads.shutdown()
            shelf.close()
            journal.close()


@dataclass
class Run:
    """One life of a supervisor."""

    supervisor: Supervisor
    journal: Journal
    site: Site
    task: asyncio.Task[None]

    async def dead(self) -> None:
        """Wait until the supervisor has died."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait([self.task])

    async def hear(self, *winners: Winner) -> bool:
        """Let a director document come, and with it what others of the class measured."""
        answer = Assignment(b"document", winners=winners)
        return await self.supervisor.accept(answer, "nonce")

    async def until(self, state: State, slot: SlotName = CAM) -> None:
        """Wait until the slot's attempt is in this state."""
        await self.wait_for(lambda: self.state(slot) is state)

    async def settled(self, versions: tuple[int, int]) -> None:
        """Wait until the pointers name these versions and the endpoint serves the active one."""
        await self.wait_for(
            lambda: self.site.pointers == versions and self.serving() == versions[0]
        )

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds; nothing tells when it does."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - the subject has no event to wait for
                await asyncio.sleep(0.01)

    def state(self, slot: SlotName = CAM) -> State:
        attempt = self.journal.read(slot).attempt
        return attempt.state if attempt else State.IDLE

    def serving(self) -> int:
        status = self.site.endpoint.statuses.get(CAM)
        return status.active.release.version if status and status.active else 0

    def receipts(self) -> list[Receipt]:
        """Every receipt in the outbox, its signature checked."""
        signed = [item.body for item in self.journal.events(0)]
        key = self.site.key.public_key()
        return [receipts.verify(item, key) for item in signed if isinstance(item, SignedReceipt)]

    def states(self, slot: SlotName = CAM) -> list[str]:
        """Every state that was reported, in order."""
        bodies = [item.body for item in self.journal.events(0)]
        return [
            item.state
            for item in bodies
            if not isinstance(item, SignedReceipt)
            if item.slot == slot
        ]


def digest_of(site: Site, version: int) -> Digest:
    """The digest of a version's manifest."""
    return site.bundle(version).digest

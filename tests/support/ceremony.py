"""A fleet and its people, in one process: proposals, signatures, what was written down."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sealane.names import ReleaseName
from sealane_manager.layout import StateFolder
from sealane_manager.repository import Repository
from sealane_manager.trust.ceremony import Founding, Trustees, init_production
from sealane_manager.trust.edits import Ground
from sealane_manager.trust.endings import FamilyUse
from sealane_manager.trust.keys import key_path, load_signer
from sealane_manager.trust.office import LocalDesk
from sealane_manager.trust.pending import Books, Pending
from sealane_manager.trust.proposals import Proposal, look, offer_of, propose, signed
from support.crash_model import Image
from support.holders import Holder, new_holder
from support.trust import ManualClock, manifest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from sealane_manager.trust.changes import Change, Offer, Outcome
    from sealane_manager.trust.proposals import Look
    from securesystemslib.signer import Signer
    from tuf.api.metadata import Metadata

FIRST = ReleaseName.parse("digits/classifier@1")
CONTENT = manifest_of(str(FIRST))


class Office:
    """Stands for a manager's publishing, without blobs."""

    def __init__(self, repository: Repository, pending: Pending) -> None:
        self.repository, self.pending = repository, pending

    def current(self, role: str) -> bytes:
        return self.repository.current(role)

    def changes(self) -> tuple[Change, ...]:
        return self.pending.changes()

    def submit(self, offer: Offer, actor: str) -> Outcome:
        return self.pending.submit(offer, actor)

    def withdraw(self, role: str, actor: str) -> None:
        self.pending.withdraw(role, actor)


@dataclass
class Ceremony:
    """A fleet, the people around it, and what was written down."""

    folder: Path

    def __post_init__(self) -> None:
        self.state = StateFolder(self.folder / "state")
        self.clock = ManualClock()
        self.log: list[tuple[str, str, str]] = []
        self.holders: dict[str, Holder] = {}
        self.uses: dict[str, FamilyUse] = {}

    def holder(self, name: str) -> Holder:
        if name not in self.holders:
            self.holders[name] = new_holder(name, self.folder / "home")
        return self.holders[name]

    @property
    def repository(self) -> Repository:
        return Repository(self.state.tuf, self.state.keys, self.clock)

    @property
    def desk(self) -> LocalDesk:
        books = Books(
            lambda *line: self.log.append(line),
            lambda family: self.uses.get(family, FamilyUse()),
        )
        pending = Pending(self.repository, self.state, books, self.clock)
        return LocalDesk(Office(self.repository, pending), "ana")  # type: ignore[arg-type]  # the part of it that is asked

    def trustees(self, threshold: int, *names: str) -> Trustees:
        return Trustees(tuple(self.holder(name).key for name in names), threshold)

    def local(self, role: str) -> Signer:
        return load_signer(key_path(self.state.keys, role))

    def ground(self, found: Look) -> Ground:
        return Ground(found.base, found.current, self.clock.now())

    def propose(
        self,
        edit: Callable[[Ground], Mapping[str, Metadata[Any]]],
        *signers: Signer,
        begins: str = "",
        in_use: bool = False,
    ) -> tuple[Outcome, ...]:
        found = look(self.desk, family=begins)
        documents = edit(self.ground(found))
        return propose(self.desk, found, Proposal(documents, "because", signers, in_use))

    def sign(self, *names: str) -> list[Outcome]:
        outcomes = []
        for name in names:
            signer = self.holder(name).signer
            found = look(self.desk).for_key(signer.public_key.keyid)
            outcomes += [self.desk.submit(offer_of(signed(change, signer))) for change in found]
        return outcomes

    def waiting(self) -> list[str]:
        return sorted(look(self.desk).waiting)

    def add_target(self, release: ReleaseName = FIRST) -> bytes:
        content = manifest_of(str(release))
        self.repository.add_target(release, content)
        return content

    def version(self, role: str) -> int:
        return int(self.repository.documents()[role].signed.version)


def begin(folder: Path) -> Ceremony:
    """A production fleet called acme: root 2 of 3, targets 1 of 1, digits 2 of 2."""
    made = Ceremony(folder)
    for name in ("ana", "ben", "eva", "kim", "lea", "max"):
        made.holder(name)
    _begun().write(made.state.root)
    return made


@cache
def _begun() -> Image:
    """Its state folder, made once: to begin a fleet and to sign it takes a while."""
    with TemporaryDirectory() as folder:
        made = Ceremony(Path(folder))
        offline = {
            "root": made.trustees(2, "ana", "ben", "eva"),
            "targets": made.trustees(1, "kim"),
            "digits": made.trustees(2, "lea", "max"),
        }
        init_production(made.state, Founding("acme", ("localhost",), offline))
        made.sign("ana", "ben", "kim", "lea", "max")
        return Image.of(made.state.root)

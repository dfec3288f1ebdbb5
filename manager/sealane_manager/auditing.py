"""Verifies an audit log as anybody outside the manager does: signature, every entry, what was seen.

Nothing here asks the manager; what it said comes in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sealane.audit import merkle
from sealane.audit.checkpoint import parsed, verified
from sealane.audit.witness import Seen, Shown, declared_loss, witnessed
from sealane.errors import TrustError
from sealane.trust import director
from sealane.trust.steps import Step
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tuf.api.metadata import Key


@dataclass(frozen=True, slots=True)
class DirectorKeys:
    """Who may sign checkpoints, and how many must."""

    keys: Mapping[str, Key]
    threshold: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A log that was found whole.

    Attributes:
        since: entries that were seen before and are still there; 0 when none were seen.
        lost: what the manager declared lost since then, or empty.
    """

    note: str
    entries: int
    since: int
    lost: str

    def row(self) -> dict[str, Any]:
        """For people and programs."""
        checkpoint = parsed(self.note)
        return {
            "fleet": checkpoint.fleet,
            "entries": self.entries,
            "root": checkpoint.root.hex(),
            "epoch": checkpoint.position.epoch,
            "continues": self.since,
            "declared_lost": self.lost,
        }


class Auditor:
    """Remembers the newest checkpoint that was verified before, as a signed note or nothing."""

    def __init__(self, keys: DirectorKeys, remembered: str) -> None:
        self._keys = keys
        self._fingerprint = director.fingerprint(keys.keys)
        self.seen = Seen(self._fingerprint, remembered)

    def verify(self, note: str, proof: Sequence[bytes], leaves: Iterable[bytes]) -> Finding:
        """Judge a checkpoint and all entries up to it; raises TrustError."""
        checkpoint = verified(note, self._keys.keys, self._keys.threshold)
        shown = Shown(note, checkpoint, proof)
        after = witnessed(self.seen, self._fingerprint, shown, answered=True)
        size, root = _hashed(leaves)
        if (size, root) != (checkpoint.position.size, checkpoint.root):
            message = f"the log's {size} entries are not the ones that the director signed"
            raise TrustError(Step.HISTORY, message, hint="an entry was changed in the database")
        lost = declared_loss(self.seen, after)
        return Finding(note, size, 0 if lost else self.seen.position.size, lost)


def director_keys(root: bytes) -> DirectorKeys:
    """The director's keys in a root.json; raises TrustError."""
    try:
        metadata = Metadata[Root].from_bytes(root)
        delegations = director.director_role(metadata.signed).delegations
    except (RepositoryError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrustError(Step.DIRECTOR_KEY, "this root.json names no director") from error
    if delegations is None or delegations.roles is None:
        raise TrustError(Step.DIRECTOR_KEY, "this root.json names no director")
    return DirectorKeys(delegations.keys, delegations.roles[director.DIRECTOR].threshold)


def _hashed(leaves: Iterable[bytes]) -> tuple[int, bytes]:
    size, peaks = 0, tuple[bytes, ...]()
    for leaf in leaves:
        peaks = merkle.grown(size, peaks, [merkle.leaf_hash(leaf)])[1]
        size += 1
    return size, merkle.fold(peaks)

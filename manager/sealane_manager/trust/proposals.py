"""Proposes changes to a manager and brings signatures to it, or to a file that is carried by hand.

The manager is a store here: what makes a change count is the signatures, made on this side.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from sealane.errors import SealaneError
from sealane.limits import ROOT_ROTATIONS
from securesystemslib.exceptions import UnsupportedLibraryError
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, Root, Targets

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.trust import changes
from sealane_manager.trust.changes import Change, Offer
from sealane_manager.trust.describe import differences
from sealane_manager.trust.endings import delegated, standing
from sealane_manager.trust.signers import said

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from securesystemslib.signer import Signer

    from sealane_manager.trust.changes import Demand, Documents, Outcome


class TrustDesk(Protocol):
    """The part of a manager that keeps the trust root and its pending changes."""

    def get_metadata(self, role: str) -> bytes:
        """The current metadata of a role, or an earlier root (`2.root`); raises NotKnown."""
        ...

    def changes(self) -> tuple[Change, ...]:
        """Every change that waits for signatures."""
        ...

    def submit(self, offer: Offer) -> Outcome:
        """Propose, or bring signatures; raises Refused."""
        ...

    def withdraw(self, role: str) -> None:
        """Forget a waiting change; raises NotKnown."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """What is current and what waits, at one moment.

    Attributes:
        current: of families that have ended the last of those that begin again.
        waiting: changes by role, stale ones among them.
        roots: earlier roots by version, as far as they were asked for.
    """

    current: Documents
    waiting: Mapping[str, Change]
    roots: Mapping[int, Metadata[Root]] = field(default_factory=dict)

    @property
    def pending(self) -> dict[str, Metadata[Any]]:
        """The waiting documents that still follow the current ones."""
        found = {role: change.document for role, change in self.waiting.items()}
        return changes.fresh(found, self.current)

    @property
    def base(self) -> dict[str, Metadata[Any]]:
        """What the next edit starts from; families that have ended are not in it."""
        left = {role: each for role, each in self.current.items() if standing(role, self.current)}
        return left | self.pending

    def demands(self, role: str) -> tuple[Demand, ...]:
        """What must be signed before the waiting change of a role is published."""
        return changes.demands(role, self.pending, self.current)

    def describe(self, role: str) -> tuple[str, ...]:
        """What the waiting change of a role does, in sentences."""
        return differences(role, self.pending[role], standing(role, self.current))

    def for_key(self, keyid: str) -> tuple[Change, ...]:
        """The waiting changes that this key may sign and has not."""
        return tuple(
            self.waiting[role]
            for role, document in self.pending.items()
            if keyid in changes.entitled(role, self.pending, self.current)
            and keyid not in document.signatures
        )


@dataclass(frozen=True, slots=True)
class Proposal:
    """Documents to propose together, and who signs them at once where the signature counts.

    Attributes:
        in_use: families may end although they are in use.
    """

    documents: Documents
    reason: str
    signers: tuple[Signer, ...] = ()
    in_use: bool = False


def look(desk: TrustDesk, since: int | None = None, family: str = "") -> Look:
    """What a manager has now, with every root after version `since`.

    `family`: one that shall begin, so that it goes on where one of that name has ended.
    """
    current: dict[str, Metadata[Any]] = {}
    for role in (Root.type, Targets.type):
        _read(desk, role, current)
    waiting = {change.role: change for change in desk.changes()}
    known = delegated(current[Targets.type].signed) if Targets.type in current else ()
    named = {*known, *waiting, *([family] if family else ())} - current.keys()
    for role in sorted(named):
        _read(desk, role, current)
    roots = _roots(desk, since, current) if since is not None else {}
    return Look(current, waiting, roots)


def _roots(
    desk: TrustDesk, since: int, current: Mapping[str, Metadata[Any]]
) -> dict[int, Metadata[Root]]:
    newest = current[Root.type].signed.version if Root.type in current else 0
    if newest - since > ROOT_ROTATIONS:
        raise Refused(
            f"{newest - since} roots came since: more than the {ROOT_ROTATIONS} that are followed"
        )
    return {
        version: changes.parse(Root.type, desk.get_metadata(f"{version}.{Root.type}"))
        for version in range(since + 1, newest)
    }


def propose(desk: TrustDesk, found: Look, proposal: Proposal) -> tuple[Outcome, ...]:
    """Propose documents together; raises Refused when somebody changed something meanwhile."""
    documents = proposal.documents
    pending = found.pending | dict(documents)
    for role, document in documents.items():
        allowed = changes.entitled(role, pending, found.current)
        signers = [each for each in proposal.signers if each.public_key.keyid in allowed]
        if signers and role in found.pending:
            raise Refused(
                f"a change of {role} waits already, and would be signed with this one unseen",
                hint="look at it with `sealane trust status`; sign it, or withdraw it first",
            )
        for signer in signers:
            sign_with(document, signer)
    return tuple(
        desk.submit(_offer(role, proposal, found)) for role in sorted(documents, key=_root_first)
    )


def _offer(role: str, proposal: Proposal, found: Look) -> Offer:
    replaces = found.waiting[role].fingerprint if role in found.waiting else ""
    content = changes.encode(proposal.documents[role])
    return Offer(role, content, proposal.reason, replaces, proposal.in_use)


def signed(change: Change, signer: Signer) -> Change:
    """The change with one more signature."""
    document = change.document
    sign_with(document, signer)
    return replace(change, metadata=changes.encode(document))


def sign_with(document: Metadata[Any], signer: Signer) -> None:
    """Add a signature; raises SealaneError when the key cannot be used."""
    try:
        document.sign(signer, append=True)
    except (UnsignedMetadataError, UnsupportedLibraryError, ValueError, OSError) as error:
        cause = said(error.__cause__ or error)
        raise SealaneError(
            f"the key {signer.public_key.keyid[:12]} could not sign: {cause}",
            hint="is the token plugged in and the PIN right, are you logged in to the service?",
        ) from error


def offer_of(change: Change) -> Offer:
    """What brings a signed change back to the manager."""
    return Offer(change.role, change.metadata, change.reason)


def root_first(waiting: Iterable[Change]) -> list[Change]:
    """Changes in the order in which they are looked at."""
    return sorted(waiting, key=lambda change: _root_first(change.role))


def _root_first(role: str) -> tuple[int, str]:
    return {Root.type: 0, Targets.type: 1}.get(role, 2), role


def _read(desk: TrustDesk, role: str, into: dict[str, Metadata[Any]]) -> None:
    try:
        into[role] = changes.parse(role, desk.get_metadata(role))
    except NotKnown:
        return

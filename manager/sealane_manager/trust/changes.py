"""Decides what a proposed change of a role still needs, and what may be published together. Pure.

A change is the next metadata of the root, the targets or a family, with the signatures that it has
so far. It is published once enough of the keys that are entitled to it have signed, and only
together with everything that it would otherwise break: a root that replaces the targets' keys waits
for targets that the new keys signed, targets that replace a family's keys wait for the family.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from tuf.api.metadata import Metadata, Root, Targets

from sealane_manager.errors import Refused
from sealane_manager.trust import endings, submission
from sealane_manager.trust.public_keys import holder_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from tuf.api.metadata import VerificationResult

    Documents = Mapping[str, Metadata[Any]]
    """Metadata by role: root, targets and families."""

_AHEAD: Final = ((Root.type, Targets.type), (Root.type,), (Targets.type,), ())


@dataclass(frozen=True, slots=True)
class Given:
    """A signature that a change has: whose, who brought it and when."""

    keyid: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """The proposed next metadata of a role.

    Attributes:
        metadata: TUF metadata as JSON, with the signatures so far.
        reason: why, in the proposer's words.
        given: who brought which signature, and when.
        voided: fingerprints of proposals that this one took the place of.
    """

    role: str
    metadata: bytes
    reason: str
    proposer: str
    proposed: datetime
    given: tuple[Given, ...] = ()
    voided: tuple[str, ...] = ()

    @property
    def document(self) -> Metadata[Any]:
        """The parsed metadata; raises Refused when it is none."""
        return parse(self.role, self.metadata)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what is signed: two people who read out the same one mean the same change."""
        return fingerprint_of(self.document)


@dataclass(frozen=True, slots=True)
class Offer:
    """What somebody brings: a new proposal, or more signatures for the one that waits.

    Attributes:
        replaces: the fingerprint of the waiting proposal that this one takes the place of.
        in_use: it may end families although they are in use.
    """

    role: str
    metadata: bytes
    reason: str = ""
    replaces: str = ""
    in_use: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a submission.

    Attributes:
        published: the roles whose new metadata is current now; empty while signatures are missing.
        snapshot: version of the snapshot that lists them; 0 when nothing was published.
    """

    published: tuple[str, ...] = ()
    snapshot: int = 0


@dataclass(frozen=True, slots=True)
class Demand:
    """What one authority asks of a change before it is published.

    Attributes:
        authority: whose keys are meant, as a phrase.
        signed, unsigned: holders by key id.
    """

    authority: str
    threshold: int
    signed: Mapping[str, str]
    unsigned: Mapping[str, str]

    @property
    def missing(self) -> int:
        """How many signatures are still missing."""
        return max(0, self.threshold - len(self.signed))


def parse(role: str, content: bytes) -> Metadata[Any]:
    """Read the metadata of a role; raises Refused."""
    if role == Root.type:
        return submission.parse(Root, content)
    return submission.parse(Targets, content)


def fingerprint_of(document: Metadata[Any]) -> str:
    """SHA-256 of what is signed."""
    return hashlib.sha256(document.signed_bytes).hexdigest()


def demands(role: str, pending: Documents, current: Documents) -> tuple[Demand, ...]:
    """What must be signed before the pending change of a role is published."""
    document = pending[role]
    return tuple(
        _demand(phrase, result) for phrase, result in _results(role, document, pending, current)
    )


def entitled(role: str, pending: Documents, current: Documents) -> frozenset[str]:
    """The ids of the keys whose signature counts for the pending change of a role."""
    found = _ever_demanded(role, pending, current)
    return frozenset(keyid for demand in found for keyid in (*demand.signed, *demand.unsigned))


def valid_signers(role: str, pending: Documents, current: Documents) -> frozenset[str]:
    """The ids of those of them that signed the pending change, and rightly."""
    found = _ever_demanded(role, pending, current)
    return frozenset(keyid for demand in found for keyid in demand.signed)


def publishable(pending: Documents, current: Documents) -> tuple[str, ...]:
    """The roles that may be published now, together; empty when none may."""
    found = fresh(pending, current)
    for ahead in _AHEAD:
        if not set(ahead) <= found.keys():
            continue
        roles = _together(ahead, found, current)
        if roles:
            return roles
    return ()


def follows(role: str, document: Metadata[Any], current: Documents) -> bool:
    """Whether a change still follows the current metadata; a stale one never will again."""
    version = current[role].signed.version if role in current else 0
    return bool(document.signed.version == version + 1)


def fresh(pending: Documents, current: Documents) -> dict[str, Metadata[Any]]:
    """The pending documents that can still be published.

    Without those that follow something older, and without families whose targets were withdrawn.
    """
    following = {role: each for role, each in pending.items() if follows(role, each, current)}
    targets = [each[Targets.type] for each in (following, current) if Targets.type in each]
    families = {name for each in targets for name in endings.delegated(each.signed)}
    known = {Root.type, Targets.type, *families}
    return {role: document for role, document in following.items() if role in known}


def merged(waiting: Change, brought: Change) -> Change:
    """The waiting change with the signatures that were brought for it too."""
    document = waiting.document
    document.signatures |= brought.document.signatures
    known = {given.keyid for given in waiting.given}
    more = tuple(given for given in brought.given if given.keyid not in known)
    return replace(waiting, metadata=encode(document), given=(*waiting.given, *more))


def only_entitled(change: Change, keyids: frozenset[str]) -> Change:
    """The change with nothing but valid signatures of these keys; raises Refused at a wrong one.

    Whose signature does not count has picked the wrong key, and should know.
    """
    document = change.document
    strangers = document.signatures.keys() - keyids
    if strangers:
        raise Refused(
            f"key {min(strangers)[:12]} may not sign for {change.role}",
            hint="`sealane trust status` lists the keys that are asked for",
        )
    return change


def encode(document: Metadata[Any]) -> bytes:
    """Metadata as it is stored and sent."""
    return bytes(document.to_bytes(submission.COMPACT))


def judge_known(targets: Targets, family: str) -> None:
    """Raise Refused unless the targets delegate to a family."""
    if family not in endings.delegated(targets):
        raise Refused(
            f"there is no family {family!r}",
            hint="add it with: sealane trust add-family",
        )


def judge_kept(after: Documents, new: Documents) -> None:
    """Raise Refused when metadata that stays would no longer be signed by enough keys.

    `after`: everything as it would be current, of which `new` is what changes.
    """
    root, targets = after[Root.type].signed, after[Targets.type]
    hint = "have the new keys sign it, and publish both together"
    if Targets.type not in new and not agreed(root, Targets.type, targets):
        raise Refused("the root would give targets keys that did not sign the targets", hint=hint)
    for family in endings.delegated(targets.signed):
        stays = family in after and family not in new
        if stays and not agreed(targets.signed, family, after[family]):
            message = f"the targets would give {family} keys that did not sign its releases"
            raise Refused(message, hint=hint)


def judge_begun_anew(new: Documents, current: Documents) -> None:
    """Raise Refused when targets would bring back what a family approved before it ended."""
    if Targets.type in new:
        family = endings.revived(new[Targets.type].signed, new, current)
        if family:
            raise Refused(
                f"the targets would bring back what {family} approved before it ended",
                hint="a family begins with metadata of its own: sealane trust add-family",
            )


def _ever_demanded(role: str, pending: Documents, current: Documents) -> tuple[Demand, ...]:
    """What is asked, and of a family that says something new, what the current targets ask, too.

    Else whoever proposes other keys for a family would stop every release of it meanwhile. What
    says nothing new is there for the proposed keys: signed by the others it would go without them.
    """
    found = demands(role, pending, current)
    if role in {Root.type, Targets.type} or role not in current or not _is_delegated(role, current):
        return found
    if _content(pending[role]) == _content(current[role]):
        return found
    return (*found, *demands(role, {role: pending[role]}, current))


def _content(document: Metadata[Any]) -> dict[str, Any]:
    """What metadata says, whatever its age."""
    return {**document.signed.to_dict(), "version": 0, "expires": ""}


def _is_delegated(role: str, documents: Documents) -> bool:
    targets = documents[Targets.type].signed
    return role in endings.delegated(targets)


def _demand(authority: str, result: VerificationResult) -> Demand:
    signed = {keyid: holder_of(key) for keyid, key in result.signed.items()}
    unsigned = {keyid: holder_of(key) for keyid, key in result.unsigned.items()}
    return Demand(authority, result.threshold, signed, unsigned)


def _results(
    role: str, document: Metadata[Any], pending: Documents, current: Documents
) -> Iterator[tuple[str, VerificationResult]]:
    """What each authority over a change says to its signatures."""
    payload, signatures = document.signed_bytes, document.signatures
    if role == Root.type:
        if role in current:
            old = current[role].signed
            result = old.get_verification_result(role, payload, signatures)
            yield f"the keys of root {old.version}, which is current", result
        new = document.signed
        result = new.get_verification_result(role, payload, signatures)
        yield f"the keys of root {new.version}, which is proposed", result
        return
    authority = Root.type if role == Targets.type else Targets.type
    over = (pending.get(authority) or current.get(authority) or document).signed
    if role != Targets.type and role not in endings.delegated(over):
        # Proposed targets would end it: until they are published, it works as it did.
        over = (current.get(authority) or document).signed
    try:
        result = over.get_verification_result(role, payload, signatures)
    except ValueError as error:
        raise Refused(
            f"there is no family {role!r}", hint="add it with: sealane trust add-family"
        ) from error
    yield f"the keys that {authority} {over.version} gives to {role}", result


def _together(ahead: tuple[str, ...], pending: Documents, current: Documents) -> tuple[str, ...]:
    """These roles and every family that is ready under them; empty when something would break."""
    after = dict(current) | {role: pending[role] for role in ahead}
    root, targets = after.get(Root.type), after.get(Targets.type)
    if root is None or targets is None:
        return ()
    if Root.type in ahead and not _root_agreed(root, current.get(Root.type)):
        return ()
    if not agreed(root.signed, Targets.type, targets):
        return ()
    families = _families(targets.signed, pending, current)
    return () if families is None else (*ahead, *families)


def _families(targets: Targets, pending: Documents, current: Documents) -> tuple[str, ...] | None:
    """The families that are ready under these targets; None when one would be left without.

    Or when one that has ended would come back with what it said before.
    """
    if endings.revived(targets, pending, current):
        return None
    ready = []
    for name in endings.delegated(targets):
        if name in pending and agreed(targets, name, pending[name]):
            ready.append(name)
        elif name in current and not agreed(targets, name, current[name]):
            return None
    return tuple(ready)


def _root_agreed(new: Metadata[Root], old: Metadata[Root] | None) -> bool:
    authorities = [new.signed] if old is None else [old.signed, new.signed]
    return all(agreed(authority, Root.type, new) for authority in authorities)


def agreed(authority: Root | Targets, role: str, document: Metadata[Any]) -> bool:
    """Whether enough of the keys that an authority gives to a role signed its metadata."""
    try:
        result = authority.get_verification_result(role, document.signed_bytes, document.signatures)
    except ValueError:
        return False
    return bool(result.verified)

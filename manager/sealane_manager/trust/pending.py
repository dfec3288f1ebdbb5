"""The changes that wait for signatures: files beside the repository, published when complete.

One change a role waits at a time. Every step is written down first: who proposed, who brought which
signature; the repository tells what is published. Publishing can be cut off anywhere: `settle`
completes it.
"""

from __future__ import annotations

import fcntl
import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sealane import fileio
from sealane.errors import SealaneError
from tuf.api.metadata import Targets

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.trust import changes, submission
from sealane_manager.trust.change_codec import change_from_json, change_to_json
from sealane_manager.trust.changes import Change, Given, Outcome
from sealane_manager.trust.endings import FamilyUse, ended, judge_unused
from sealane_manager.trust.tidy import tidy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from sealane.clock import Clock
    from tuf.api.metadata import Metadata

    from sealane_manager.layout import StateFolder
    from sealane_manager.repository import Repository
    from sealane_manager.trust.changes import Offer

    Note = Callable[[str, str, str], None]
    """Writes a line of the decision log: actor, action, detail."""

    Uses = Callable[[str], FamilyUse]
    """What a family is needed for."""


REASON_CHARS: Final = 1000
"""The most that a proposer says of a change; it stands in the audit log."""

VOIDED: Final = 1000
"""Earlier proposals of a role that are remembered, so that no signature of them comes late."""


def _unused(_family: str) -> FamilyUse:
    """Where nobody is directed."""
    return FamilyUse()


@dataclass(frozen=True, slots=True)
class Books:
    """The manager's books: where changes are written down, and what is looked up for them."""

    note: Note
    uses: Uses = _unused


class Pending:
    """The waiting changes of one repository; any number of threads and processes may use them."""

    def __init__(
        self, repository: Repository, state: StateFolder, books: Books, clock: Clock
    ) -> None:
        self._repository, self._state, self._books = repository, state, books
        self._folder, self._clock = state.changes, clock

    def changes(self) -> tuple[Change, ...]:
        """Every waiting change, by role."""
        paths = sorted(self._folder.glob("*.json")) if self._folder.is_dir() else ()
        return tuple(_read(path) for path in paths)

    def submit(self, offer: Offer, actor: str) -> Outcome:
        """Take a proposal, or signatures for the waiting one, and publish what is complete.

        Raises Refused for what does not follow the current metadata, is signed by a stranger,
        would take the place of another proposal without naming it, or end a family that is in use
        without saying so.
        """
        with self._locked():
            brought = self._brought(offer, actor)
            self._not_voided(brought)
            self._ends_nothing_in_use(offer, brought)
            if self._complete_alone(brought):
                self._judge_signatures(brought, {})
                self._tell(brought, actor)
                return self._publish({offer.role: brought}, (offer.role,))
            change = self._accepted(offer, brought, actor)
            self._save(change)
            return self._settle()

    def withdraw(self, role: str, actor: str) -> None:
        """Forget a waiting change; raises NotKnown."""
        with self._locked():
            change = self._load(role)
            if change is None:
                raise NotKnown(f"no change of {role} waits")
            self._books.note(actor, "withdraw", f"{role}: {change.fingerprint}")
            fileio.remove(self._path(role))

    def settle(self) -> Outcome:
        """Publish what is complete, also what a crash left half published."""
        if not self._folder.is_dir():
            return Outcome()
        with self._locked():
            outcome = self._settle()
            self._tidy()
            return outcome

    def _brought(self, offer: Offer, actor: str) -> Change:
        """What was brought, judged in all but the number of its signatures."""
        now = self._clock.now()
        if len(offer.reason) > REASON_CHARS:
            raise Refused(f"a reason has at most {REASON_CHARS} characters")
        submission.judge_role(offer.role)
        document = changes.parse(offer.role, offer.metadata)
        self._repository.judge_form(offer.role, document, now)
        given = tuple(Given(keyid, actor, now) for keyid in document.signatures)
        return Change(offer.role, offer.metadata, offer.reason, actor, now, given)

    def _not_voided(self, brought: Change) -> None:
        waiting = self._load(brought.role)
        if waiting is not None and brought.fingerprint in waiting.voided:
            raise Refused(
                f"this change of {brought.role} was changed since: its signatures are void",
                hint="look at what waits now with `sealane trust status`, and sign that",
            )

    def _ends_nothing_in_use(self, offer: Offer, brought: Change) -> None:
        """What waits already was judged when it was proposed."""
        current = self._repository.documents().get(Targets.type)
        if offer.role != Targets.type or offer.in_use or current is None:
            return
        waiting = self._load(offer.role)
        judged = ended(current.signed, waiting.document.signed) if waiting else ()
        for family in ended(current.signed, brought.document.signed):
            if family not in judged:
                judge_unused(family, self._books.uses(family))

    def _complete_alone(self, brought: Change) -> bool:
        """Whether it needs nobody else; what waits for the same role then becomes stale."""
        waiting = self._load(brought.role)
        if waiting is not None and waiting.fingerprint == brought.fingerprint:
            return False
        current = self._repository.documents()
        return brought.role in changes.publishable({brought.role: brought.document}, current)

    def _accepted(self, offer: Offer, brought: Change, actor: str) -> Change:
        """The change that waits from now on."""
        waiting = self._load(offer.role)
        same = waiting is not None and waiting.fingerprint == brought.fingerprint
        self._judge_signatures(brought, self._documents())
        if waiting is not None and same:
            known = {given.keyid for given in waiting.given}
            fresh = tuple(given for given in brought.given if given.keyid not in known)
            self._tell_signed(replace(brought, given=fresh), actor)
            return changes.merged(waiting, brought)
        if waiting is not None:
            self._replaceable(offer, waiting)
            voided = (*waiting.voided, waiting.fingerprint)[-VOIDED:]
            brought = replace(brought, voided=voided)
        self._tell(brought, actor)
        return brought

    def _judge_signatures(self, brought: Change, others: Mapping[str, Metadata[Any]]) -> None:
        """Raise Refused unless each signature is one that counts beside the other proposals."""
        current = self._repository.documents()
        pending = {**changes.fresh(others, current), brought.role: brought.document}
        changes.only_entitled(brought, changes.entitled(brought.role, pending, current))
        valid = changes.valid_signers(brought.role, pending, current)
        if bad := brought.document.signatures.keys() - valid:
            raise Refused(f"the signature by key {min(bad)[:12]} is not one of this change")

    def _tell(self, brought: Change, actor: str) -> None:
        version, reason = brought.document.signed.version, brought.reason
        detail = f"{brought.role} {version} {brought.fingerprint}"
        self._books.note(actor, "propose", f"{detail}: {reason}" if reason else detail)
        self._tell_signed(brought, actor)

    def _tell_signed(self, brought: Change, actor: str) -> None:
        version = brought.document.signed.version
        for given in brought.given:
            detail = f"{brought.role} {version} {brought.fingerprint} by key {given.keyid}"
            self._books.note(actor, "sign", detail)

    def _replaceable(self, offer: Offer, waiting: Change) -> None:
        stale = not changes.follows(offer.role, waiting.document, self._repository.documents())
        if stale or offer.replaces == waiting.fingerprint:
            return
        raise Refused(
            f"a change of {offer.role} waits already, proposed by {waiting.proposer}",
            hint="look at it with `sealane trust status`; sign it, or withdraw it first",
        )

    def _settle(self) -> Outcome:
        published: tuple[str, ...] = ()
        snapshot = 0
        self._forget_published()
        while roles := changes.publishable(self._sound(), self._repository.documents()):
            waiting = {change.role: change for change in self.changes()}
            outcome = self._publish(waiting, roles)
            published, snapshot = (*published, *outcome.published), outcome.snapshot
        return Outcome(published, snapshot)

    def _forget_published(self) -> None:
        """Remove what a crash left waiting although it is current."""
        current = self._repository.documents()
        for change in self.changes():
            now = current.get(change.role)
            if now is not None and changes.fingerprint_of(now) == change.fingerprint:
                fileio.remove(self._path(change.role))

    def _publish(self, waiting: dict[str, Change], roles: tuple[str, ...]) -> Outcome:
        snapshot = self._repository.publish({role: waiting[role].metadata for role in roles})
        for role in roles:
            now = self._load(role)
            if now is not None and now.fingerprint == waiting[role].fingerprint:
                fileio.remove(self._path(role))
        self._tidy()
        return Outcome(roles, snapshot)

    def _tidy(self) -> None:
        valid = (*self._repository.documents().values(), *self._documents().values())
        tidy(self._state, self._repository.superseded(), valid)

    def _sound(self) -> dict[str, Metadata[Any]]:
        """The waiting documents that may still be published: one that expired stops no other."""
        now, found = self._clock.now(), {}
        for role, document in self._documents().items():
            with suppress(Refused):
                self._repository.judge_form(role, document, now)
                found[role] = document
        return found

    def _documents(self) -> dict[str, Metadata[Any]]:
        return {change.role: change.document for change in self.changes()}

    def _load(self, role: str) -> Change | None:
        return next((change for change in self.changes() if change.role == role), None)

    def _save(self, change: Change) -> None:
        fileio.make_folder(self._folder)
        content = json.dumps(change_to_json(change), indent=1).encode()
        fileio.replace(self._path(change.role), content)

    def _path(self, role: str) -> Path:
        return self._folder / f"{role}.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fileio.make_folder(self._folder)
        with (self._folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _read(path: Path) -> Change:
    try:
        return change_from_json(json.loads(path.read_bytes()))
    except (ValueError, Refused) as error:
        raise SealaneError(
            f"the waiting change in {path} is damaged",
            hint="remove the file, and propose the change again",
        ) from error

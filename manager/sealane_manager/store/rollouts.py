"""Rollouts: each change and all that follows from it on devices and in the log, or nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sqlalchemy import insert
from sqlmodel import col, select

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.rollout.draft import Candidate, draft, founded, planned
from sealane_manager.rollout.moves import supersede
from sealane_manager.rollout.terms import OnConflict
from sealane_manager.rollout.types import LIVE, PENDING, Note, Rollout
from sealane_manager.rollout_file.applying import Outcome, Wish, outcome
from sealane_manager.store import rows
from sealane_manager.store.calendars import refuse_unknown
from sealane_manager.store.candidates import candidates, device_row
from sealane_manager.store.consequences import Change, carry_out, say
from sealane_manager.store.desired import bump
from sealane_manager.store.members import Members
from sealane_manager.store.placing import in_the_way, matching, place
from sealane_manager.store.quarantine import refuse
from sealane_manager.store.records import Changed
from sealane_manager.store.tables.rollouts import RolloutDeviceRow, RolloutRow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sealane.names import DeviceId
    from sqlmodel import Session

    from sealane_manager.rollout.draft import Matching
    from sealane_manager.rollout.types import Step
    from sealane_manager.store.database import Database
    from sealane_manager.store.devices import Devices
    from sealane_manager.store.records import By, Draft, ReleaseSource

    Found = Mapping[Candidate, ReleaseSource | None]

_WORKED_ON: Final = [str(state) for state in LIVE | PENDING]


class Rollouts:
    """Keeps rollouts and carries out what was decided about them."""

    def __init__(self, database: Database, devices: Devices) -> None:
        self._database = database
        self.members = Members(devices, database.touched)

    @property
    def revision(self) -> int:
        """Grows when something of a rollout is written; read it before the rollout."""
        return self._database.touched.revision

    def create(self, wanted: Draft, by: By) -> Changed:
        """Start a rollout, and end those that it supersedes.

        Raises Refused when it would change nothing or collide with another.
        """
        with self._database.write() as session:
            generations = self._create(session, wanted, by, set())
        return Changed(self.get(wanted.id), generations)

    def apply(self, wanted: Draft, by: By) -> tuple[Outcome, Changed]:
        """Start what a file asks for, unless the last rollout of its name does so already.

        Raises Refused as `create` does, and when that rollout is not over and differs.
        """
        with self._database.write() as session:
            row = _by_name(session, wanted.name)
            found = self.members.whole(session, row) if row else None
            follows = outcome(Wish(wanted.name, wanted.spec), found)
            if found and follows is Outcome.UNCHANGED:
                return follows, Changed(found, {})
            ended = {found.id} if found and follows is Outcome.SUPERSEDED else set()
            generations = self._create(session, wanted, by, ended)
        return follows, Changed(self.get(wanted.id), generations)

    def named(self, name: str) -> Rollout | None:
        """The last rollout of this name, or the one with this id."""
        with self._database.read() as session:
            row = _by_name(session, name)
            return self.members.whole(session, row) if row else None

    def taken(self, rollout: str) -> bool:
        """Whether a rollout has this id."""
        with self._database.read() as session:
            return session.get(RolloutRow, rollout) is not None

    def _create(
        self, session: Session, wanted: Draft, by: By, ended: set[str]
    ) -> Mapping[DeviceId, int]:
        if session.get(RolloutRow, wanted.id):
            raise Refused(f"rollout {wanted.id} was started already")
        refuse(session, wanted.source)
        refuse_unknown(session, wanted.spec.terms.times.calendars)
        concerned = self._supersede(session, wanted, by, ended)
        found = matching(session, wanted)
        drafted = founded(wanted.id, wanted.spec, found, by.at)
        made = replace(drafted, author=by.actor, name=wanted.name)
        row = rows.rollout_row(made, wanted)
        session.add(row)
        session.flush()
        made = planned(made, place(session, made, wanted, found.total - found.already))
        row.stages = rows.stage_texts(made.spec.stages)
        session.flush()
        detail = _created(made, found)
        say(session, made.id, by, Note("start", f"{detail}; {by.reason}".rstrip("; ")))
        return bump(session, concerned)

    def preview(self, wanted: Draft, now: datetime) -> Rollout:
        """The rollout that `create` would make; raises Refused as it would."""
        with self._database.read() as session:
            refuse_unknown(session, wanted.spec.terms.times.calendars)
            found = candidates(session, wanted)
            if wanted.spec.terms.on_conflict is OnConflict.SUPERSEDE:
                found = {replace(each, busy=""): source for each, source in found.items()}
            return draft(wanted.id, wanted.spec, list(found), now)

    def get(self, rollout: str) -> Rollout:
        """One rollout; raises NotKnown.

        Of one that is not over only what was written since the last time is read; when its devices
        were last heard is always of now.
        """
        revision = self._database.touched.revision
        if known := self.members.unchanged(rollout, revision):
            return known
        with self._database.read() as session:
            return self.members.now(session, _known(session, rollout), revision)

    def id_of(self, name: str) -> str:
        """The id of the rollout that is meant by its id or its file's name; raises NotKnown."""
        with self._database.read() as session:
            return _known(session, name).id

    def moved_since(self, rollout: str, revision: int) -> frozenset[str] | None:
        """Devices of it that may stand elsewhere than at this revision; None: all of them."""
        return self._database.touched.since(revision, rollout)

    def live(self) -> tuple[str, ...]:
        """Ids of the rollouts that change something or may still begin, oldest first."""
        query = (
            select(RolloutRow.id)
            .where(col(RolloutRow.state).in_(_WORKED_ON))
            .order_by(col(RolloutRow.created_at), RolloutRow.id)
        )
        with self._database.read() as session:
            return tuple(session.exec(query))

    def change(self, rollout: str, decide: Callable[[Rollout], Step], by: By) -> Changed:
        """Read a rollout, decide, and write the step with all its consequences, or nothing.

        Raises NotKnown, and whatever `decide` raises.
        """
        with self._database.write() as session:
            row = _known(session, rollout)
            before = self.members.now(session, row, self._database.touched.revision)
            step = decide(before)
            concerned = carry_out(session, row, Change(before, step, by))
            generations = bump(session, concerned)
        return Changed(step.rollout, generations)

    def join(self, wanted: Draft, by: By) -> tuple[DeviceId, ...]:
        """Take devices that match by now into a rollout, last in turn; who is busy has to wait."""
        with self._database.write() as session:
            row = _known(session, wanted.id)
            found = {
                each: source
                for each, source in candidates(session, wanted, outside=row.id).items()
                if not each.busy and not each.has(wanted.spec.release)
            }
            if not found:
                return ()
            rollout = self.members.now(session, row, self.revision)
            made = draft(wanted.id, wanted.spec, list(found), by.at)
            last = len(rollout.spec.stages) - 1
            joining = tuple(replace(device, stage=last) for device in made.devices)
            _add(session, replace(made, devices=joining), found, len(rollout.devices))
            names = ", ".join(device.device for device in joining)
            say(session, wanted.id, by, Note("join", names[:_MOST_NAMES]))
        return tuple(device.device for device in joining)

    def _supersede(self, session: Session, wanted: Draft, by: By, ended: set[str]) -> set[DeviceId]:
        """End these rollouts, and those that are in the way when that was asked for."""
        if wanted.spec.terms.on_conflict is not OnConflict.SUPERSEDE:
            return set()
        concerned: set[DeviceId] = set()
        busy = in_the_way(session, wanted)
        for old in sorted(busy | ended):
            row = _known(session, old)
            before = self.members.whole(session, row)
            step = supersede(before, wanted.id, by.at)
            concerned |= carry_out(session, row, Change(before, step, by))
        return concerned


_MOST_NAMES: Final = 500
"""Characters of names in one line of the log."""


def _known(session: Session, rollout: str) -> RolloutRow:
    row = _by_name(session, rollout)
    if not row:
        raise NotKnown(f"there is no rollout {rollout}", hint="see `sealane rollout list`")
    return row


def _by_name(session: Session, name: str) -> RolloutRow | None:
    """The rollout with this id, or the last one that a file called so."""
    if found := session.get(RolloutRow, name):
        return found
    query = (
        select(RolloutRow)
        .where(RolloutRow.name == name, RolloutRow.name != "")
        .order_by(col(RolloutRow.created_at).desc(), RolloutRow.id)
    )
    return session.exec(query).first()


def _add(session: Session, made: Rollout, found: Found, first: int) -> None:
    """Write devices of a rollout, from this position on."""
    before = {each.device: source for each, source in found.items()}
    session.connection().execute(
        insert(RolloutDeviceRow),
        [
            device_row(made.id, position, device, before[device.device])
            for position, device in enumerate(made.devices, first)
        ],
    )


def _created(made: Rollout, found: Matching) -> str:
    already = found.already
    text = f"{made.spec.release} in {made.spec.slot} on {found.total - already} devices"
    return f"{text}; {already} serve it already" if already else text

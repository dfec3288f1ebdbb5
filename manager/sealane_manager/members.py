"""What operators do with devices: invite, list, label, adopt, revoke."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sealane.names import AGENT_SLOT, parse_device, parse_label
from sealane.trust.token import JoinToken

from sealane_manager import calendars
from sealane_manager.hold_order import Placed, ordered
from sealane_manager.identity.knocks import Knocks, meant
from sealane_manager.schedule import checked
from sealane_manager.selector import parse, refuse_reserved
from sealane_manager.sessions import Ending
from sealane_manager.store.records import By, NewDevice
from sealane_manager.views import DeviceView

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sealane.clock import Clock
    from sealane.names import DeviceId

    from sealane_manager.calendars import Calendar
    from sealane_manager.hold_order import HoldOrder, HoldWish
    from sealane_manager.identity.enrolment import Enrolment, Terms
    from sealane_manager.identity.knocks import Adoption, Knock
    from sealane_manager.schedule import Schedule
    from sealane_manager.selector import Sites
    from sealane_manager.sessions import Sessions
    from sealane_manager.store.records import DeviceRecord
    from sealane_manager.store.store import Store


@dataclass(frozen=True, slots=True)
class LabelChange:
    """Labels to set and labels to remove."""

    given: Mapping[str, str]
    remove: Sequence[str]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Members:
    """The devices of the fleet, as stored, with who holds a session now."""

    store: Store
    sessions: Sessions
    enrolment: Enrolment
    enrol_address: str
    clock: Clock
    knocks: Knocks = field(default_factory=Knocks)

    def seen(self, sites: Sites) -> Members:
        """The same for somebody who sees these sites alone; none means everything."""
        return replace(self, store=self.store.seen(sites))

    def invite(self, terms: Terms, actor: str) -> str:
        """A join token, as it is pasted."""
        refuse_reserved(terms.labels)
        for key, value in terms.labels.items():
            parse_label(key, value)
        invitation = self.enrolment.invite(terms, actor)
        token = JoinToken(
            address=self.enrol_address,
            ca=self.enrolment.issuer.certificate,
            root_sha256=hashlib.sha256(invitation.root).digest(),
            token_id=invitation.token_id,
            secret=invitation.secret,
        )
        return token.encode()

    def list(self, selector: str) -> tuple[DeviceView, ...]:
        """The devices that a selector picks."""
        records = self.store.devices.list(parse(selector))
        return tuple(self._view(record) for record in records)

    def label(self, device: str, change: LabelChange, actor: str) -> DeviceView:
        """Set labels and remove others; raises NotKnown."""
        refuse_reserved(change.given)
        by = By(actor, change.reason, self.clock.now())
        changed = self.store.devices.label(parse_device(device), change.given, change.remove, by)
        return self._view(changed)

    def schedules(self) -> tuple[Schedule, ...]:
        """When devices may fetch and activate."""
        return self.store.schedules.list()

    def schedule(self, schedule: Schedule, reason: str, actor: str) -> None:
        """Add or replace a schedule, and tell every device; raises InvalidName or Refused."""
        by = By(actor, reason, self.clock.now())
        self.store.schedules.put(checked(schedule), by)
        self._tell_all()

    def unschedule(self, name: str, reason: str, actor: str) -> None:
        """Take a schedule away, and tell every device; raises NotKnown."""
        self.store.schedules.remove(name, By(actor, reason, self.clock.now()))
        self._tell_all()

    def calendars(self) -> tuple[Calendar, ...]:
        """When rollouts give places, by site."""
        return self.store.calendars.list()

    def put_calendar(self, calendar: Calendar, reason: str, actor: str) -> None:
        """Add or replace a calendar; raises InvalidName or Refused."""
        by = By(actor, reason, self.clock.now())
        self.store.calendars.put(calendars.checked(calendar), by)

    def remove_calendar(self, name: str, reason: str, actor: str) -> None:
        """Take a calendar away; raises NotKnown, or Refused while a rollout keeps to it."""
        self.store.calendars.remove(name, By(actor, reason, self.clock.now()))

    def holds(self, device: str = "") -> tuple[HoldOrder, ...]:
        """Every hold that was ordered and has not ended, or those of one device."""
        holds, now = self.store.holds, self.clock.now()
        return holds.of(parse_device(device), now) if device else holds.list(now)

    def hold(self, wish: HoldWish, actor: str) -> Placed:
        """Hold devices back until a moment; raises InvalidName, NotKnown or Refused."""
        now = self.clock.now()
        order = ordered(wish, actor, f"m-{secrets.token_hex(4)}", now)
        told = self._tell(self.store.holds.place(order, By(actor, wish.reason, now)))
        slot = order.hold.slot
        # Every device has that of the agent itself, whether it has said so or not.
        named = slot not in {"", AGENT_SLOT}
        unknown = named and not self.store.overview.has_slot(order.selector, slot)
        return Placed(order, told, unknown)

    def release(self, name: str, reason: str, actor: str) -> int:
        """End a hold before its time; for how many devices. Raises NotKnown."""
        return self._tell(self.store.holds.release(name, By(actor, reason, self.clock.now())))

    def _tell(self, generations: Mapping[DeviceId, int]) -> int:
        for device, generation in generations.items():
            self.sessions.notify(device, generation)
        return len(generations)

    def _tell_all(self) -> None:
        for device in self.sessions.reachable():
            self.sessions.notify(device, 0)

    def revoke(self, device: str, reason: str, actor: str) -> None:
        """End a membership and its open session; raises NotKnown."""
        self.store.devices.revoke(parse_device(device), By(actor, reason, self.clock.now()))
        self.sessions.end(parse_device(device), Ending.REVOKED)

    def unknown(self) -> tuple[Knock, ...]:
        """Machines with a certificate of this fleet that called and are not known here."""
        return self.knocks.list()

    def adopt(self, wish: Adoption, actor: str) -> DeviceView:
        """Make a machine that called a device again; raises NotKnown, InvalidName or Refused."""
        refuse_reserved(wish.labels)
        for key, value in wish.labels.items():
            parse_label(key, value)
        knock = meant(self.knocks.list(), parse_device(wish.device), wish.key)
        now = self.clock.now()
        new = NewDevice(
            id=knock.device,
            name=knock.device,
            labels=wish.labels,
            public_key=knock.shown.key.pem,
            key_fingerprint=knock.shown.key.fingerprint,
            token="",
            enrolled_at=now,
        )
        self.store.restoring.take_in(new, knock.shown.issued, By(actor, wish.reason, now))
        self.knocks.forget(knock.device)
        return self._view(self.store.devices.get(knock.device))

    def approve(self, device: str, reason: str, actor: str) -> None:
        """Admit a device that waits; raises NotKnown or Refused."""
        self.store.devices.approve(parse_device(device), By(actor, reason, self.clock.now()))

    def quarantine(self, device: str, reason: str, actor: str) -> None:
        """End its session and let it open none until it is readmitted; raises NotKnown, Refused."""
        name = parse_device(device)
        self.store.devices.quarantine(name, By(actor, reason, self.clock.now()))
        self.sessions.end(name, Ending.QUARANTINED)

    def readmit(self, device: str, reason: str, actor: str) -> None:
        """Let a device in quarantine speak again; raises NotKnown or Refused."""
        self.store.devices.readmit(parse_device(device), By(actor, reason, self.clock.now()))

    def _view(self, record: DeviceRecord) -> DeviceView:
        return DeviceView(
            id=record.id,
            name=record.name,
            labels=record.labels,
            connected=record.id in self.sessions.reachable(),
            last_seen=record.last_seen,
            state=record.state,
            facts=record.facts,
            slots=record.slots,
        )

"""A manager that stores what a device says, and keeps its keys as the real one does."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from sealane.errors import SealaneError
from sealane.receipt import SignedReceipt, verify
from sealane.telemetry.types import TelemetryAck
from sealane_manager.identity.succession import Key, Keys, Ruling, Shown, met, renewed

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sealane.fleet import Event
    from sealane.holds import Hold
    from sealane.names import SlotName
    from sealane.receipt import Receipt
    from sealane.telemetry.types import TelemetryBatch
    from sealane.trust.documents import Quarantined
    from support.crash_plant import Plant, Wish


@dataclass
class Manager:
    """Stores what devices say, and says what it wants.

    Attributes:
        stored: every event, by its sequence number.
        states: the last state of each slot, with its rollout.
        receipts: every receipt in the order in which it came, its signature checked.
        keys: of the device; None before it is enrolled.
        reacts: what it does about an event.
        away_until: until this tick it does not answer.
        wrong: what a manager should never see.
        batches: of telemetry, by their names.
        quarantined, holds: what it orders beside releases.
    """

    wishes: tuple[Wish, ...] = ()
    stored: dict[int, Event] = field(default_factory=dict)
    states: dict[SlotName, tuple[str, str]] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)
    keys: Keys | None = None
    reacts: Callable[[Plant, Event], None] = lambda _plant, _event: None
    away_until: float = 0.0
    wrong: list[str] = field(default_factory=list)
    batches: dict[tuple[str, int], bytes] = field(default_factory=dict)
    quarantined: tuple[Quarantined, ...] = ()
    holds: tuple[Hold, ...] = ()

    def copy(self) -> Manager:
        """The same manager, once more."""
        return replace(
            self,
            stored=dict(self.stored),
            states=dict(self.states),
            receipts=list(self.receipts),
            wrong=list(self.wrong),
            batches=dict(self.batches),
        )

    def store(self, plant: Plant, event: Event) -> None:
        """Keep one event; the same one may come twice."""
        known = self.stored.get(event.sequence)
        if known is not None:
            if known != event:
                self.wrong.append(f"event {event.sequence} came with another content")
            return
        self.stored[event.sequence] = event
        if isinstance(event.body, SignedReceipt):
            self.receipts.append(self._checked(event.body))
        else:
            self.states[event.body.slot] = event.body.state, event.body.rollout
        self.reacts(plant, event)

    def take(self, batch: TelemetryBatch) -> TelemetryAck:
        """Keep one batch of windows; the same one may come twice."""
        name = batch.boot, batch.sequence
        if self.batches.setdefault(name, batch.body) != batch.body:
            self.wrong.append(f"batch {name} came with another content")
        return TelemetryAck(*name)

    def meet(self, shown: Shown) -> None:
        """A device shows a key."""
        assert self.keys is not None
        self.keys, ruling = met(self.keys, shown)
        if ruling in {Ruling.CLONE, Ruling.STRANGER}:
            self.wrong.append(f"the device was taken for a {ruling}")

    def renew(self, shown: Shown, asked: Key, now: datetime) -> None:
        """A device asks for a certificate of a new key."""
        assert self.keys is not None
        self.keys, ruling = renewed(self.keys, shown, asked, now)
        if ruling not in {Ruling.FOLLOWS, Ruling.AGAIN}:
            self.wrong.append(f"the renewal was refused: {ruling}")

    def _checked(self, signed: SignedReceipt) -> Receipt:
        assert self.keys is not None
        for key in filter(None, (self.keys.current, self.keys.previous)):
            public = load_pem_public_key(key.pem)
            assert isinstance(public, EllipticCurvePublicKey)
            with suppress(SealaneError):
                return verify(signed, public)
        raise AssertionError("a receipt has a signature of nobody")

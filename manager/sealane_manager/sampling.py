"""Orders samples, takes them sealed, and opens one when somebody says why.

The key that opens them lies with the manager's other keys and is made with the first order.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from sealane import fileio
from sealane.errors import SampleError, SealaneError
from sealane.limits import MIB
from sealane.names import DeviceId, ReleaseName, parse_slot
from sealane.sampling.sealed import SAMPLE_BYTES, read_label, unseal
from sealane.trust.documents import SamplingOrder

from sealane_manager.errors import NoSpace, NotAllowed, NotKnown, Refused
from sealane_manager.selector import parse
from sealane_manager.store.records import By, SampleRecord, SamplesOrdered, SampleWish, Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from sealane.clock import Clock
    from sealane.sampling.sealed import Part
    from sealane.trust.documents import SlotAssignment

    from sealane_manager.drift.watch import Place
    from sealane_manager.layout import StateFolder
    from sealane_manager.selector import Sites
    from sealane_manager.sessions import Sessions
    from sealane_manager.store.records import SampleOrder
    from sealane_manager.store.store import Store

LONGEST: Final = timedelta(days=30)
"""An order ends by itself after so long at most."""

KEPT_AT_MOST: Final = timedelta(days=366)
"""Whatever a device writes on a label."""

TOTAL_BYTES: Final = 4096 * MIB
"""Of all samples here: beyond it none is taken."""

LATE: Final = timedelta(days=30)
"""How long after the end of an order its samples are still taken: devices may be offline."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Every method blocks.

    Attributes:
        drifts: where inputs drift now: device, release, slot.
        told: the devices and slots of which a device was told so.
    """

    state: StateFolder
    store: Store
    sessions: Sessions
    clock: Clock
    drifts: Callable[[], Collection[Place]] = frozenset
    told: set[tuple[str, str]] = field(default_factory=set)

    def seen(self, sites: Sites) -> Sampling:
        """The same for somebody who sees these sites alone; none means everything."""
        return replace(self, store=self.store.seen(sites))

    def order(self, wish: SampleWish, actor: str, reason: str) -> SamplesOrdered:
        """Want samples, or no more; raises Refused or NotKnown."""
        if not reason.strip():
            raise Refused("an order of samples has a reason", hint="say why with --reason")
        if not timedelta(0) <= wish.lasts <= LONGEST:
            raise Refused(f"samples are ordered for at most {LONGEST.days} days at a time")
        slot, now = parse_slot(wish.slot), self.clock.now()
        meant = self.store.devices.list(parse(wish.selector))
        found = [record.id for record in meant if record.state is not Standing.REVOKED]
        if not found:
            raise NotKnown("the selector picks no device", hint="see `sealane device list`")
        if not wish.lasts:
            ordered = {each.device for each in self.orders() if each.slot == slot}
            found = [device for device in found if device in ordered]
            if not found:
                raise NotKnown(
                    f"no samples of slot {slot} are ordered there",
                    hint="see `sealane sample orders`",
                )
        self._key(make=True)
        changed = self.store.samples.order(found, slot, now + wish.lasts, By(actor, reason, now))
        for device, generation in changed.items():
            self.sessions.notify(device, generation)
        unknown = not self.store.overview.has_slot(wish.selector, slot)
        return SamplesOrdered(tuple(found), unknown)

    def orders(self) -> tuple[SampleOrder, ...]:
        """Those that hold now."""
        return self.store.samples.orders(self.clock.now())

    def ordered(
        self, device: DeviceId, slots: Sequence[SlotAssignment]
    ) -> tuple[SlotAssignment, ...]:
        """What the director wants of a device, with the samples that are ordered."""
        until = self.store.samples.orders_of(device, self.clock.now())
        if not until:
            return tuple(slots)
        public = self._key().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        drifts = self.drifts()

        def sampled(each: SlotAssignment) -> SlotAssignment:
            drift = (device, str(each.release), each.slot) in drifts
            return replace(each, sampling=SamplingOrder(public, until[each.slot], drift))

        return tuple(sampled(each) if each.slot in until else each for each in slots)

    def follow(self, now: datetime) -> None:
        """Have devices ask again where drift began or ended and samples are ordered."""
        ordered = {(each.device, each.slot) for each in self.store.samples.orders(now)}
        drifting = {(device, slot) for device, _, slot in self.drifts()} & ordered
        changed = sorted({DeviceId(device) for device, _ in drifting ^ self.told})
        self.told.clear()
        self.told.update(drifting)
        if changed:
            for device, generation in self.store.samples.renew(changed).items():
                self.sessions.notify(device, generation)

    def take(self, device: DeviceId, sealed: bytes) -> None:
        """Keep a sealed sample; raises SampleError, NotAllowed, NoSpace or OSError."""
        label, now = read_label(sealed), self.clock.now()
        release = ReleaseName.parse(label.release)
        samples = self.store.samples
        if label.slot not in samples.orders_of(device, now - LATE):
            raise NotAllowed(f"no samples of {label.slot} were ordered from {device}")
        if len(sealed) > SAMPLE_BYTES:
            raise SampleError(f"a sample has at most {SAMPLE_BYTES} bytes")
        if samples.total_bytes() + len(sealed) > TOTAL_BYTES:
            raise NoSpace("the manager keeps no more samples")
        name = hashlib.sha256(sealed).hexdigest()
        fileio.make_folder(self.state.samples)
        fileio.replace(self._path(name), sealed)
        samples.add(
            SampleRecord(
                id=name,
                device=device,
                slot=label.slot,
                release=str(release),
                trigger=label.trigger,
                taken_at=datetime.fromtimestamp(label.taken, UTC),
                received_at=now,
                keep_until=min(datetime.fromtimestamp(label.keep_until, UTC), now + KEPT_AT_MOST),
                bytes=len(sealed),
            )
        )

    def list(self, device: str, slot: str, release: str) -> tuple[SampleRecord, ...]:
        """Samples that are here, the newest first."""
        return self.store.samples.list(device, slot, release)

    def view(self, sample: str, actor: str, reason: str) -> tuple[SampleRecord, tuple[Part, ...]]:
        """Open a sample; that it was is written down first. Raises NotKnown, Refused, SampleError.

        What a device wrote on the label is believed of the sample alone, never of who sent it.
        """
        if not reason.strip():
            raise Refused("whoever looks at a sample says why", hint="say why with --reason")
        record = self.store.samples.viewed(sample, By(actor, reason, self.clock.now()))
        try:
            sealed = self._path(record.id).read_bytes()
        except FileNotFoundError as error:
            raise SampleError("the sample is no longer on the manager's disk") from error
        return record, unseal(sealed, self._key())[1]

    def delete(self, sample: str, actor: str, reason: str) -> None:
        """Delete a sample before its time; raises NotKnown."""
        record = self.store.samples.forget(sample, By(actor, reason, self.clock.now()))
        self._path(record.id).unlink(missing_ok=True)

    def tidy(self, now: datetime) -> None:
        """Delete samples whose time is over, and files that nobody knows."""
        for name in self.store.samples.prune(now):
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.state.samples / f"{name}.sample"

    def _key(self, *, make: bool = False) -> X25519PrivateKey:
        path = self.state.sample_key
        if make and not path.exists():
            form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            fileio.replace(path, X25519PrivateKey.generate().private_bytes(*form))
        with suppress(ValueError, TypeError):
            found = load_pem_private_key(path.read_bytes(), None)
            if isinstance(found, X25519PrivateKey):
                return found
        raise SealaneError(f"{path.name} is no key for samples", hint="put back a backup of it")

"""Samples of inputs: who may order, keep, send and read them, and what an attacker gets."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sealane.errors import SampleError
from sealane.names import DeviceId, SlotName
from sealane.sampling.sealed import (
    LABEL_BYTES,
    SAMPLE_BYTES,
    _read,
    read_label,
    seal,
    unseal,
)
from sealane.trust.director import from_targets, to_targets
from sealane.trust.documents import DirectorDocument, SamplingOrder, SlotAssignment
from sealane_manager.errors import NoSpace, NotAllowed, NotKnown, Refused
from sealane_manager.layout import StateFolder
from sealane_manager.sampling import KEPT_AT_MOST, LATE, LONGEST, TOTAL_BYTES, Sampling
from sealane_manager.sessions import Sessions
from sealane_manager.store.records import SampleWish
from sealane_manager.store.summaries import AuditFilter
from support.rollouts import MANIFEST, NEW, START, FakeClock
from support.samples import CAM, KEY, PUBLIC, SECRET, a_label, a_part, a_sample
from support.stores import ADA, a_store, enrol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOX, OTHER, SIDE = DeviceId("box-1"), DeviceId("box-2"), SlotName("side")
HOUR = timedelta(hours=1)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Sampling]:
    with a_store() as store:
        enrol(store, BOX, OTHER, site="berlin")
        state = StateFolder(tmp_path)
        state.keys.mkdir()
        yield Sampling(state, store, Sessions(), FakeClock(START))


def ordered(office: Sampling, device: DeviceId = BOX) -> bytes:
    """Order samples of one device; the key that it is told."""
    office.store.devices.label(device, {"test": device}, (), ADA)
    office.order(SampleWish(f"test={device}", CAM, HOUR), "ada", "to see what it sees")
    (slot,) = office.ordered(device, (SlotAssignment(CAM, NEW, MANIFEST, 700),))
    assert slot.sampling is not None
    return slot.sampling.key


def decisions(office: Sampling) -> list[str]:
    return [f"{each.actor} {each.action}" for each in office.store.audit.lines(AuditFilter())]


# On the wire and at rest


def test_whoever_has_the_sample_and_not_the_key_reads_nothing() -> None:
    sealed = a_sample()
    assert SECRET not in sealed
    with pytest.raises(SampleError, match="sealed for another key"):
        unseal(sealed, X25519PrivateKey.generate())


def test_a_label_cannot_be_changed_or_exchanged() -> None:
    sealed, other = a_sample(), a_sample(release="vision/defect@8")
    with pytest.raises(SampleError):
        unseal(sealed.replace(b"defect@7", b"defect@9"), KEY)
    cut = len(a_label().encode()) + 8
    with pytest.raises(SampleError):
        unseal(other[:cut] + sealed[cut:], KEY)


@pytest.mark.parametrize("at", [0, 5, 12, 200, -1])
def test_a_changed_byte_is_refused(at: int) -> None:
    sealed = bytearray(a_sample())
    sealed[at] ^= 1
    with pytest.raises(SampleError):
        unseal(bytes(sealed), KEY)


@pytest.mark.parametrize(
    "sealed",
    [
        b"",
        b"SLS1",
        b"SLS1\xff\xff\xff\xff",
        b"SLS1" + (LABEL_BYTES + 1).to_bytes(4, "big") + b"{" * (LABEL_BYTES + 1),
        b"SLS1\0\0\0\x02{}",
        b"SLS1\0\0\0\x02[]",
        b"SLS2" + a_sample()[4:],
        a_sample(bytes(SAMPLE_BYTES)),
    ],
)
def test_what_is_no_sample_is_refused_before_anything_is_opened(sealed: bytes) -> None:
    with pytest.raises(SampleError):
        read_label(sealed)


def test_a_label_of_a_path_or_an_absurd_time_is_refused() -> None:
    for changes in ({"slot": "../cam"}, {"release": "x"}, {"taken": -1}, {"keep_until": 2**40}):
        with pytest.raises(SampleError):
            read_label(seal(a_label(**changes), [], PUBLIC))


def test_tensors_that_lie_about_their_size_are_refused() -> None:
    head = json.dumps([["input", "x", "UINT8", [9], 99]]).encode()
    sealed = seal(a_label(), [a_part()], PUBLIC)
    assert unseal(sealed, KEY)[1][0].data == SECRET
    for content in (len(head).to_bytes(4, "big") + head, b"\xff\xff\xff\xff", b"\0\0\0\x01["):
        with pytest.raises(SampleError, match="malformed"):
            _read(content)


# Who may order


def document(order: SamplingOrder | None) -> DirectorDocument:
    slot = SlotAssignment(CAM, NEW, MANIFEST, 700, sampling=order)
    return DirectorDocument(BOX, 1, START, START, "n", 1, 1, 1, (slot,))


def test_an_order_travels_in_the_signed_document_and_is_read_strictly() -> None:
    order = SamplingOrder(PUBLIC, START + HOUR)
    assert from_targets(to_targets(document(order))).slots[0].sampling == order
    assert from_targets(to_targets(document(None))).slots[0].sampling is None
    for broken in ({"key": "00", "until": "2026-05-04T12:00:00Z"}, {"key": "zz"}, {"until": 3}, 7):
        signed = to_targets(document(order))
        signed.unrecognized_fields["x-assignment"]["slots"][CAM]["sampling"] = broken
        with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
            from_targets(signed)


def test_an_order_has_a_reason_and_an_end(office: Sampling) -> None:
    with pytest.raises(Refused, match="has a reason"):
        office.order(SampleWish("", CAM, HOUR), "ada", " ")
    with pytest.raises(Refused, match="at most 30 days"):
        office.order(SampleWish("", CAM, LONGEST + HOUR), "ada", "for ever")
    with pytest.raises(NotKnown):
        office.order(SampleWish("site=nowhere", CAM, HOUR), "ada", "nobody")
    assert office.orders() == ()


def test_who_ordered_what_and_why_is_in_the_log(office: Sampling) -> None:
    ordered(office)
    office.order(SampleWish("", CAM, timedelta(0)), "bob", "enough")
    assert office.orders() == ()
    assert decisions(office)[:2] == ["bob end sampling", "ada sample"]


def test_an_order_is_of_its_devices_and_slot_alone(office: Sampling) -> None:
    ordered(office)
    wanted = (SlotAssignment(CAM, NEW, MANIFEST, 700), SlotAssignment(SIDE, NEW, MANIFEST, 700))
    assert [each.sampling is None for each in office.ordered(BOX, wanted)] == [False, True]
    assert office.ordered(OTHER, wanted) == wanted


# What a device may do


def test_a_sample_that_nobody_ordered_is_not_taken(office: Sampling) -> None:
    key = ordered(office)
    with pytest.raises(NotAllowed, match="were ordered"):
        office.take(OTHER, a_sample(key=key))
    with pytest.raises(NotAllowed, match="were ordered"):
        office.take(BOX, a_sample(key=key, slot="side"))
    assert office.list("", "", "") == ()


def test_a_sample_that_comes_again_is_one_sample(office: Sampling) -> None:
    sealed = a_sample(key=ordered(office))
    for _ in range(3):
        office.take(BOX, sealed)
    assert len(office.list(BOX, "", "")) == 1


def test_samples_of_a_device_that_was_offline_are_taken_late_but_not_for_ever(
    office: Sampling,
) -> None:
    sealed = a_sample(key=ordered(office))
    clock = office.clock
    assert isinstance(clock, FakeClock)
    clock.advance(LATE)
    office.take(BOX, sealed)
    clock.advance(2 * HOUR)
    with pytest.raises(NotAllowed):
        office.take(BOX, a_sample(taken=5))


def test_a_device_cannot_have_its_samples_kept_for_ever(office: Sampling) -> None:
    office.take(BOX, a_sample(key=ordered(office), keep_until=2**34))
    (record,) = office.list("", "", "")
    assert record.keep_until == START + KEPT_AT_MOST
    office.tidy(START + KEPT_AT_MOST)
    assert office.list("", "", "") == ()
    assert list(office.state.samples.iterdir()) == []


def test_the_managers_disk_is_bounded(office: Sampling) -> None:
    office.take(BOX, a_sample(key=ordered(office)))
    (record,) = office.list("", "", "")
    office.store.samples.add(replace(record, id="large", bytes=TOTAL_BYTES - record.bytes))
    with pytest.raises(NoSpace):
        office.take(BOX, a_sample())


# Who may look


def test_each_view_is_in_the_log_before_anything_is_shown(office: Sampling) -> None:
    office.take(BOX, a_sample(key=ordered(office)))
    (record,) = office.list("", "", "")
    with pytest.raises(Refused, match="says why"):
        office.view(record.id, "eve", "")
    _, parts = office.view(record.id, "eve", "looks odd")
    assert parts[0].data == SECRET
    assert decisions(office)[0] == "eve view sample"
    views = [each for each in decisions(office) if each.endswith("view sample")]
    assert len(views) == 1


def test_a_view_that_cannot_be_opened_is_in_the_log_too(office: Sampling) -> None:
    ordered(office)
    office.take(BOX, a_sample())
    (record,) = office.list("", "", "")
    with pytest.raises(SampleError):
        office.view(record.id, "eve", "looks odd")
    assert decisions(office)[0] == "eve view sample"


def test_a_stolen_store_shows_nothing_without_the_key(office: Sampling) -> None:
    office.take(BOX, a_sample(key=ordered(office)))
    stolen = b"".join(path.read_bytes() for path in office.state.samples.iterdir())
    assert SECRET not in stolen
    assert office.state.sample_key.stat().st_mode & 0o077 == 0


def test_a_deleted_sample_is_gone_and_the_log_says_who(office: Sampling) -> None:
    office.take(BOX, a_sample(key=ordered(office)))
    (record,) = office.list("", "", "")
    office.delete(record.id, "eve", "a face is in it")
    assert office.list("", "", "") == ()
    assert list(office.state.samples.iterdir()) == []
    assert decisions(office)[0] == "eve delete sample"
    with pytest.raises(NotKnown):
        office.view(record.id, "eve", "again")

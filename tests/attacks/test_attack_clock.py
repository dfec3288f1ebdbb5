"""A wrong clock on the device, or a director that lies about the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sealane.errors import TrustError
from sealane.trust.verifier import Step
from support.trust import FACTS, START, Scene

DAY = timedelta(days=1)
YEARS = timedelta(days=3650)


def test_a_clock_ten_years_behind_does_not_revive_a_stale_timestamp(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    scene.pass_time(8 * DAY)
    scene.clock.wall = START - YEARS
    scene.assert_refuses(Step.REFRESH, slot)


def test_a_clock_ten_years_behind_does_not_stop_an_online_device(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    scene.clock.wall = START - YEARS
    assert scene.poll(slot).approved
    assert scene.verifier.trusted_now() == START


def test_a_clock_ten_years_ahead_does_not_stop_an_online_device(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    scene.clock.wall = START + YEARS
    assert scene.poll(slot).approved
    assert scene.verifier.trusted_now() == START


def test_trusted_time_goes_on_between_polls_whatever_the_wall_clock_does(scene: Scene) -> None:
    scene.poll()
    scene.clock.ticks += 90
    scene.clock.wall = START - YEARS
    assert scene.verifier.trusted_now() == START + timedelta(seconds=90)


def test_a_device_without_a_clock_judges_expiry_at_the_directors_time(scene: Scene) -> None:
    scene.clock.wall = datetime(1970, 1, 1, tzinfo=UTC)
    scene.assert_refuses(Step.EXPIRY, expires=START)
    scene.assert_refuses(Step.EXPIRY, expires=START - DAY)


def test_a_hand_carried_document_expires(scene: Scene) -> None:
    carried = scene.authority.direct([], None)
    scene.pass_time(2 * DAY)
    with pytest.raises(TrustError) as caught:
        scene.hear(carried, None)
    assert caught.value.step == Step.EXPIRY


def test_a_hand_carried_document_cannot_be_revived_by_setting_the_clock_back(scene: Scene) -> None:
    carried = scene.authority.direct([], None, version=2**40)
    scene.pass_time(2 * DAY)
    scene.poll()
    scene.clock.wall = START
    scene.restarted()
    with pytest.raises(TrustError) as caught:
        scene.hear(carried, None)
    assert caught.value.step == Step.EXPIRY


def test_a_hand_carried_document_raises_the_floor_but_does_not_set_the_clock_back(
    scene: Scene,
) -> None:
    carried = scene.authority.direct([], None, expires=START + 20 * DAY)
    scene.pass_time(2 * DAY)
    scene.hear(carried, None)
    assert scene.verifier.trusted_now() == START + 2 * DAY
    scene.clock.wall = START - YEARS
    assert scene.restarted().trusted_now() == START


def test_known_limit_a_dead_clock_offline_accepts_a_kit_that_has_expired(scene: Scene) -> None:
    """Nothing on such a device knows that time has passed; the security page says so."""
    slot = scene.authority.approve("digits/classifier@1")
    carried = scene.authority.direct([slot], None)
    scene.pass_time(400 * DAY)
    scene.clock.wall = START - YEARS
    assert scene.restarted().accept(carried, None, FACTS).approved


HELD_BACK = {"issued": START, "version": 2**40, "expires": START + 9 * YEARS}
"""A thief's document, for which it is always the day of the theft."""


def test_a_thief_of_the_director_slows_time_down_on_a_device_that_runs_and_cannot_stop_it(
    scene: Scene,
) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    for _ in range(2 * 90):  # what the family signed lives for 90 days
        assert scene.poll(slot, **HELD_BACK).approved
        scene.clock.ticks += DAY.total_seconds()
        scene.authority.now += DAY
        scene.authority.publish()  # the thief has the keys of snapshot and timestamp too
    scene.assert_slot_refused(Step.LISTED, slot, **HELD_BACK)
    assert scene.restarted().trusted_now() >= START + 90 * DAY


def test_a_manager_whose_clock_ran_ahead_is_believed_again_when_time_has_caught_up(
    scene: Scene,
) -> None:
    hours = timedelta(hours=2)
    scene.poll(issued=START + hours, expires=START + hours + DAY)
    for _ in range(4):
        scene.assert_refuses(Step.EXPIRY, expires=scene.authority.now + hours / 8)
        scene.pass_time(hours / 2)
    assert scene.poll(expires=scene.authority.now + hours / 8).refused == {}
    assert scene.verifier.trusted_now() == scene.authority.now


def test_documents_carried_by_hand_count_no_time_twice(scene: Scene) -> None:
    scene.poll()
    scene.pass_time(4 * DAY / 24)
    for _ in range(9):
        scene.hear(scene.authority.direct([], None, issued=START, version=2**40), None)
    assert scene.poll(version=2**41).refused == {}
    assert scene.verifier.trusted_now() == scene.authority.now


def test_time_that_the_device_counted_ends_with_the_keys_that_it_counted_from(
    scene: Scene,
) -> None:
    scene.poll(issued=START + DAY, expires=START + 2 * DAY)
    scene.clock.ticks += 100
    scene.authority.rotate("director")
    assert scene.poll().refused == {}
    assert scene.verifier.trusted_now() == START


def test_a_wall_clock_that_is_ahead_proves_nothing(scene: Scene) -> None:
    scene.clock.wall = START + YEARS
    with pytest.raises(TrustError, match="expired"):
        scene.hear(scene.authority.direct([], None, expires=START + 2 * YEARS), None)
    scene.clock.wall = START
    assert scene.poll().refused == {}
    assert scene.verifier.trusted_now() == START


def test_known_limit_a_thief_of_the_director_stops_time_while_a_device_is_off(
    scene: Scene,
) -> None:
    """Nothing counts then but a wall clock that proves nothing; the security page says so."""
    slot = scene.authority.approve("digits/classifier@1")
    assert scene.poll(slot, **HELD_BACK).approved
    scene.clock.wall += 400 * DAY
    scene.restarted()
    assert scene.poll(slot, **HELD_BACK).approved
    assert scene.verifier.trusted_now() == START


def test_expired_repository_metadata_blocks_new_documents_at_the_trusted_time(
    scene: Scene,
) -> None:
    scene.pass_time(8 * DAY)
    scene.clock.wall = START
    assert "expired" in str(scene.assert_refuses(Step.REFRESH))


def test_an_expired_family_refuses_its_own_slots_only(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    scene.pass_time(91 * DAY)
    scene.authority.publish()
    scene.assert_slot_refused(Step.LISTED, slot)


def test_an_expired_root_blocks_until_a_new_one_is_signed(scene: Scene) -> None:
    scene.pass_time(366 * DAY)
    scene.authority.targets.expires = scene.authority.now + DAY
    scene.authority.targets.version += 1
    scene.authority.publish_targets()
    scene.authority.publish()
    scene.assert_refuses(Step.REFRESH)
    scene.authority.root.version += 1
    scene.authority.root.expires = scene.authority.now + DAY
    scene.authority.publish_root()
    assert scene.poll().refused == {}


def test_a_directors_time_that_jumps_ahead_is_undone_by_new_director_keys(scene: Scene) -> None:
    scene.assert_refuses(Step.REFRESH, issued=START + YEARS, expires=START + YEARS + DAY)
    scene.assert_refuses(Step.EXPIRY)
    scene.restarted()
    scene.assert_refuses(Step.EXPIRY)
    scene.authority.rotate("director")
    assert scene.poll().refused == {}
    assert scene.verifier.trusted_now() == START


def test_a_time_from_replaced_director_keys_is_forgotten_for_hand_carried_documents_too(
    scene: Scene,
) -> None:
    scene.assert_refuses(Step.REFRESH, issued=START + YEARS, expires=START + YEARS + DAY)
    scene.authority.rotate("director")
    assert scene.hear(scene.authority.direct([], None), None).refused == {}
    assert scene.verifier.trusted_now() == START


def test_a_directors_version_that_jumps_ahead_is_undone_by_new_director_keys(scene: Scene) -> None:
    scene.poll(version=2**53)
    scene.assert_refuses(Step.VERSION_FLOOR)
    scene.authority.rotate("director")
    assert scene.poll().refused == {}


@pytest.mark.parametrize("role", ["timestamp", "snapshot"])
def test_a_repository_version_that_jumps_ahead_is_undone_by_new_keys(
    scene: Scene, role: str
) -> None:
    authority = scene.authority
    scene.poll()
    timestamp, snapshot = authority.timestamp.version, authority.snapshot.version
    if role == "timestamp":
        authority.timestamp.version = 2**53
    else:
        authority.snapshot.version = 2**53
    authority.publish()
    scene.poll()
    authority.timestamp.version, authority.snapshot.version = timestamp + 1, snapshot
    authority.publish()
    scene.assert_refuses(Step.REFRESH)
    authority.rotate("timestamp")
    authority.rotate("snapshot")
    authority.publish()
    assert scene.poll().refused == {}


@pytest.mark.parametrize(
    "issued", [datetime(9999, 12, 31, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)]
)
def test_a_time_that_no_calendar_can_add_to_is_refused(scene: Scene, issued: datetime) -> None:
    scene.assert_refuses(Step.DEVICE, issued=issued)


def test_two_managers_whose_clocks_differ_by_seconds_are_both_believed(scene: Scene) -> None:
    scene.poll()
    assert scene.poll(issued=START - timedelta(seconds=3)).refused == {}
    assert scene.verifier.trusted_now() == START

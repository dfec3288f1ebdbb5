from __future__ import annotations

import pytest
from sealane.errors import TelemetryError
from sealane.names import SlotName
from sealane.telemetry.codec import decode_windows, encode_windows
from sealane.telemetry.types import Arm, ModelWindow, Window
from sealane_agent.serving.waiting import OFFER_BYTES, WINDOWS, Offer, Waiting
from sealane_agent.telemetry.windows import BYTES, MODELS, joined
from support.telemetry import START, plain_window


def requests(found: list[Window] | tuple[Window, ...]) -> int:
    return sum(model.requests for window in found for model in window.models)


def drain(waiting: Waiting, stored: str = "") -> list[Window]:
    """Everything that a supervisor gets which stores each offer."""
    found: list[Window] = []
    while (offer := waiting.offer(stored)).name:
        found += decode_windows(offer.body)
        stored = offer.name
    return found


def wide(models: int) -> Window:
    made = [ModelWindow(SlotName(f"s{n:04}"), "a/b@1", Arm.ACTIVE, n + 1) for n in range(models)]
    return Window(START, 60, tuple(made))


def test_without_windows_nothing_is_offered() -> None:
    assert Waiting("life").offer("") == Offer()


def test_an_offer_stays_until_its_name_comes_back() -> None:
    waiting = Waiting("life")
    waiting.add(plain_window())
    first = waiting.offer("")
    waiting.add(plain_window(minute=1))
    assert waiting.offer("") == waiting.offer("another") == first
    second = waiting.offer(first.name)
    assert decode_windows(second.body) == (plain_window(minute=1),)
    assert second.name != first.name


def test_what_nobody_fetches_is_merged_and_not_lost() -> None:
    waiting = Waiting("life")
    for minute in range(3 * WINDOWS):
        waiting.add(plain_window(requests=3, minute=minute))
    found = drain(waiting)
    assert len(found) == WINDOWS
    assert requests(found) == 9 * WINDOWS


def test_a_device_of_many_slots_is_offered_in_parts() -> None:
    waiting = Waiting("life")
    window = wide(900)
    waiting.add(window)
    waiting.add(plain_window())
    found = drain(waiting)
    assert all(len(item.models) <= MODELS for item in found)
    assert requests(found) == requests([window, plain_window()])


def test_a_killed_endpoint_leaves_what_it_kept_under_the_same_name() -> None:
    first = Waiting("first")
    first.add(plain_window())
    offered = first.offer("")
    first.add(plain_window(minute=1))
    second = Waiting("second")
    second.take_over(first.encode())
    assert second.offer("") == offered
    assert drain(second, offered.name) == [plain_window(minute=1)]


def test_what_was_stored_before_the_kill_is_not_offered_again() -> None:
    first = Waiting("first")
    first.add(plain_window())
    offered = first.offer("")
    second = Waiting("second")
    second.take_over(first.encode())
    assert second.offer(offered.name) == Offer()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name":1}', b'{"name":"","body":"!"}'])
def test_a_damaged_file_is_refused(content: bytes) -> None:
    with pytest.raises(TelemetryError):
        Waiting("life").take_over(content)


def test_windows_are_joined_no_further_than_one_message_holds() -> None:
    other = ModelWindow(SlotName("x"), "a/b@1", Arm.ACTIVE)
    found = joined([wide(64), Window(START, 60, (other,))])
    assert len(found) == 2
    assert all(len(encode_windows((window,))) <= BYTES for window in found)
    assert OFFER_BYTES >= BYTES

"""Join tokens: used so often, by whom, until when."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.names import DeviceId
from sealane_manager.errors import Refused
from sealane_manager.store.records import IssuedToken, Redeemed
from support.rollouts import START
from support.stores import ADA, a_new_device, a_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.store.store import Store

LABELS = {"site": "berlin"}
EDGE = a_new_device("edge-1")


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as store:
        yield store


def issue(store: Store, uses: int = 1) -> None:
    store.tokens.issue(
        IssuedToken(
            id="t-1",
            secret_sha256=hashlib.sha256(b"s3cret").digest(),
            labels=LABELS,
            uses=uses,
            expires_at=START + timedelta(hours=1),
            issued_at=START,
            issued_by="ada",
        )
    )


def redeem(store: Store, key: str = "k1", given: str = "s3cret", minutes: int = 0) -> Redeemed:
    return store.tokens.redeem("t-1", given, key, START + timedelta(minutes=minutes))


def test_a_token_gives_its_labels(store: Store) -> None:
    issue(store)
    assert redeem(store) == Redeemed(LABELS, None)


def test_a_token_is_used_up(store: Store) -> None:
    issue(store, uses=2)
    redeem(store, "k1")
    redeem(store, "k2")
    with pytest.raises(Refused, match="has been used up"):
        redeem(store, "k3")


def test_the_same_key_may_ask_again_before_it_became_a_device(store: Store) -> None:
    issue(store)
    redeem(store, "k1")
    assert redeem(store, "k1") == Redeemed(LABELS, None)


def test_the_same_key_gets_the_same_device_even_after_expiry(store: Store) -> None:
    issue(store)
    redeem(store, EDGE.key_fingerprint)
    store.devices.enrol(EDGE)
    again = redeem(store, EDGE.key_fingerprint, minutes=90)
    assert again == Redeemed(LABELS, DeviceId("edge-1"))


def test_a_revoked_device_does_not_come_back_with_its_old_key(store: Store) -> None:
    issue(store)
    redeem(store, EDGE.key_fingerprint)
    store.devices.enrol(EDGE)
    store.devices.revoke(EDGE.id, ADA)
    with pytest.raises(Refused, match="edge-1 was revoked"):
        redeem(store, EDGE.key_fingerprint)


def test_an_expired_token_is_refused(store: Store) -> None:
    issue(store)
    with pytest.raises(Refused, match="expired at 2026-03-01T09:00:00"):
        redeem(store, minutes=60)


def test_a_wrong_secret_and_an_unknown_token_look_alike(store: Store) -> None:
    with pytest.raises(Refused) as unknown:
        redeem(store)
    issue(store)
    with pytest.raises(Refused) as wrong:
        redeem(store, given="guess")
    assert str(unknown.value) == str(wrong.value)


def test_a_wrong_secret_uses_nothing_up(store: Store) -> None:
    issue(store)
    with pytest.raises(Refused):
        redeem(store, given="guess")
    assert redeem(store).device is None


def test_old_tokens_are_forgotten(store: Store) -> None:
    issue(store)
    assert store.tokens.prune(START) == 0
    assert store.tokens.prune(START + timedelta(hours=2)) == 1
    with pytest.raises(Refused, match="no such join token"):
        redeem(store)

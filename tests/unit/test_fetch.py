from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from sealane.bundle.types import Layer
from sealane.failure import FailureKind
from sealane.names import Digest
from sealane_agent.errors import Failed
from sealane_agent.layout import StateFolder
from sealane_agent.store import Store
from sealane_agent.uplink.fetch import MAX_STUCK, MAX_WRONG, Policy, fetch_all
from support.agent_fakes import FakeBlobs

if TYPE_CHECKING:
    from pathlib import Path

MODEL = b"0123456789abcdef"
NAME = Digest(f"sha256:{sha256(MODEL).hexdigest()}")
LAYER = Layer("model.onnx", "raw", NAME, len(MODEL))


class Paused:
    """A policy that notes its pauses instead of waiting."""

    def __init__(self) -> None:
        self.pauses: list[int] = []
        self.policy = Policy(self.pauses.append, lambda: False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(StateFolder(tmp_path))


@pytest.fixture
def paused() -> Paused:
    return Paused()


def test_a_blob_is_fetched_once_without_a_pause(store: Store, paused: Paused) -> None:
    source = FakeBlobs({NAME: MODEL})
    fetch_all(store, source, [LAYER, LAYER], paused.policy)
    assert source.asked == [(NAME, 0)]
    assert paused.pauses == []


def test_a_link_that_breaks_is_resumed_at_the_byte_where_it_broke(
    store: Store, paused: Paused
) -> None:
    source = FakeBlobs({NAME: MODEL}, breaks=[4, 8, None])
    fetch_all(store, source, [LAYER], paused.policy)
    assert source.asked == [(NAME, 0), (NAME, 4), (NAME, 12)]
    assert store.path(NAME).read_bytes() == MODEL


def test_progress_is_never_given_up(store: Store, paused: Paused) -> None:
    source = FakeBlobs({NAME: MODEL}, breaks=[0, 0, 4, 0, 0, 4, 0, 0, None])
    fetch_all(store, source, [LAYER], paused.policy)
    assert store.has(NAME)


def test_a_link_that_brings_nothing_is_a_transient_failure(store: Store, paused: Paused) -> None:
    source = FakeBlobs({NAME: MODEL}, breaks=[0] * 10)
    with pytest.raises(Failed, match="the link broke") as caught:
        fetch_all(store, source, [LAYER], paused.policy)
    assert caught.value.failure.kind is FailureKind.TRANSIENT
    assert len(source.asked) == MAX_STUCK
    assert paused.pauses == [1, 2]


def test_a_delivery_that_ends_too_early_is_continued_or_given_up(
    store: Store, paused: Paused
) -> None:
    source = FakeBlobs({NAME: MODEL[:8]})
    with pytest.raises(Failed, match="ended too early"):
        fetch_all(store, source, [LAYER], paused.policy)
    assert source.asked[:2] == [(NAME, 0), (NAME, 8)]


def test_wrong_bytes_are_fetched_anew_and_then_given_up_for_good(
    store: Store, paused: Paused
) -> None:
    source = FakeBlobs({NAME: MODEL[:-1] + b"X"})
    with pytest.raises(Failed, match="the blob's bytes do not match its digest") as caught:
        fetch_all(store, source, [LAYER], paused.policy)
    assert caught.value.failure.kind is FailureKind.PERMANENT
    assert caught.value.failure.element == NAME
    assert source.asked == [(NAME, 0)] * MAX_WRONG
    assert not store.has(NAME)


def test_a_delivery_that_was_wrong_once_is_forgiven(store: Store) -> None:
    source = FakeBlobs({NAME: b"X" + MODEL[1:]})
    policy = Policy(lambda _: source.contents.update({NAME: MODEL}), lambda: False)
    fetch_all(store, source, [LAYER], policy)
    assert store.has(NAME)

from __future__ import annotations

import errno
from hashlib import sha256
from typing import TYPE_CHECKING
from weakref import ref

import pytest
from sealane import fileio
from sealane.bundle.types import Layer
from sealane.failure import FailureKind
from sealane.names import Digest
from sealane_agent.errors import Failed
from sealane_agent.layout import StateFolder
from sealane_agent.store import RESERVE_BYTES, Stopped, Store, WrongBytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = b"a model's bytes, quite a few of them"


def layer(content: bytes = MODEL, path: str = "onnx/model.onnx") -> Layer:
    name = Digest(f"sha256:{sha256(content).hexdigest()}")
    return Layer(path, "application/vnd.cncf.model.weight.v1.raw", name, len(content))


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path)


@pytest.fixture
def store(folder: StateFolder) -> Store:
    return Store(folder)


def never() -> bool:
    return False


def receive(store: Store, wanted: Layer, content: bytes) -> None:
    store.receive(wanted, lambda offset: iter([content[offset:]]), never)


def test_a_blob_gets_its_name_when_its_bytes_are_right(store: Store, folder: StateFolder) -> None:
    receive(store, layer(), MODEL)
    assert folder.blob(layer().digest).read_bytes() == MODEL
    assert list(folder.partial.iterdir()) == []


def test_a_blob_is_continued_where_it_broke_off(store: Store) -> None:
    asked: list[int] = []

    def chunks(offset: int) -> Iterator[bytes]:
        asked.append(offset)
        yield MODEL[offset : offset + 10]

    while not store.has(layer().digest):
        store.receive(layer(), chunks, never)
    assert asked == [0, 10, 20, 30]
    assert store.path(layer().digest).read_bytes() == MODEL


@pytest.mark.parametrize("content", [MODEL[:-1] + b"X", MODEL + b"X"], ids=["changed", "longer"])
def test_wrong_bytes_leave_nothing_behind(
    store: Store, folder: StateFolder, content: bytes
) -> None:
    with pytest.raises(WrongBytes):
        receive(store, layer(), content)
    assert not store.has(layer().digest)
    assert list(folder.partial.iterdir()) == []


def test_a_partial_that_was_changed_on_the_disk_is_noticed(
    store: Store, folder: StateFolder
) -> None:
    store.receive(layer(), lambda _: iter([MODEL[:10]]), never)
    (partial,) = folder.partial.iterdir()
    partial.write_bytes(b"x" * 10)
    with pytest.raises(WrongBytes):
        receive(store, layer(), MODEL)


def test_an_endless_delivery_is_cut_at_the_manifests_size(
    store: Store, folder: StateFolder
) -> None:
    def endless(_offset: int) -> Iterator[bytes]:
        while True:
            yield b"x" * 16

    with pytest.raises(WrongBytes):
        store.receive(layer(), endless, never)
    assert list(folder.partial.iterdir()) == []


def test_a_fetch_that_nobody_wants_stops_and_keeps_what_came(
    store: Store, folder: StateFolder
) -> None:
    wanted = iter([False, True])
    with pytest.raises(Stopped):
        store.receive(layer(), lambda _: iter([MODEL[:4], MODEL[4:]]), lambda: next(wanted))
    (partial,) = folder.partial.iterdir()
    assert partial.read_bytes() == MODEL[:4]


def test_an_empty_blob_needs_no_delivery(store: Store) -> None:
    receive(store, layer(b""), b"")
    assert store.has(layer(b"").digest)


def test_a_disk_without_room_is_told_with_its_numbers(folder: StateFolder) -> None:
    store = Store(folder, free_bytes=lambda _: RESERVE_BYTES)
    with pytest.raises(Failed) as caught:
        store.require_space([layer()])
    failure = caught.value.failure
    assert failure.kind is FailureKind.ENVIRONMENTAL
    assert str(len(MODEL)) in failure.message
    assert str(RESERVE_BYTES) in failure.message


def test_what_is_here_already_needs_no_room(folder: StateFolder) -> None:
    store = Store(folder, free_bytes=lambda _: 0)
    receive(store, layer(), MODEL)
    store.require_space([layer()])


def test_a_disk_that_fills_up_gives_its_room_back_and_keeps_other_blobs(
    store: Store, folder: StateFolder
) -> None:
    other = layer(b"what serves", "other")
    receive(store, other, b"what serves")

    def full(_offset: int) -> Iterator[bytes]:
        yield MODEL[:8]
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Failed, match="disk is full"):
        store.receive(layer(), full, never)
    assert list(folder.partial.iterdir()) == []
    assert store.has(other.digest)


def test_a_view_gives_blobs_their_names_again(store: Store) -> None:
    contract = layer(b"{}", "deployment.json")
    receive(store, layer(), MODEL)
    receive(store, contract, b"{}")
    view = store.view(Digest("sha256:" + "0" * 64), [layer(), contract])
    assert (view / "onnx/model.onnx").read_bytes() == MODEL
    assert (view / "deployment.json").samefile(store.path(contract.digest))


def test_a_view_is_made_anew_when_a_file_in_it_was_exchanged(store: Store) -> None:
    receive(store, layer(), MODEL)
    name = Digest("sha256:" + "0" * 64)
    file = store.view(name, [layer()]) / "onnx/model.onnx"
    file.unlink()
    file.write_bytes(b"something else")
    store.view(name, [layer()])
    assert file.read_bytes() == MODEL


def test_a_blob_that_changed_on_the_disk_is_refused_and_removed(store: Store) -> None:
    receive(store, layer(), MODEL)
    store.path(layer().digest).write_bytes(b"rotten")
    with pytest.raises(WrongBytes):
        store.view(Digest("sha256:" + "0" * 64), [layer()])
    assert not store.has(layer().digest)


def test_a_manifest_that_is_not_its_digest_is_not_kept(store: Store) -> None:
    with pytest.raises(WrongBytes):
        store.put(layer().digest, b"something else")
    store.put(layer().digest, MODEL)
    assert store.has(layer().digest)


def test_only_what_nothing_needs_is_collected(store: Store, folder: StateFolder) -> None:
    old = layer(b"old", "old")
    kept, gone = Digest("sha256:" + "0" * 64), Digest("sha256:" + "1" * 64)
    for item, content in ((layer(), MODEL), (old, b"old")):
        receive(store, item, content)
    store.view(kept, [layer()])
    store.view(gone, [old])
    fileio.replace(folder.partial / "abandoned", b"")
    assert store.collect({layer().digest}, {kept}) == 3
    assert store.has(layer().digest)
    assert not store.has(old.digest)
    assert [view.name for view in folder.views.iterdir()] == ["0" * 64]


def test_who_wants_a_blob_that_is_being_fetched_waits_and_nothing_is_kept_of_it(
    store: Store,
) -> None:
    with store.alone(layer().digest):
        assert not store.alone(layer().digest).acquire(blocking=False)
        assert store.alone(layer(b"another").digest).acquire(blocking=False)
    first = ref(store.alone(layer().digest))
    assert first() is None

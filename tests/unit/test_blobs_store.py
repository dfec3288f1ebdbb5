from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from sealane.errors import BundleError
from sealane.limits import BLOB_BYTES
from sealane.names import Digest
from sealane_manager.blobs import RESERVE_BYTES, BlobStore
from sealane_manager.errors import NoSpace, NotKnown
from sealane_manager.layout import StateFolder

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"weights " * 1000


def digest_of(content: bytes) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path)


@pytest.fixture
def blobs(state: StateFolder) -> BlobStore:
    store = BlobStore(state)
    store.prepare()
    return store


def put(blobs: BlobStore, content: bytes, *parts: bytes) -> Digest:
    digest = digest_of(content)
    with blobs.receive(digest, len(content)) as upload:
        for part in parts or (content,):
            upload.write(part)
        upload.finish()
    return digest


def test_a_blob_comes_back_whole_and_from_any_offset(blobs: BlobStore) -> None:
    digest = put(blobs, CONTENT, CONTENT[:10], CONTENT[10:])

    with blobs.open(digest) as file:
        assert file.read() == CONTENT
    with blobs.open(digest, 7999) as file:
        assert file.read() == CONTENT[7999:]
    with blobs.open(digest, len(CONTENT)) as file:
        assert file.read() == b""


def test_an_empty_blob_is_a_blob(blobs: BlobStore) -> None:
    assert blobs.content(put(blobs, b""), 10) == b""


def test_missing_blobs_are_named_once_and_in_order(blobs: BlobStore) -> None:
    held = put(blobs, CONTENT)
    lost, gone = digest_of(b"lost"), digest_of(b"gone")

    assert blobs.missing([lost, held, gone, lost]) == (lost, gone)


def test_a_truncated_upload_is_refused_and_leaves_nothing(
    blobs: BlobStore, state: StateFolder
) -> None:
    with blobs.receive(digest_of(CONTENT), len(CONTENT)) as upload:
        upload.write(CONTENT[:10])
        with pytest.raises(BundleError, match="ended after 10 of"):
            upload.finish()

    assert list(state.uploads.iterdir()) == []
    assert blobs.missing([digest_of(CONTENT)]) != ()


def test_a_longer_upload_is_refused_at_the_first_byte_too_many(blobs: BlobStore) -> None:
    with blobs.receive(digest_of(CONTENT), len(CONTENT)) as upload:
        upload.write(CONTENT)
        with pytest.raises(BundleError, match="longer"):
            upload.write(b"!")


def test_other_bytes_under_a_digest_are_refused(blobs: BlobStore) -> None:
    wrong = CONTENT[:-1] + b"!"
    with blobs.receive(digest_of(CONTENT), len(CONTENT)) as upload:
        upload.write(wrong)
        with pytest.raises(BundleError, match="another digest"):
            upload.finish()


def test_two_uploads_of_one_blob_do_not_disturb_each_other(
    blobs: BlobStore, state: StateFolder
) -> None:
    digest = digest_of(CONTENT)
    with (
        blobs.receive(digest, len(CONTENT)) as one,
        blobs.receive(digest, len(CONTENT)) as other,
    ):
        one.write(CONTENT[:100])
        other.write(CONTENT)
        other.finish()
        one.write(CONTENT[100:])
        one.finish()

    assert blobs.content(digest, len(CONTENT)) == CONTENT
    assert list(state.uploads.iterdir()) == []


def test_uploads_that_a_crash_cut_off_are_forgotten_at_the_next_start(
    blobs: BlobStore, state: StateFolder
) -> None:
    (state.uploads / "left-over").write_bytes(b"half")
    kept = put(blobs, CONTENT)

    BlobStore(state).prepare()

    assert list(state.uploads.iterdir()) == []
    assert blobs.missing([kept]) == ()


def test_a_blob_over_the_limit_is_refused_before_its_first_byte(blobs: BlobStore) -> None:
    with pytest.raises(BundleError, match="larger than the limit"):
        blobs.receive(digest_of(b""), BLOB_BYTES + 1)


def test_a_blob_that_the_disk_cannot_hold_is_refused_before_its_first_byte(
    state: StateFolder,
) -> None:
    blobs = BlobStore(state, free=lambda _folder: RESERVE_BYTES + 100)
    blobs.prepare()

    with blobs.receive(digest_of(b""), 100):
        pass
    with pytest.raises(NoSpace, match="too little"):
        blobs.receive(digest_of(b""), 101)


def test_a_full_disk_is_told_as_such(blobs: BlobStore) -> None:
    with (
        open("/dev/full", "wb", buffering=0) as full,  # noqa: PTH123 - a device
        blobs.receive(digest_of(CONTENT), len(CONTENT)) as upload,
    ):
        upload._file.close()
        upload._file = full
        with pytest.raises(NoSpace, match="disk is full"):
            upload.write(CONTENT)


def test_what_is_not_here_is_not_known(blobs: BlobStore) -> None:
    digest = put(blobs, CONTENT)
    with pytest.raises(NotKnown):
        blobs.open(digest_of(b"nothing"))
    with pytest.raises(NotKnown, match="ends before byte"):
        blobs.open(digest, len(CONTENT) + 1)


def test_a_blob_that_should_be_small_is_not_read_when_it_is_not(blobs: BlobStore) -> None:
    with pytest.raises(BundleError, match="larger than 100 bytes"):
        blobs.content(put(blobs, CONTENT), 100)

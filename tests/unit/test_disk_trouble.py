"""What the agent believes of a disk that has failed once, or of a process that died on it."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from sealane import fileio
from sealane.bundle.types import Layer
from sealane.fleet import SlotReport
from sealane.names import Digest
from sealane.trust import anchor
from sealane_agent.errors import DiskTrouble
from sealane_agent.identity.passport import Passport
from sealane_agent.layout import StateFolder
from sealane_agent.slot.journal import Entry, Journal
from sealane_agent.store import Store
from support.agent_fakes import CAM, START
from support.disks import FailingDisk
from support.passports import WHO, Office
from support.trust import Simulator

if TYPE_CHECKING:
    from pathlib import Path

MODEL = b"a model's bytes"
LAYER = Layer("model.onnx", "raw", Digest(f"sha256:{sha256(MODEL).hexdigest()}"), len(MODEL))
NAME = Digest("sha256:" + "0" * 64)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(StateFolder(tmp_path))


def receive(store: Store) -> list[int]:
    """Fetch the model; returns the offsets that were asked for."""
    asked: list[int] = []

    def chunks(offset: int) -> list[bytes]:
        asked.append(offset)
        return [MODEL[offset:]]

    store.receive(LAYER, lambda offset: iter(chunks(offset)), lambda: False)
    return asked


def test_bytes_whose_fsync_failed_are_fetched_again(store: Store) -> None:
    with fileio.using(FailingDisk({"sync": 1})):
        with pytest.raises(OSError, match="Input/output"):
            receive(store)
        assert receive(store) == [0], "the system forgot what it had not written"
    assert store.has(LAYER.digest)


def test_a_partial_that_cannot_even_be_removed_is_not_believed_later(store: Store) -> None:
    with fileio.using(FailingDisk({"sync": 1, "unlink": 1})):
        with pytest.raises(OSError, match="Input/output"):
            receive(store)
        assert store.partial_bytes(LAYER) == len(MODEL)
        assert receive(store) == [0]


def test_a_view_that_is_here_already_is_made_durable_all_the_same(
    store: Store, tmp_path: Path
) -> None:
    receive(store)
    store.view(NAME, [LAYER])
    folder = StateFolder(tmp_path)
    with fileio.using(disk := FailingDisk()):
        store.view(NAME, [LAYER])
    assert disk.synced == [folder.blobs, folder.views]


def test_a_journal_that_cannot_be_written_says_so_and_changes_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    entry = Entry(CAM, None, START, SlotReport(CAM, "idle"))
    with fileio.using(FailingDisk({"execute": 1})):
        with pytest.raises(DiskTrouble, match="cannot be read or written"):
            journal.write(entry)
        assert journal.pending() == 0
        journal.write(entry)
    assert journal.pending() == 1
    journal.close()


def test_a_root_that_is_trusted_already_is_made_durable_all_the_same(tmp_path: Path) -> None:
    root = Simulator().first_root
    anchor.bootstrap(tmp_path, root, sha256(root).digest())
    with fileio.using(disk := FailingDisk()):
        anchor.bootstrap(tmp_path, root, sha256(root).digest())
    assert disk.synced == [tmp_path]


def test_a_certificate_that_is_seen_is_shown_even_when_its_fsync_failed(tmp_path: Path) -> None:
    office = Office(tmp_path)
    passport = Passport(office.enrolled(tmp_path), WHO)
    before = passport.certificate
    office.clock.advance(timedelta(hours=16))
    renewed = office.sign(passport.request())
    with (
        fileio.using(FailingDisk({"sync folder": 1})),
        pytest.raises(OSError, match="Input/output"),
    ):
        passport.take(renewed)
    assert passport.unsettled
    assert passport.certificate != before, "the next request would come from a superseded key"


def test_a_key_that_was_made_before_is_durable_before_it_is_asked_for(tmp_path: Path) -> None:
    files = Office(tmp_path).enrolled(tmp_path)
    Passport(files, WHO).request()
    with fileio.using(disk := FailingDisk()):
        Passport(files, WHO).request()
    assert disk.synced == [files.folder]

"""A publication of root, targets and a family together is cut off before and after every write."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sealane import fileio
from sealane_manager.layout import StateFolder
from sealane_manager.repository import Repository
from sealane_manager.trust import changes
from sealane_manager.trust.changes import Offer
from sealane_manager.trust.edits import KeyEdit, edited
from sealane_manager.trust.keys import key_path, new_successor
from sealane_manager.trust.pending import Books, Pending
from sealane_manager.trust.proposals import look, sign_with
from support.ceremony import Ceremony, begin
from support.crash_disk import Died, Fault, FaultyDisk
from support.crash_model import Image, Model
from support.trust import ManualClock
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.trust.publication import Publication

MOVED = ("root", "targets", "digits")


class Files(FetcherInterface):
    """Serves a repository as it lies on the disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = self.folder / url.removeprefix("m:/")
        if not path.exists():
            raise DownloadHTTPError("not here", 404)
        yield path.read_bytes()


@dataclass(frozen=True)
class Eve:
    """Just before the last signature: other keys of targets and of a family wait for it."""

    state: Image
    last: bytes
    now: datetime


@cache
def eve() -> Eve:
    with TemporaryDirectory() as folder:
        made = begin(Path(folder))
        made.clock = ManualClock(datetime.now(UTC))
        edits = (
            KeyEdit("targets", (made.holder("zoe").key,), ("kim",)),
            KeyEdit("digits", (made.holder("ida").key,), ("max",)),
        )
        made.propose(lambda ground: edited(ground, edits))
        made.sign("ana", "zoe", "lea", "ida")
        assert sorted(made.waiting()) == sorted(MOVED)
        document = look(made.desk).pending["root"]
        document.signatures.clear()
        sign_with(document, made.holder("eva").signer)
        return Eve(Image.of(made.state.root), changes.encode(document), made.clock.now())


@dataclass
class Night:
    """The manager's folder through the power cut, and a device that has seen it before."""

    folder: Path

    def __post_init__(self) -> None:
        self.state = StateFolder(self.folder / "state")
        self.clock = ManualClock(eve().now)
        self.told: list[tuple[str, bool]] = []
        eve().state.write(self.state.root)
        self.device()

    def open(self) -> tuple[Repository, Pending]:
        repository = Repository(self.state.tuf, self.state.keys, self.clock, self._tell)
        return repository, Pending(repository, self.state, Books(lambda *_: None), self.clock)

    def _tell(self, publication: Publication) -> None:
        role, _, version = publication.detail.partition(" ")
        if publication.action == "metadata":
            there = (self.state.tuf / f"{version}.{role}.json").exists()
            self.told.append((role, there))

    def publish(self) -> None:
        self.open()[1].submit(Offer("root", eve().last), "eva")

    def cut(self, fault: Fault, at: int) -> bool:
        """Whether the power went while it was published; what is left lies where it lay."""
        disk = FaultyDisk(Model(self.state.root), self.clock, fault, at)
        with suppress(Died), fileio.using(disk):
            self.publish()
        if disk.found is None:
            return False
        self.state = StateFolder(self.folder / "after")
        disk.found.write(self.state.root)
        return True

    def start(self) -> None:
        """What a manager does before it serves."""
        repository, pending = self.open()
        pending.settle()
        repository.renew(self.clock.now())

    def versions(self) -> set[int]:
        documents = self.open()[0].documents()
        return {documents[role].signed.version for role in MOVED}

    def device(self) -> None:
        """It follows what is served, as it follows everything: from the root that it has."""
        home = self.folder / "device"
        home.mkdir(exist_ok=True)
        first = (self.state.tuf / "1.root.json").read_bytes()
        updater = Updater(str(home), "m:/", None, None, Files(self.state.tuf), bootstrap=first)
        updater.refresh()
        assert updater.get_targetinfo("digits/nothing@1.json") is None


def operations() -> list[str]:
    with TemporaryDirectory() as folder:
        night = Night(Path(folder))
        disk = FaultyDisk(Model(night.state.root), night.clock)
        with fileio.using(disk):
            night.publish()
        return [operation.kind for operation in disk.operations]


def test_whenever_the_power_goes_the_manager_starts_with_all_of_it_or_nothing(
    tmp_path: Path,
) -> None:
    kinds = operations()
    assert kinds.count("rename") >= 6  # the change, three roles, snapshot, timestamp
    seen = {1: 0, 2: 0}
    for at, kind in enumerate(kinds, 1):
        faults = (Fault.CUT_ALL, Fault.KILL_AFTER) if kind == "rename" else (Fault.CUT_ALL,)
        for fault in faults:
            night = Night(tmp_path / f"{at}-{fault.name}")
            assert night.cut(fault, at), (at, kind, fault)
            night.start()
            night.device()
            (version,) = night.versions()  # never of two times
            seen[version] += 1
            if version == 1:  # the last signature was lost with the power
                night.publish()
                night.device()
                assert night.versions() == {2}
            assert not list(night.state.changes.glob("*.json"))
    assert min(seen.values()) >= 5, seen


def test_each_role_is_told_before_its_file_is_written(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.publish()
    assert night.told == [("digits", False), ("targets", False), ("root", False)]


def test_a_log_that_cannot_be_written_lets_nothing_be_published(tmp_path: Path) -> None:
    night = Night(tmp_path)

    def full(_publication: Publication) -> None:
        raise OSError(28, "No space left on device")

    repository = Repository(night.state.tuf, night.state.keys, night.clock, full)
    pending = Pending(repository, night.state, Books(lambda *_: None), night.clock)
    with pytest.raises(OSError, match="No space"):
        pending.submit(Offer("root", eve().last), "eva")
    assert night.versions() == {1}
    night.device()
    night.start()
    assert night.versions() == {2}


def test_keys_are_deleted_after_a_crash_too(tmp_path: Path) -> None:
    """The power goes after the new root counts, and before the old online key is removed."""
    made = begin(tmp_path)
    old = made.local("timestamp").public_key.keyid
    kept = key_path(made.state.keys, "timestamp")
    content = kept.read_bytes()
    new = new_successor(made.state.keys, "timestamp").public_key
    made.propose(lambda ground: edited(ground, [KeyEdit("timestamp", (new,), (old,))]))
    made.sign("ana", "ben")
    assert not kept.exists()
    kept.write_bytes(content)
    settle(made)
    assert not kept.exists()


def test_a_key_on_its_way_and_one_that_signs_nothing_are_left_alone(tmp_path: Path) -> None:
    made = begin(tmp_path)
    new_successor(made.state.keys, "director")
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    made.state.sample_key.write_bytes(X25519PrivateKey.generate().private_bytes(*form))
    (made.state.keys / "ana.pem").write_bytes(made.holder("ana").private.read_bytes())
    before = sorted(made.state.keys.iterdir())
    assert len(before) == 6
    made.propose(lambda ground: edited(ground, [KeyEdit("root", (made.holder("zoe").key,))]))
    made.sign("ana", "ben")
    assert made.version("root") == 2
    settle(made)
    assert sorted(made.state.keys.iterdir()) == before


def settle(made: Ceremony) -> None:
    Pending(made.repository, made.state, Books(lambda *_: None), made.clock).settle()

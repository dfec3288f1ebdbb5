"""Brings a manager that was put back from a backup up to what its devices have seen.

Every device is a witness: it says how new the documents and the metadata are that it accepted. Who
is newer than this manager keeps what it serves, and gives back the metadata that was lost. Nothing
of that is believed without the signatures of those who approve releases.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from sealane.errors import InvalidName, SealaneError
from sealane.fleet import DesiredChanged, MetadataWanted
from sealane.names import ReleaseName

from sealane_manager.store.records import ReleaseSource

if TYPE_CHECKING:
    from sealane.clock import Clock
    from sealane.fleet import Hello, MetadataFile, SlotReport
    from sealane.names import DeviceId

    from sealane_manager.repository import Repository
    from sealane_manager.store.store import Store

_SUFFIX = ".json"
_log = logging.getLogger(__name__)


class Recovery:
    """Listens for devices that are newer than this manager; every method blocks."""

    def __init__(self, store: Store, repository: Repository, clock: Clock) -> None:
        self._store, self._repository, self._clock = store, repository, clock

    def hello(self, device: DeviceId, hello: Hello) -> bool:
        """Whether the device is newer; then it keeps what it serves."""
        if self._store.kits.adopt(device, hello.memory.director_version, self._clock.now()):
            _log.info("device %s took up a kit", device)
        if not self._store.restoring.is_behind(device, hello.memory.director_version):
            return False
        _log.warning("this manager is older than device %s: it was put back from a backup", device)
        self._adopt(device, hello.slots)
        return True

    def lost(self, hello: Hello) -> MetadataWanted | None:
        """The metadata that the device holds and this manager does not."""
        above = self._repository.behind(hello.memory.metadata)
        return MetadataWanted(above) if above else None

    def take_back(
        self, device: DeviceId, file: MetadataFile, slots: tuple[SlotReport, ...]
    ) -> DesiredChanged | None:
        """Take what a device gives back, if it is signed; says when there is something new for it.

        `slots`: what the device serves, if it is newer than this manager.
        """
        try:
            news = self._take(file)
        except SealaneError as error:
            _log.warning("device %s gave back %.80r: %s", device, file.name, error)
            return None
        if not news:
            return None
        self._adopt(device, slots)
        return DesiredChanged(self._store.desired.get(device)[0])

    def _take(self, file: MetadataFile) -> bool:
        if file.name.endswith(_SUFFIX):
            return self._take_manifest(file)
        news = self._repository.take_back(file.name, file.content, self._clock.now())
        if news:
            _log.warning("took back the metadata of %s from a device", file.name)
        return news

    def _take_manifest(self, file: MetadataFile) -> bool:
        try:
            name = ReleaseName.parse(file.name.removesuffix(_SUFFIX))
        except InvalidName:
            return False
        digest = f"sha256:{hashlib.sha256(file.content).hexdigest()}"
        if (name, digest) in {(each.name, each.manifest) for each in self._repository.releases()}:
            self._repository.add_target(name, file.content)
            return True
        return False

    def _adopt(self, device: DeviceId, slots: tuple[SlotReport, ...]) -> None:
        listed = {
            str(each.name): ReleaseSource(each.name, each.manifest, each.length)
            for each in self._repository.releases()
        }
        self._store.restoring.adopt(device, slots, listed, self._clock.now())

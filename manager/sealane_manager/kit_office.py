"""Makes kits: a release for devices without network, as one stream of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane.bundle.manifest import parse_manifest
from sealane.kit.index import MAX_BLOBS, MAX_DOCUMENTS, Index
from sealane.limits import BLOB_CHUNK_BYTES
from sealane.trust.agreement import ANY_SLOT, is_package

from sealane_manager.carried import carried as collect
from sealane_manager.carried import manifest_file
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.kits import good_until
from sealane_manager.selector import parse
from sealane_manager.store.kits import KitTerms
from sealane_manager.store.records import ReleaseSource, Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sealane.names import DeviceId, Digest

    from sealane_manager.blobs import BlobStore
    from sealane_manager.carried import Carried
    from sealane_manager.desk import Papers
    from sealane_manager.kits import KitRequest
    from sealane_manager.store.records import By
    from sealane_manager.store.store import Store


class KitOffice:
    """Exports kits; every method blocks."""

    def __init__(
        self, store: Store, papers: Papers, blobs: BlobStore, name: Callable[[], str]
    ) -> None:
        self._store, self._papers, self._blobs, self._name = store, papers, blobs, name

    def export(self, asked: KitRequest, fleet: str, by: By) -> Iterator[bytes]:
        """The bytes of a kit; raises NotKnown, InvalidName, Refused or BundleError at once."""
        source = self._source(asked)
        devices = self._devices(asked)
        others = {each for device in devices for each in self._sources(device)}
        carried = collect(self._papers.repository, sorted({source, *others}, key=str), by.at)
        until = good_until(asked.valid, carried.bound, by.at)
        layers = self._layers(source)
        terms = KitTerms(self._name(), source, asked.slot, until)
        issues = self._store.kits.issue(terms, devices, by)
        documents = {
            device: self._papers.carried(device, issue, (by.at, until))
            for device, issue in sorted(issues.items())
        }
        index = Index(
            terms.id,
            fleet,
            until,
            {device: len(content) for device, content in documents.items()},
            {name: len(content) for name, content in sorted(carried.files.items())},
            dict(sorted(layers.items())),
        )
        return self._bytes(index, documents, carried)

    def _source(self, asked: KitRequest) -> ReleaseSource:
        listed = {each.name: each for each in self._papers.repository.releases()}
        found = listed.get(asked.release)
        if found is None:
            raise NotKnown(f"{asked.release} is not listed", hint="see `sealane release list`")
        if ANY_SLOT not in found.slots and asked.slot not in found.slots:
            allowed = ", ".join(found.slots)
            raise Refused(
                f"{asked.release} is not approved for slot {asked.slot}",
                hint=f"it is approved for {allowed}",
            )
        return ReleaseSource(found.name, found.manifest, found.length)

    def _sources(self, device: DeviceId) -> Iterator[ReleaseSource]:
        """What the device shall run beside: its document names it, so it must be verified too."""
        for each in self._store.desired.get(device)[1]:
            if is_package(each):
                continue
            yield ReleaseSource(each.release, each.manifest, each.length)

    def _devices(self, asked: KitRequest) -> tuple[DeviceId, ...]:
        if bool(asked.devices) == bool(asked.selector):
            raise Refused("a kit is for named devices, or for those that a selector picks")
        if asked.devices:
            found = tuple(sorted({self._store.devices.get(each).id for each in asked.devices}))
        else:
            records = self._store.devices.list(parse(asked.selector))
            members = [each for each in records if each.state is Standing.ACTIVE]
            found = tuple(sorted(each.id for each in members))
        if not found:
            raise Refused(f"no device matches {asked.selector!r}")
        if len(found) > MAX_DOCUMENTS:
            raise Refused(f"a kit is for at most {MAX_DOCUMENTS} devices, not {len(found)}")
        return found

    def _layers(self, source: ReleaseSource) -> Mapping[Digest, int]:
        content = self._papers.repository.read(manifest_file(source))
        layers = {each.digest: each.size for each in parse_manifest(content).layers}
        missing = self._blobs.missing(layers)
        if missing:
            raise NotKnown(
                f"{len(missing)} blobs of {source.name} are not stored here",
                hint="publish the bundle again",
            )
        if len(layers) > MAX_BLOBS:
            raise Refused(f"a kit holds at most {MAX_BLOBS} blobs")
        return layers

    def _bytes(
        self, index: Index, documents: Mapping[DeviceId, bytes], carried: Carried
    ) -> Iterator[bytes]:
        yield index.encode()
        for device in index.documents:
            yield documents[device]
        for name in index.metadata:
            yield carried.files[name]
        for digest in index.blobs:
            with self._blobs.open(digest) as file:
                while chunk := file.read(BLOB_CHUNK_BYTES):
                    yield chunk

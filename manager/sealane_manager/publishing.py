"""How a release gets into the repository: its blobs first, then its metadata.

A release is listed only when the manager holds everything that a device will ask for.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from sealane.bundle.manifest import parse_manifest
from sealane.errors import SealaneError
from sealane.limits import MANIFEST_BYTES
from tuf.api.metadata import Targets

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.intake import Arrival
from sealane_manager.trust.keys import RESERVED
from sealane_manager.trust.submission import listed_in, parse
from sealane_manager.views import ReleaseView

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from sealane.bundle.signature import ProducerKey
    from sealane.bundle.types import Manifest
    from sealane.names import Digest, ReleaseName

    from sealane_manager.blobs import BlobStore
    from sealane_manager.intake import Demand, Intake
    from sealane_manager.repository import Repository
    from sealane_manager.trust.changes import Change, Offer, Outcome
    from sealane_manager.trust.pending import Pending
    from sealane_manager.trust.submission import ListedRelease


_log = logging.getLogger(__name__)


class Publishing:
    """The repository with the blobs that it speaks of."""

    def __init__(
        self, repository: Repository, blobs: BlobStore, pending: Pending, intake: Intake
    ) -> None:
        self._repository, self._blobs = repository, blobs
        self._pending, self._intake = pending, intake

    def submit(self, offer: Offer, actor: str) -> Outcome:
        """Take a proposal or signatures, and publish what is signed by enough keys.

        Raises Refused while blobs of a new release are missing, when it comes from no producer who
        may bring it, and whatever the pending changes refuse.
        """
        signed: list[tuple[Arrival, ProducerKey]] = []
        if offer.role not in RESERVED:
            releases = listed_in(offer.role, parse(Targets, offer.metadata).signed)
            signed = self._bring(releases, actor)
        before = self._listed()
        outcome = self._pending.submit(offer, actor)
        if offer.role in outcome.published:
            for arrival, key in signed:
                self._intake.accepted(arrival, key)
        self._accept_waiting(before, {*outcome.published} - {offer.role}, actor)
        return outcome

    def settle(self) -> None:
        """Publish what is complete, also what a crash left half published.

        Devices are served whatever stops it: that is logged.
        """
        try:
            self._pending.settle()
        except SealaneError as error:
            _log.warning("changes of the trust root wait: %s", error)

    def changes(self) -> tuple[Change, ...]:
        """Every change that waits for signatures."""
        return self._pending.changes()

    def withdraw(self, role: str, actor: str) -> None:
        """Forget a waiting change; raises NotKnown."""
        self._pending.withdraw(role, actor)

    def _bring(
        self, releases: tuple[ListedRelease, ...], actor: str
    ) -> list[tuple[Arrival, ProducerKey]]:
        """Store what is new; what of it came in under a producer's key."""
        known = self._listed()
        signed = []
        for release in releases:
            if known.get(release.name) != release.manifest or self._is_back(release):
                arrival = Arrival(release.name, self._whole(release.name, release.manifest), actor)
                if key := self._intake.check(arrival):
                    signed.append((arrival, key))
                self._repository.add_target(release.name, arrival.manifest.content)
        return signed

    def _accept_waiting(
        self, before: Mapping[ReleaseName, Digest], roles: Container[str], actor: str
    ) -> None:
        """Write down what waited in other roles and came in with this submission."""
        for name, manifest in self._listed().items():
            if name.family in roles and before.get(name) != manifest:
                arrival = Arrival(name, self._whole(name, manifest), actor)
                with suppress(Refused):  # the keys changed since it was proposed: the log says so
                    if key := self._intake.check(arrival):
                        self._intake.accepted(arrival, key)

    def _listed(self) -> Mapping[ReleaseName, Digest]:
        found = self._repository.releases() if self._repository.begun else ()
        return {release.name: release.manifest for release in found}

    def _is_back(self, release: ListedRelease) -> bool:
        """Whether a manifest that was lost was uploaded again."""
        held = self._repository.holds(release.name, release.manifest)
        return not held and not self._blobs.missing([release.manifest])

    def _whole(self, name: ReleaseName, digest: Digest) -> Manifest:
        """The manifest of a bundle of which every blob is here; raises Refused."""
        try:
            content = self._blobs.content(digest, MANIFEST_BYTES)
        except NotKnown as error:
            raise Refused(
                f"the manifest of {name} was not uploaded", hint="upload the bundle's blobs first"
            ) from error
        manifest = parse_manifest(content)
        layers = (manifest.config, *manifest.layers)
        missing = self._blobs.missing(layer.digest for layer in layers)
        if missing:
            raise Refused(
                f"{len(missing)} blobs of {name} were not uploaded, among them {missing[0]}",
                hint="upload the bundle's blobs first",
            )
        return manifest

    def demands(self) -> tuple[Demand, ...]:
        """Whose signature a bundle must have to come in; empty: nobody's."""
        return self._intake.demands()

    def current(self, role: str) -> bytes:
        """The current metadata of one role."""
        return self._repository.current(role)

    def releases(self) -> tuple[ReleaseView, ...]:
        """Every listed release, by name."""
        found = (
            ReleaseView(item.name, item.manifest, item.size, item.slots, listed=True)
            for item in self._repository.releases()
        )
        return tuple(sorted(found, key=lambda release: release.name))

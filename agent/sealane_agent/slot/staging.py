"""Fetches and stages one attempt: blobs, view, and the fastest variant that proves itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from sealane.bundle.deployment import parse_deployment
from sealane.bundle.fit import eligible, needed
from sealane.bundle.manifest import DEPLOYMENT_PATH, layer_at, parse_manifest
from sealane.bundle.references import check_references
from sealane.errors import BundleError
from sealane.failure import Failure, FailureKind
from sealane.limits import DEPLOYMENT_BYTES, PATCH_BYTES

from sealane_agent.errors import Failed
from sealane_agent.layout import Pointer
from sealane_agent.serving.messages import GivesWay
from sealane_agent.serving.types import LoadFailed
from sealane_agent.slot import variants
from sealane_agent.slot.state import Choice
from sealane_agent.standing_in import degraded, lost_here
from sealane_agent.uplink.fetch import Base, fetch_all

if TYPE_CHECKING:
    from sealane.bundle.types import Deployment, Layer, Manifest, ProbationLimits, Variant
    from sealane.fleet import DeviceFacts
    from sealane.names import Digest

    from sealane_agent.endpoint.seam import Endpoint
    from sealane_agent.serving.messages import Proved
    from sealane_agent.slot.state import Attempt
    from sealane_agent.store import Store
    from sealane_agent.uplink.fetch import BlobSource, Policy

LOAD_DEADLINE_S: Final = 120.0
"""How long one variant may take to load, warm up and prove itself."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as far as this device needs it."""

    deployment: Deployment
    chosen: tuple[Variant, ...]
    layers: tuple[Layer, ...]


class Stager(Protocol):
    """Brings bundles of one kind in and proves them."""

    @property
    def store(self) -> Store:
        """Where blobs lie."""
        ...

    @property
    def facts(self) -> DeviceFacts:
        """What this device is."""
        ...

    def fetch(self, attempt: Attempt, policy: Policy) -> ProbationLimits:
        """Bring every blob into the store; the limits of its probation. Raises Failed, Stopped."""
        ...

    async def prove(self, attempt: Attempt, *, interrupts: bool = False) -> Choice:
        """What was chosen and proved; raises Failed, WrongBytes or ConnectionError.

        `interrupts`: the slot may serve nobody meanwhile, where there is no other way.
        """
        ...


@dataclass(frozen=True, slots=True)
class Staging:
    """Brings bundles in and proves them."""

    store: Store
    source: BlobSource
    endpoint: Endpoint
    facts: DeviceFacts

    def fetch(self, attempt: Attempt, policy: Policy) -> ProbationLimits:
        """Bring every blob that the attempt needs into the store; blocks.

        Only what an eligible variant needs is fetched; a file that the bundle before has under the
        same name may come as a patch. Returns the limits of its probation. Raises Failed or
        Stopped.
        """
        manifest = self._manifest(attempt)
        contract = tuple(item for item in manifest.layers if item.path == DEPLOYMENT_PATH)
        if any(item.size > DEPLOYMENT_BYTES for item in contract):
            raise Failed(malformed(attempt, BundleError(f"{DEPLOYMENT_PATH} is too large")))
        self.store.require_space(contract)
        fetch_all(self.store, self.source, contract, policy)
        bundle = self._bundle(attempt, manifest)
        self.store.require_space(bundle.layers)
        patched = replace(policy, bases=self._bases(bundle.layers, policy.before))
        fetch_all(self.store, self.source, bundle.layers, patched)
        return bundle.deployment.probation

    def _bases(self, layers: tuple[Layer, ...], before: Digest | None) -> dict[Digest, Base]:
        """Files of the bundle before that lie here under the names of the new ones."""
        if before is None:
            return {}
        try:
            old = parse_manifest(self.store.path(before).read_bytes()).layers
        except (BundleError, OSError):
            return {}
        here = {item.path: item.digest for item in old if item.size <= PATCH_BYTES}
        return {
            item.digest: Base(here[item.path], self.store.path(here[item.path]))
            for item in layers
            if item.path in here and item.size <= PATCH_BYTES
            if self.store.has(here[item.path])
        }

    async def prove(self, attempt: Attempt, *, interrupts: bool = False) -> Choice:
        """Measure every eligible variant; the fastest one stays loaded.

        Raises Failed, WrongBytes when a blob has changed on the disk, or ConnectionError.
        """
        bundle = await asyncio.to_thread(self._viewed, attempt)
        best: Choice | None = None
        failures: list[Failure] = []
        passed = list(lost_here(bundle.deployment.variants, self.facts))
        for variant in bundle.chosen:
            # What is only compared costs nobody a warm model.
            gives_way = GivesWay.IDLE if best is None else GivesWay.NOTHING
            try:
                found = await self._load(attempt, variant, gives_way)
            except LoadFailed as error:
                failures.append(error.failure)
                passed.append((variant, error.failure.message))
                continue
            best = await self._keep_faster(attempt, best, found)
        if best is None and interrupts:
            alone = variants.too_large(bundle.chosen, failures)
            best = await self._instead(attempt, alone, failures)
        if best is None:
            raise Failed(variants.worst(failures))
        return replace(best, degraded=degraded(best.accelerator, passed))

    async def _instead(
        self, attempt: Attempt, variant: Variant | None, failures: list[Failure]
    ) -> Choice | None:
        """Load a variant in the place of what serves; only one, since nobody serves meanwhile."""
        if variant is None:
            return None
        try:
            return await self._load(attempt, variant, GivesWay.SERVING)
        except LoadFailed as error:
            failures.insert(0, variants.even_alone(error.failure))
            return None

    async def _load(self, attempt: Attempt, variant: Variant, gives_way: GivesWay) -> Choice:
        pointer = Pointer(attempt.release, attempt.manifest, variant.name)
        proved = await self.endpoint.load(attempt.slot, pointer, LOAD_DEADLINE_S, gives_way)
        return _choice(variant, proved)

    async def _keep_faster(self, attempt: Attempt, best: Choice | None, found: Choice) -> Choice:
        """Never more than two on trial at once: each one takes the memory of a model."""
        if best is None:
            return found
        winner, loser = variants.faster(best, found)
        await self.endpoint.drop(attempt.slot, loser.proved.worker)
        return winner

    def _viewed(self, attempt: Attempt) -> Bundle:
        bundle = self._bundle(attempt, self._manifest(attempt))
        self.store.view(attempt.manifest, bundle.layers)
        return bundle

    def _manifest(self, attempt: Attempt) -> Manifest:
        try:
            return parse_manifest(self.store.path(attempt.manifest).read_bytes())
        except BundleError as error:
            raise Failed(malformed(attempt, error)) from error

    def _bundle(self, attempt: Attempt, manifest: Manifest) -> Bundle:
        try:
            contract = layer_at(manifest, DEPLOYMENT_PATH)
            deployment = parse_deployment(self.store.path(contract.digest).read_bytes())
            check_references(manifest, deployment)
        except BundleError as error:
            raise Failed(malformed(attempt, error)) from error
        chosen = eligible(deployment.variants, self.facts)
        if not chosen:
            raise Failed(variants.why_none(deployment.variants, self.facts, str(attempt.release)))
        layers = needed(manifest.layers, deployment, chosen)
        return Bundle(deployment, chosen, layers)


def _choice(variant: Variant, proved: Proved) -> Choice:
    return Choice(variant.name, variant.runtime, variant.accelerator, variant.precision, proved)


def malformed(attempt: Attempt, error: BundleError) -> Failure:
    """A bundle that is not what its kind must be."""
    return Failure(
        FailureKind.PERMANENT,
        phase=attempt.state,
        component="bundle",
        element=str(attempt.release),
        message=str(error),
        hint=error.hint or "pack and publish the bundle again",
    )

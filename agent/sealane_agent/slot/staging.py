"""Fetches and stages one attempt: blobs, view, and the best variant that proves itself."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from sealane.bundle.deployment import parse_deployment
from sealane.bundle.fit import eligible, needed
from sealane.bundle.manifest import DEPLOYMENT_PATH, layer_at, parse_manifest
from sealane.bundle.references import check_references
from sealane.errors import BundleError
from sealane.failure import Failure, FailureKind
from sealane.limits import DEPLOYMENT_BYTES, PATCH_BYTES

from sealane_agent.errors import Failed
from sealane_agent.ranking import why
from sealane_agent.slot import variants
from sealane_agent.slot.qualification import (
    MEASURING_S,
    in_order,
    is_lasting,
    is_settled,
    why_again,
)
from sealane_agent.slot.selection import Selection
from sealane_agent.standing_in import SENTENCE_CHARS, degraded, lost_here
from sealane_agent.uplink.fetch import Base, fetch_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sealane.bundle.types import Deployment, Layer, Manifest, ProbationLimits, Variant
    from sealane.fleet import DeviceFacts
    from sealane.names import Digest

    from sealane_agent.endpoint.seam import Endpoint
    from sealane_agent.slot.qualification import Qualified
    from sealane_agent.slot.qualifications import Qualifications
    from sealane_agent.slot.state import Attempt, Choice
    from sealane_agent.standing_in import Passed
    from sealane_agent.store import Store
    from sealane_agent.uplink.fetch import BlobSource, Policy


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

    @property
    def qualifications(self) -> Qualifications | None:
        """Which variants won before, here and on such devices; None where nothing is measured."""
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
    """Brings bundles in and proves them.

    Attributes:
        qualifications: which variants won before; None: all are measured each time.
    """

    store: Store
    source: BlobSource
    endpoint: Endpoint
    facts: DeviceFacts
    qualifications: Qualifications | None = None
    monotonic: Callable[[], float] = time.monotonic

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
        """Measure the eligible variants; the best one by the bundle's objective stays loaded.

        The one that won before, here or on such a device, is proved first, and alone where it is
        as fast as it was.
        Raises Failed, WrongBytes when a blob has changed on the disk, or ConnectionError.
        """
        bundle = await asyncio.to_thread(self._viewed, attempt)
        known = await asyncio.to_thread(self._won, attempt)
        order, objective = in_order(known, bundle.chosen), bundle.deployment.objective
        selection, begun = Selection(self.endpoint, attempt, objective), self.monotonic()
        for variant in order:
            best = selection.best
            late = self.monotonic() - begun > MEASURING_S
            if best is not None and (late or is_settled(known, best, objective)):
                break
            await selection.measure(variant)
        if selection.best is None and interrupts:
            await selection.instead(order)
        best = selection.winner()
        best = replace(best, why=why(objective, best.proved, selection.proved))
        if known is not None and is_settled(known, best, objective):
            best = replace(best, why=why_again(known, best.proved))
        else:
            known = await asyncio.to_thread(self._keep, attempt, selection, best)
        lost = lost_here(bundle.deployment.variants, self.facts)
        passed = [*lost, *selection.passed, *_passed_before(known, bundle.chosen)]
        hardware = known.key if known else ""
        return replace(best, degraded=degraded(best.accelerator, passed), hardware=hardware)

    def _won(self, attempt: Attempt) -> Qualified | None:
        return self.qualifications.of(attempt.manifest) if self.qualifications else None

    def _keep(self, attempt: Attempt, selection: Selection, best: Choice) -> Qualified | None:
        """Remember who won, where others were measured and what failed would fail again."""
        alone = selection.tried == 1
        if self.qualifications is None or alone or not is_lasting(selection.failures):
            return None
        passed = tuple((each.name, why[:SENTENCE_CHARS]) for each, why in selection.passed)
        won = best.variant, best.proved.latency_us
        return self.qualifications.keep(attempt.manifest, won, passed)

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


def _passed_before(known: Qualified | None, chosen: tuple[Variant, ...]) -> Iterator[Passed]:
    """What could not serve when the winner was found here, and is not tried again."""
    why = dict(known.passed) if known else {}
    return ((variant, why[variant.name]) for variant in chosen if variant.name in why)


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

"""Says what a rollout would do before it starts: reads devices, bundles, patches and telemetry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from sealane.bundle.deployment import parse_deployment
from sealane.bundle.manifest import DEPLOYMENT_PATH, parse_manifest
from sealane.errors import SealaneError
from sealane.limits import DEPLOYMENT_BYTES, MANIFEST_BYTES

from sealane_manager import selector
from sealane_manager.calendars import named, zone_of
from sealane_manager.gate.power import MOST_CONTROL, MOST_TREATED
from sealane_manager.rollout.forecast import Conditions, Planned, times
from sealane_manager.rollout.habits import habits_of
from sealane_manager.rollout.prospect import Bundle, fate, load
from sealane_manager.rollout.tally import past
from sealane_manager.rollout.terms import OnConflict
from sealane_manager.schedule import meaning, policy_of
from sealane_manager.store.records import Standing
from sealane_manager.store.telemetry.records import Span
from sealane_manager.views import PlannedView, PlanView

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sealane.bundle.types import Layer
    from sealane.clock import Clock
    from sealane.names import DeviceId

    from sealane_manager.blobs import BlobStore
    from sealane_manager.patches import Patches
    from sealane_manager.repository import Repository
    from sealane_manager.rollout.controller import Controller
    from sealane_manager.rollout.forecast import Lines
    from sealane_manager.rollout.prospect import Fate, Prospect
    from sealane_manager.rollout.tally import Past
    from sealane_manager.rollout.types import Rollout, RolloutSpec
    from sealane_manager.rollout_file.applying import Wish
    from sealane_manager.store.store import Store

RECENT: Final = timedelta(hours=3)
"""Of telemetry that is read to see what devices do."""


class Releases(Protocol):
    """What a release is made of."""

    def bundle(self, release: str) -> Bundle:
        """Its files and its contract; empty when it is not here."""
        ...


@dataclass(frozen=True, slots=True)
class Bundles:
    """Reads bundles out of the repository."""

    repository: Repository
    blobs: BlobStore

    def bundle(self, release: str) -> Bundle:
        """Its files and its contract; empty when it is not here."""
        found = next((r for r in self.repository.releases() if str(r.name) == release), None)
        if found is None:
            return Bundle(())
        try:
            manifest = parse_manifest(self.blobs.content(found.manifest, MANIFEST_BYTES))
            contract = next((e for e in manifest.layers if e.path == DEPLOYMENT_PATH), None)
            deployment = (
                parse_deployment(self.blobs.content(contract.digest, DEPLOYMENT_BYTES))
                if contract
                else None
            )
        except SealaneError:
            return Bundle(())
        return Bundle(manifest.layers, deployment, tuple(sorted(found.requires.items())))


@dataclass(frozen=True, slots=True)
class Planning:
    """Plans rollouts; every method blocks."""

    store: Store
    controller: Controller
    releases: Releases
    patches: Patches
    clock: Clock

    def plan(self, wish: Wish, lines: Lines) -> PlanView:
        """What would happen; raises what starting it would raise, but for a rollout in the way."""
        zone = zone_of(lines.zone)
        now = self.clock.now()
        rollout = self._drafted(wish)
        bundle = self.releases.bundle(str(wish.spec.release))
        planned = self._planned(rollout, bundle)
        probation = bundle.deployment.probation.seconds if bundle.deployment else 0.0
        kept = named(self.store.calendars.list(), wish.spec.terms.times.calendars)
        around = Conditions(lines.link_kbit, zone, timedelta(seconds=probation), kept)
        treated, control = self._groups(rollout)
        measured = self._pasts((*treated, *control), wish.spec, now)
        habits, known = habits_of(measured, len(treated))
        return PlanView(
            rollout.id,
            rollout.spec,
            tuple(map(_view, planned)),
            times(rollout.spec, planned, around, now),
            habits[: len(treated)],
            habits[len(treated) :],
            known,
        )

    def _drafted(self, wish: Wish) -> Rollout:
        """As it would start; what is in its way is said of each device, and does not refuse."""
        terms = wish.spec.terms
        if terms.on_conflict is OnConflict.REJECT:
            terms = replace(terms, on_conflict=OnConflict.QUEUE)
        spec = replace(wish.spec, terms=terms)
        return self.controller.preview(spec, self.controller.next_id(wish))

    def _planned(self, rollout: Rollout, bundle: Bundle) -> list[Planned]:
        spec = rollout.spec
        stages = {device.device: device.stage for device in rollout.devices}
        found = self.store.prospects.of(selector.parse(spec.selector), spec.slot)
        schedules = self.store.schedules.list()
        fates: dict[object, Fate] = {}
        files: dict[str, tuple[Layer, ...]] = {}
        planned = []
        for each in found:
            policy, _ = policy_of(meaning(schedules, each.labels))
            if each.device not in stages:
                planned.append(Planned(each, policy, why=_left_out(each, spec)))
                continue
            if each.facts not in fates:
                fates[each.facts] = fate(bundle, each.facts)
            will = fates[each.facts]
            travels = load(will, self._held(each, files), self.patches.known)
            planned.append(
                Planned(
                    each,
                    policy,
                    stages[each.device],
                    will.variants,
                    will.trouble or _waits(each),
                    bool(will.trouble and each.facts),
                    travels,
                )
            )
        return planned

    def _held(self, each: Prospect, files: dict[str, tuple[Layer, ...]]) -> tuple[Layer, ...]:
        """Files that the device has in the slot: what is active goes before the last known good."""
        names = [name for name in (each.lkg, each.active) if name]
        for name in names:
            if name not in files:
                files[name] = self.releases.bundle(name).layers
        return tuple(layer for name in names for layer in files[name])

    def _groups(self, rollout: Rollout) -> tuple[Sequence[DeviceId], Sequence[DeviceId]]:
        first = [device.device for device in rollout.devices if device.stage == 0]
        later = [device.device for device in rollout.devices if device.stage > 0]
        return first[:MOST_TREATED], later[:MOST_CONTROL]

    def _pasts(
        self, devices: Sequence[DeviceId], spec: RolloutSpec, now: datetime
    ) -> Sequence[Past]:
        end = int(now.timestamp())
        span = Span(end - int(RECENT.total_seconds()), end + 1)
        readings = self.store.telemetry.readings
        return [past(readings.device_windows(each, span), spec.slot) for each in devices]


def _view(each: Planned) -> PlannedView:
    at = each.prospect
    return PlannedView(
        at.device, at.site, each.stage, each.variants, each.why, each.fails, each.load
    )


def _left_out(each: Prospect, spec: RolloutSpec) -> str:
    if each.standing != Standing.ACTIVE:
        return f"is {each.standing}"
    if each.assigned == str(spec.release):
        return "serves it already"
    return "is not in the rollout"


def _waits(each: Prospect) -> str:
    return f"rollout {each.busy} is changing the slot there" if each.busy else ""

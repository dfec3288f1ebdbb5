"""Watches every input of every model on every device for drift, and says what it points at.

What devices sent since the last look is one window; the reference is the producer's, from the
signed bundle. The detectors live in memory: after a restart a drift is found again in minutes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol, overload

from sealane.bundle.deployment import parse_deployment
from sealane.bundle.manifest import DEPLOYMENT_PATH, layer_at, parse_manifest
from sealane.errors import SealaneError
from sealane.limits import DEPLOYMENT_BYTES, MANIFEST_BYTES
from sealane.names import DeviceId
from sealane.telemetry.bins import Bins

from sealane_manager.alerts.types import Drifted
from sealane_manager.drift.baselines import (
    PAST_DAYS,
    Cause,
    Dated,
    cause,
    differences,
    own_past,
    reference_bins,
)
from sealane_manager.drift.detector import (
    DAY_SECONDS,
    Baseline,
    Policy,
    Watch,
    observe,
    run_length,
)
from sealane_manager.store.telemetry.records import CohortFilter, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping
    from datetime import datetime

    from sealane.bundle.types import ReferenceBins

    from sealane_manager.blobs import BlobStore
    from sealane_manager.repository import Repository
    from sealane_manager.store.telemetry import Telemetry

EVERY: Final = timedelta(minutes=1)
"""Between two looks: a window of the detectors."""

BUDGET_DAYS: Final = 30
"""At most one false alarm in so many days, over all inputs of a model on one device."""

RECENT_S: Final = 600
"""What an alarm is explained with: the device's last ten minutes, and its peers'."""

FORGOTTEN: Final = timedelta(days=7)
"""A detector that got nothing for so long is forgotten."""

Stream = tuple[str, str, str, str]
"""Device, release, slot, input."""


Place = tuple[str, str, str]
"""Device, release, slot."""


class References(Protocol):
    """What the producers of releases said of their inputs."""

    def of(self, release: str) -> Mapping[str, Bins]:
        """The reference of each input; empty when there is none."""
        ...


class Scales(References, Protocol):
    """References with what their bins mean."""

    def edges(self, release: str) -> Mapping[str, tuple[float, ...]]:
        """The edges between the bins of each input; empty when there is no reference."""
        ...


class BundleReferences:
    """Reads references from bundles, once each."""

    def __init__(self, repository: Repository, blobs: BlobStore) -> None:
        self._repository, self._blobs = repository, blobs
        self._known: dict[str, tuple[ReferenceBins, ...]] = {}

    def of(self, release: str) -> Mapping[str, Bins]:
        """The reference of each input; empty when there is none, or the bundle is not here."""
        return {each.input: reference_bins(each) for each in self._found(release)}

    def edges(self, release: str) -> Mapping[str, tuple[float, ...]]:
        """The edges between the bins of each input; empty when there is no reference."""
        return {each.input: each.edges for each in self._found(release)}

    def _found(self, release: str) -> tuple[ReferenceBins, ...]:
        if release not in self._known:
            try:
                self._known[release] = self._read(release)
            except SealaneError:
                return ()
        return self._known[release]

    def _read(self, release: str) -> tuple[ReferenceBins, ...]:
        listed = {str(each.name): each.manifest for each in self._repository.releases()}
        if release not in listed:
            return ()
        manifest = parse_manifest(self._blobs.content(listed[release], MANIFEST_BYTES))
        layer = layer_at(manifest, DEPLOYMENT_PATH)
        deployment = parse_deployment(self._blobs.content(layer.digest, DEPLOYMENT_BYTES))
        return deployment.reference


@dataclass(frozen=True, slots=True)
class _Judge:
    baseline: Baseline
    policy: Policy


@dataclass(frozen=True, slots=True)
class _Followed:
    watch: Watch
    fed: datetime
    drifted: Drifted | None = None


@dataclass(frozen=True, slots=True)
class Detector:
    """How one detector stands.

    Attributes:
        distance: JS distance of its last window from the reference.
        evidence: how much of the way to an alarm is gone, from 0 to 1.
        judged: windows that it has seen since it began.
        cause: what the alarm points at; empty without one.
    """

    device: str
    release: str
    slot: str
    input: str
    distance: float
    evidence: float
    judged: int
    alarm: bool
    cause: str


class Detectors(Sequence[Detector]):
    """A list that works out how a detector stands when it is asked for: there are many."""

    def __init__(
        self,
        chosen: list[tuple[Stream, _Followed]],
        stands: Callable[[Stream, _Followed], Detector],
    ) -> None:
        self._chosen, self._stands = chosen, stands

    @overload
    def __getitem__(self, at: int) -> Detector: ...

    @overload
    def __getitem__(self, at: slice) -> Detectors: ...

    def __getitem__(self, at: int | slice) -> Detector | Detectors:
        """One of them, or some."""
        if isinstance(at, slice):
            return Detectors(self._chosen[at], self._stands)
        return self._stands(*self._chosen[at])

    def __len__(self) -> int:
        """How many there are."""
        return len(self._chosen)


def _worst_first(each: tuple[Stream, _Followed]) -> tuple[bool, float, Stream]:
    stream, followed = each
    distances = followed.watch.distances
    return not followed.watch.alarm, -distances[-1] if distances else 0.0, stream


class Drifting:
    """Detectors of all inputs; `look` blocks and is called by one thread, `found` by any."""

    def __init__(self, telemetry: Telemetry, references: References) -> None:
        self._telemetry, self._references = telemetry, references
        self._followed: dict[Stream, _Followed] = {}
        self._judges: dict[tuple[str, str], _Judge] = {}
        self._found: tuple[Drifted, ...] = ()
        self._alarms: frozenset[Place] = frozenset()

    def alarms(self) -> frozenset[Place]:
        """Where an input drifts."""
        return self._alarms

    def found(self) -> tuple[Drifted, ...]:
        """The inputs whose detectors give an alarm."""
        return self._found

    def detectors(
        self, release: str = "", device: str = "", those: Container[str] | None = None
    ) -> Detectors:
        """Those of one release or device where one is named: alarms first, then the farthest.

        When `those` are given, of these devices alone.
        """
        chosen = [
            (stream, each)
            for stream, each in list(self._followed.items())
            if release in {"", stream[1]}
            and device in {"", stream[0]}
            and (those is None or stream[0] in those)
        ]
        chosen.sort(key=_worst_first)
        return Detectors(chosen, self._detector)

    def _detector(self, stream: Stream, followed: _Followed) -> Detector:
        watch, policy = followed.watch, self._judges[stream[1], stream[3]].policy
        way = watch.log_evidence / math.log(policy.run_length) if watch.evidence else 0.0
        return Detector(
            *stream,
            distance=watch.distances[-1] if watch.distances else 0.0,
            evidence=min(1.0, max(0.0, way)),
            judged=watch.judged,
            alarm=watch.alarm,
            cause=followed.drifted.cause if followed.drifted else "",
        )

    def look(self, now: datetime) -> None:
        """Judge what came since the last look."""
        for (device, release, slot), inputs in self._telemetry.take_fresh().items():
            references = self._references.of(release)
            policy = Policy(run_length(BUDGET_DAYS, EVERY.seconds, max(1, len(references))))
            for name, bins in inputs.items():
                if name in references:
                    judge = self._judge(release, name, references[name], policy)
                    self._follow((device, release, slot, name), bins, judge, now)
        self._forget(now)
        self._found = tuple(each.drifted for each in self._followed.values() if each.drifted)
        self._alarms = frozenset(
            stream[:3] for stream, each in self._followed.items() if each.drifted
        )

    def _follow(self, stream: Stream, bins: Bins, judge: _Judge, now: datetime) -> None:
        known = self._followed.get(stream, _Followed(Watch(), now))
        watch = observe(known.watch, bins, judge.baseline, judge.policy)
        drifted = None
        if watch.alarm:
            drifted = known.drifted
            if drifted is None or drifted.cause == Cause.NONE:  # too little of it was recent
                drifted = self._explained(stream, judge, now)
            drifted = replace(drifted, distance=watch.distances[-1])
        self._followed[stream] = _Followed(watch, now, drifted)

    def _judge(self, release: str, name: str, bins: Bins, policy: Policy) -> _Judge:
        key = (release, name)
        if key not in self._judges:
            self._judges[key] = _Judge(Baseline.of(bins, policy), policy)
        return self._judges[key]

    def _explained(self, stream: Stream, judge: _Judge, now: datetime) -> Drifted:
        """The alarm, with what the three baselines point at."""
        device, release, slot, name = stream
        moment = int(now.timestamp())
        wanted = CohortFilter(release=release, slot=slot)
        recent = self._telemetry.readings.inputs(
            DeviceId(device), wanted, Span.last(RECENT_S, moment)
        )
        counts = next((each for each in recent if each.name == name), None)
        mine, peers = (counts.device, counts.peers) if counts else (Bins(), Bins())
        found = differences(mine, judge.baseline.bins, self._past(stream, moment), peers)
        why = str(cause(found, judge.policy.floor))
        return Drifted(device, "", release, name, found.reference.js, why)

    def _past(self, stream: Stream, moment: int) -> Bins:
        device, release, slot, name = stream
        span = Span(moment - (PAST_DAYS + 1) * DAY_SECONDS, moment)
        windows = self._telemetry.readings.device_windows(DeviceId(device), span)
        return own_past(
            (
                Dated(window.start, model.inputs[name])
                for window in windows
                for model in window.models
                if (model.release, model.slot) == (release, slot) and name in model.inputs
            ),
            moment,
        )

    def _forget(self, now: datetime) -> None:
        old = [key for key, each in self._followed.items() if now - each.fed > FORGOTTEN]
        for key in old:
            del self._followed[key]

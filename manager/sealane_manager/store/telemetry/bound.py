"""Telemetry for somebody who is bound to sites: of their devices and their cohorts alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sealane_manager.store.telemetry.queries import Readings
from sealane_manager.store.telemetry.records import CohortFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sealane.names import DeviceId
    from sealane.telemetry.types import ModelWindow, Window

    from sealane_manager.selector import Sites
    from sealane_manager.store.telemetry.pages import Kept
    from sealane_manager.store.telemetry.queries import Part
    from sealane_manager.store.telemetry.records import Bucket, Cohort, Latest, Span

    Those = Callable[[Iterable[str] | None], frozenset[str]]
    """Which of these devices, or of all, are seen."""


class BoundReadings(Readings):
    """The same file; a device elsewhere is one that never said anything."""

    def __init__(self, whole: Readings, sites: Sites, those: Those) -> None:
        self._path, self._idle = whole._path, whole._idle  # noqa: SLF001 - the same connections
        self._sites, self._those = sites, those

    def cohorts(self, since: int, wanted: CohortFilter | None = None) -> tuple[Cohort, ...]:
        """What did anything at these sites since then, whichever of them it was."""
        return super().cohorts(since, self._bound(wanted or CohortFilter()))

    def series(self, wanted: CohortFilter, span: Span) -> tuple[Bucket, ...]:
        """What the cohorts of these sites did together."""
        return super().series(self._bound(wanted), span)

    def by_arm(self, wanted: CohortFilter, span: Span) -> Mapping[Part, tuple[Bucket, ...]]:
        """What each release answered in each arm at these sites."""
        return super().by_arm(self._bound(wanted), span)

    def cohort(self, wanted: CohortFilter, span: Span) -> ModelWindow | None:
        """Everything that the cohorts of these sites counted."""
        return super().cohort(self._bound(wanted), span)

    def latest(self, devices: Iterable[str] | None = None) -> Mapping[DeviceId, Latest]:
        """The newest window of each of these devices that is seen."""
        return super().latest(self._those(devices))

    def device_pages(self, span: Span, devices: Iterable[str] | None) -> Iterator[Sequence[Kept]]:
        """Stored windows of those of these devices that are seen."""
        return super().device_pages(span, self._those(devices))

    def cohort_pages(self, span: Span) -> Iterator[Sequence[Kept]]:
        """Stored windows of the cohorts of these sites."""
        for page in super().cohort_pages(span):
            yield [kept for kept in page if kept.site in self._sites]

    def _of_device(
        self, device: DeviceId, span: Span, read: Callable[[bytes], Iterable[Window]]
    ) -> Iterator[Window]:
        if self._those([device]):
            yield from super()._of_device(device, span, read)

    def _bound(self, wanted: CohortFilter) -> CohortFilter:
        return replace(wanted, within=self._sites)

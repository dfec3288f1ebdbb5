"""Limits what a reader of the store answers to what lies at some sites: here alone, for all doors.

Who is bound to sites gets a reader that is; what lies elsewhere is to it as if it were not there.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Self

from sqlmodel import col, select

from sealane_manager.selector import SITE
from sealane_manager.store.tables.devices import DeviceRow, LabelRow
from sealane_manager.store.tables.rollouts import RolloutDeviceRow

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Mapped
    from sqlmodel import Session
    from sqlmodel.sql.expression import SelectOfScalar

    from sealane_manager.selector import Sites

    Column = ColumnElement[str] | Mapped[str]


class Sight:
    """A reader of the store; it sees everything, or what lies at its sites."""

    bounds: Sites = frozenset()

    def bound_to(self, sites: Sites) -> Self:
        """The same reader for somebody who sees these sites alone; none means everything."""
        if not sites:
            return self
        bound = copy(self)
        bound.bounds = sites
        return bound

    def _sees(self, site: str) -> bool:
        """Whether what is of a site is seen."""
        return not self.bounds or site in self.bounds

    def _within(self, device: Column) -> list[ColumnElement[bool]]:
        """The condition that a device is seen; none when all are."""
        return [device.in_(self._here())] if self.bounds else []

    def _at(self, site: Column) -> list[ColumnElement[bool]]:
        """The condition that something of a site is seen; none when all is."""
        return [site.in_(sorted(self.bounds))] if self.bounds else []

    def _shared(self, rollout: Column) -> list[ColumnElement[bool]]:
        """The condition that a rollout has a device that is seen; none when all are."""
        device = col(RolloutDeviceRow.device)
        shared = select(RolloutDeviceRow.rollout).where(*self._within(device))
        return [rollout.in_(shared)] if self.bounds else []

    def _elsewhere(self, session: Session) -> frozenset[str]:
        """The devices that are not seen."""
        if not self.bounds:
            return frozenset()
        name = col(DeviceRow.id)
        return frozenset(session.exec(select(name).where(name.not_in(self._here()))))

    def _here(self) -> SelectOfScalar[str]:
        return select(LabelRow.device).where(
            LabelRow.key == SITE, col(LabelRow.value).in_(sorted(self.bounds))
        )

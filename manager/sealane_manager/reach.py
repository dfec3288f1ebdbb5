"""Says at which sites lies what somebody wants to change: a role must hold at all of them.

Of what is not there, or lies elsewhere, it says that it is not known. Every method blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.names import parse_device

from sealane_manager import selector
from sealane_manager.rollout.terms import OnConflict
from sealane_manager.store.summaries import Page

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealane_manager.people.access import Act, Who
    from sealane_manager.rollout.controller import Controller
    from sealane_manager.rollout.types import RolloutSpec
    from sealane_manager.selector import Sites
    from sealane_manager.store.store import Store

LIVE_ROLLOUTS: Final = 1000
"""Rollouts that are looked at for what a new one takes over."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Looks things up; None means that something is about the whole fleet."""

    store: Store
    controller: Controller

    def device(self, name: str) -> Sites:
        """Where a device stands; raises InvalidName or NotKnown."""
        record = self.store.devices.get(parse_device(name))
        return frozenset({record.labels.get(selector.SITE, "")})

    def rollout(self, name: str) -> Sites | None:
        """Where a rollout's devices stand; raises NotKnown."""
        self.store.progress.rollout(name)
        return self.store.overview.sites_of_rollout(name) or None

    def selected(self, text: str) -> Sites | None:
        """Where the devices stand that a selector means, now and later.

        Raises InvalidName, and NotKnown when it names a device that is not there.
        """
        chosen = selector.parse(text)
        if sites := selector.values_of(chosen, selector.SITE):
            return sites
        named = selector.values_of(chosen, selector.DEVICE)
        return _union(map(self.device, named)) if named else None

    def spec(self, spec: RolloutSpec) -> Sites | None:
        """Where a rollout would change something; raises what starting it raises."""
        planned = self.controller.preview(spec, "r-00000000")
        sites = self.store.overview.sites_of(each.device for each in planned.devices)
        if spec.terms.joins:
            later = self.selected(spec.selector)
            if later is None:
                return None
            sites |= later
        return sites | self._taken_over(spec, sites)

    def wish(self, spec: RolloutSpec, name: str) -> Sites | None:
        """The same for a file, which takes over from the last rollout of its name."""
        sites, last = self.spec(spec), self.store.rollouts.named(name)
        if sites is None or last is None or last.ended_at:
            return sites
        return sites | self.store.overview.sites_of_rollout(last.id)

    def _taken_over(self, spec: RolloutSpec, sites: Sites) -> Sites:
        """Where the rollouts reach that it would end."""
        if spec.terms.on_conflict is not OnConflict.SUPERSEDE:
            return frozenset()
        live = self.store.progress.rollouts(Page(size=LIVE_ROLLOUTS), live=True)
        reached = [
            self.store.overview.sites_of_rollout(each.id) for each in live if each.slot == spec.slot
        ]
        return _union(each for each in reached if each & sites)

    def hold(self, name: str) -> Sites | None:
        """Whom a hold concerns; raises NotKnown."""
        return self.selected(self.store.holds.get(name).selector)

    def schedule(self, name: str) -> Sites | None:
        """Whom a schedule concerns; nobody when there is none of the name."""
        found = [each for each in self.store.schedules.list() if each.name == name]
        return self.selected(found[0].selector) if found else frozenset()

    def alert(self, rule: str, subject: str) -> Sites:
        """Where an alert comes from; raises NotKnown."""
        return frozenset({self.store.alerts.get(rule, subject).finding.site})

    def silence(self, name: str) -> Sites:
        """Where it is quiet; raises NotKnown."""
        return frozenset({self.store.alerts.get_silence(name).site})

    def sample(self, name: str) -> Sites:
        """Where a sample comes from; raises NotKnown."""
        return self.device(self.store.samples.get(name).device)


def check_reach(who: Who, act: Act, sites: Sites | None) -> None:
    """Raise NotAllowed unless the role is enough and holds at all of these sites."""
    if sites is None:
        who.check_everywhere(act)
    else:
        who.check_at(act, sites)


def _union(found: Iterable[Sites]) -> Sites:
    return frozenset().union(*found)

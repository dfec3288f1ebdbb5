"""Rollouts: the list, one of them live, and a new one with its plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.errors import SealaneError

from sealane_manager.dashboard import plan, query, terms
from sealane_manager.dashboard.calendar_lines import calendar_lines
from sealane_manager.dashboard.front import go
from sealane_manager.dashboard.gate_table import GateTable, gate_table, last_judgement
from sealane_manager.dashboard.live import Topic
from sealane_manager.dashboard.pages.charts import Charting
from sealane_manager.dashboard.pages.operating import OperatingPages
from sealane_manager.dashboard.terms import CONFLICTS, told
from sealane_manager.people.access import Act
from sealane_manager.reach import check_reach
from sealane_manager.rollout.controller import new_id
from sealane_manager.rollout.types import LIVE, LOST, Operation, RolloutState
from sealane_manager.store.summaries import AuditFilter, Page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from sealane_manager.dashboard.front import Form, Front, Visit
    from sealane_manager.rollout.types import RolloutSpec
    from sealane_manager.store.summaries import (
        AuditLine,
        Cell,
        RolloutDeviceLine,
        RolloutLine,
        Trouble,
    )

CELLS: Final = 1500
"""Devices drawn in the grid; of a larger rollout those of the stage that runs."""

STANDING: Final = 1000
"""Rollouts that are not over, of which the calendars are told."""

DEVICES: Final = 25
TROUBLES: Final = 10
DECISIONS: Final = 25


@dataclass(frozen=True, slots=True)
class StageStep:
    """One stage of a rollout as a step: `text` as the plan writes it, devices counted by state."""

    number: int
    text: str
    state: str
    counts: Mapping[str, int]

    @property
    def total(self) -> int:
        """Devices that join in this stage."""
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        """Those that proved that they serve."""
        return self.counts.get("serving", 0)


@dataclass(frozen=True, slots=True)
class RolloutPicture:
    """Everything on the page of one rollout."""

    line: RolloutLine
    steps: tuple[StageStep, ...]
    cells: tuple[Cell, ...]
    gate: GateTable | None
    troubles: tuple[Trouble, ...]
    devices: tuple[RolloutDeviceLine, ...]
    decisions: tuple[AuditLine, ...]
    started_by: str
    operations: tuple[Operation, ...]
    terms: tuple[tuple[str, str], ...]

    @property
    def previous(self) -> str:
        """What served before, on the first devices."""
        found = {device.previous for device in self.devices}
        return found.pop() if len(found) == 1 else ""


class RolloutPages:
    """Rollouts."""

    def __init__(self, front: Front) -> None:
        self._front, self._offices = front, front.offices
        self._charting = Charting()
        self._operating = OperatingPages(front)

    def add_to(self, app: FastAPI) -> None:
        """Answer under these addresses."""
        app.add_route("/rollouts", self.table, ["GET"])
        app.add_route("/rollouts/calendars", self.calendars, ["GET"])
        app.add_route("/rollouts/new", self.plan, ["GET"])
        app.add_route("/rollouts/new", self._front.posting(Act.START, self.start), ["POST"])
        app.add_route("/rollouts/{rollout}", self.show, ["GET"])
        app.add_route("/rollouts/{rollout}/devices", self.devices, ["GET"])
        self._operating.add_to(app)

    def table(self, request: Request) -> Response:
        """The list."""
        visit = self._front.visit(request)
        page, progress = query.page(visit.asked), visit.offices.store.progress
        found, total = progress.rollouts(page), progress.count()
        return self._front.page(visit, "rollouts.html", found=found, page=page, total=total)

    def calendars(self, request: Request) -> Response:
        """When rollouts give places, and which of them keep to that."""
        visit = self._front.visit(request)
        offices = visit.offices
        standing = offices.store.progress.standing(STANDING)
        now = self._offices.clock.now()
        found = calendar_lines(offices.members.calendars(), standing, now)
        return self._front.page(visit, "calendars.html", found=found)

    def show(self, request: Request) -> Response:
        """One rollout."""
        visit = self._front.visit(request)
        seen = self.picture(visit.path("rollout"), visit)
        charts = self._charting.rollout(visit, seen.line)
        return self._front.page(visit, "rollout.html", seen=seen, charts=charts)

    def picture(self, rollout: str, visit: Visit) -> RolloutPicture:
        """Look at one rollout; raises NotKnown."""
        store, who = visit.offices.store, visit.who
        line = store.progress.rollout(rollout)
        large = line.total > CELLS
        decisions = store.audit.lines(AuditFilter(rollout=rollout, size=DECISIONS))
        return RolloutPicture(
            line=line,
            steps=_steps(line, store.progress.stages(rollout)),
            cells=store.progress.cells(rollout, CELLS, line.stage if large else None),
            gate=self._gate(line) if self._operating.reaches(line, who) else None,
            troubles=store.progress.troubles(rollout, TROUBLES),
            devices=store.progress.devices(rollout, Page(size=DEVICES)),
            decisions=decisions,
            started_by=store.audit.who_started(rollout),
            operations=self._operating.possible(line, who),
            terms=told(line.spec.terms),
        )

    def topic(self, rollout: str, visit: Visit) -> Topic[RolloutPicture]:
        """The picture of one rollout for a role; raises NotKnown."""
        visit.offices.store.progress.rollout(rollout)
        return Topic(
            key=("rollout", rollout, visit.who.role, *sorted(visit.who.sites)),
            look=lambda: self.picture(rollout, visit),
            render=lambda seen: self._front.render("live/rollout.html", seen=seen),
        )

    def _gate(self, line: RolloutLine) -> GateTable | None:
        if line.state not in LIVE:
            said = self._offices.store.judgements.last(line.id)
            return last_judgement(said.verdict, said.reason, said.inputs) if said else None
        found = self._offices.controller.get(line.id)
        return gate_table(found, self._offices.clock.now())

    def devices(self, request: Request) -> Response:
        """All devices of one rollout, in the order of their turn."""
        visit = self._front.visit(request)
        progress, page = visit.offices.store.progress, query.page(visit.asked)
        line = progress.rollout(visit.path("rollout"))
        state = query.value(visit.asked, "state")
        found = progress.devices(line.id, page, (state,) if state else ())
        total = line.devices.get(state, 0) if state else line.total
        content = {"line": line, "found": found, "page": page, "total": total, "state": state}
        content["lost"] = LOST if self._operating.may_write_off(line, visit.who) else ()
        return self._front.page(visit, "rollout_devices.html", **content)

    def plan(self, request: Request) -> Response:
        """The form of a new rollout, with the plan when it was asked for."""
        visit = self._front.visit(request, Act.START)
        fields = _fields(visit.asked)
        content = (
            _nothing() if not query.value(visit.asked, "preview") else self._preview(fields, visit)
        )
        releases = self._offices.publishing.releases()
        slots = sorted({slot for release in releases for slot in release.slots})
        return self._front.page(
            visit,
            "plan.html",
            fields=fields,
            releases=releases,
            slots=slots,
            conflicts=CONFLICTS,
            agreed=any(fields[name] != usual for name, usual in terms.DEFAULTS.items()),
            **content,
        )

    def _preview(self, fields: Mapping[str, str], visit: Visit) -> dict[str, object]:
        try:
            spec = plan.spec_of(fields)
            _check(visit, spec)
            made = self._offices.controller.preview(spec, new_id())
        except SealaneError as error:
            return _nothing() | {"error": error}
        stages = plan.stages_of(made)
        return _nothing() | {"stages": stages, "rollout": made.id, "total": len(made.devices)}

    def start(self, form: Form) -> Response:
        """Start the rollout that was previewed."""
        spec = plan.spec_of(_fields(form.fields))
        rollout = plan.parse_id(form.text("rollout"))
        _check(form.visit, spec)
        self._offices.rollouts.create(spec, form.visit.who.name, form.reason(), rollout)
        return go(f"/rollouts/{rollout}")


def _check(visit: Visit, spec: RolloutSpec) -> None:
    """Raise NotAllowed unless the role holds wherever this would change something."""
    if visit.who.sites:
        check_reach(visit.who, Act.START, visit.offices.reach.spec(spec))


def _nothing() -> dict[str, object]:
    """What a plan shows before it was asked for."""
    return {"stages": (), "error": None, "rollout": "", "total": 0}


def _fields(given: Mapping[str, str]) -> dict[str, str]:
    return {
        name: query.value(given, name, query.SELECTOR_CHARS) or usual
        for name, usual in plan.DEFAULTS.items()
    }


def _steps(line: RolloutLine, counts: Mapping[int, Mapping[str, int]]) -> tuple[StageStep, ...]:
    return tuple(
        StageStep(index + 1, text, _stage_state(line, index), counts.get(index, {}))
        for index, text in enumerate(line.stages)
    )


def _stage_state(line: RolloutLine, index: int) -> str:
    """A stage in a word: passed, waiting, not reached, or where the rollout stands in it."""
    if index < line.stage or line.state == RolloutState.SUCCEEDED:
        return "passed"
    if index > line.stage:
        return "not reached" if line.ended_at else "waiting"
    return line.phase if line.state == RolloutState.RUNNING else line.state

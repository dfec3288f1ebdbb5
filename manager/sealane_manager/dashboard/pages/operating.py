"""What operators do with a rollout: each operation is explained, confirmed with a reason, done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane_manager.dashboard.front import go
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.people.access import OPERATIONS, Act
from sealane_manager.reach import check_reach
from sealane_manager.rollout.operate import Word, possible
from sealane_manager.rollout.types import Operation, RolloutState

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from sealane_manager.dashboard.front import Form, Front, Visit
    from sealane_manager.people.access import Who
    from sealane_manager.store.summaries import RolloutLine

TYPED: Final = frozenset({Operation.ABORT, Operation.REVERT})
"""Operations for which the rollout's id must be typed."""

_GOING: Final = frozenset({RolloutState.RUNNING, RolloutState.PAUSED})


class OperatingPages:
    """Operations on a whole rollout, and the writing off of one device."""

    def __init__(self, front: Front) -> None:
        self._front, self._offices = front, front.offices

    def add_to(self, app: FastAPI) -> None:
        """Answer under these addresses."""
        whole, device = "/rollouts/{rollout}/{operation}", "/rollouts/{rollout}/devices/{device}"
        app.add_route(whole, self.ask, ["GET"])
        app.add_route(whole, self._front.posting(Act.LOOK, self.act), ["POST"])
        app.add_route(device, self.ask_write_off, ["GET"])
        app.add_route(device, self._front.posting(Act.STEER, self.write_off), ["POST"])

    def possible(self, line: RolloutLine, who: Who) -> tuple[Operation, ...]:
        """What somebody may do with a rollout as it stands."""
        found = possible(RolloutState(line.state))
        if found and not self.reaches(line, who):
            return ()
        agreed = {line.author, *(approval.actor for approval in line.approvals)}
        return tuple(
            each
            for each in found
            if who.may(OPERATIONS[each]) and not (each is Operation.APPROVE and who.name in agreed)
        )

    def may_write_off(self, line: RolloutLine, who: Who) -> bool:
        """Whether somebody may write off devices of a rollout as it stands."""
        going = line.state in _GOING
        return going and who.may(OPERATIONS[Operation.WRITE_OFF]) and self.reaches(line, who)

    def ask(self, request: Request) -> Response:
        """Say what an operation does, and ask for a reason."""
        visit = self._front.visit(request)
        operation = _operation(visit)
        visit.who.check(OPERATIONS[operation])
        line = visit.offices.store.progress.rollout(visit.path("rollout"))
        content = {"line": line, "operation": operation, "typed": operation in TYPED}
        return self._front.page(visit, "operate.html", **content)

    def act(self, form: Form) -> Response:
        """Do what an operator asks."""
        operation, rollout = _operation(form.visit), form.visit.path("rollout")
        form.visit.who.check(OPERATIONS[operation])
        if operation in TYPED and form.text("name") != rollout:
            raise Refused(f"the id that was typed is not {rollout}", hint="type it as it is")
        return self._do(form, Word(operation, form.reason(), form.visit.who.name))

    def ask_write_off(self, request: Request) -> Response:
        """Say what it means to write a device off, and ask for a reason."""
        visit = self._front.visit(request, OPERATIONS[Operation.WRITE_OFF])
        line = visit.offices.store.progress.rollout(visit.path("rollout"))
        return self._front.page(visit, "write_off.html", line=line, device=visit.path("device"))

    def write_off(self, form: Form) -> Response:
        """Accept the loss of one device."""
        named = form.visit.path("device")
        return self._do(form, Word(Operation.WRITE_OFF, form.reason(), form.visit.who.name, named))

    def _do(self, form: Form, word: Word) -> Response:
        """Raises NotAllowed when the rollout reaches a site where the role does not hold."""
        rollout, who = form.visit.path("rollout"), form.visit.who
        check_reach(who, OPERATIONS[word.operation], form.visit.offices.reach.rollout(rollout))
        self._offices.rollouts.operate(rollout, word)
        return go(f"/rollouts/{rollout}")

    def reaches(self, line: RolloutLine, who: Who) -> bool:
        """Whether the role holds at every site of the rollout."""
        return (
            not who.sites or not self._offices.store.overview.sites_of_rollout(line.id) - who.sites
        )


def _operation(visit: Visit) -> Operation:
    try:
        operation = Operation(visit.path("operation"))
    except ValueError as error:
        raise NotKnown("there is no such page") from error
    if operation is Operation.WRITE_OFF:
        raise NotKnown("there is no such page", hint="open the rollout's devices")
    return operation

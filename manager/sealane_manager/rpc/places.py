"""Says of each method of the operators' port what it needs, and where: the role must hold there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sealane_manager.errors import NotAllowed
from sealane_manager.hold_order import meant
from sealane_manager.people.access import OPERATIONS, Act
from sealane_manager.people.methods import METHODS
from sealane_manager.reach import Reach, check_reach
from sealane_manager.rpc import convert
from sealane_manager.selector import SITE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sealane_manager.people.access import Who
    from sealane_manager.rollout.controller import Controller
    from sealane_manager.selector import Sites
    from sealane_manager.store.store import Store

_STEERS: Final = "OperatorService/ControlRollout"


@dataclass(frozen=True, slots=True)
class Places:
    """Judges calls; blocks on the store."""

    store: Store
    controller: Controller

    def check(self, who: Who, method: str, request: Any) -> None:
        """Raise NotAllowed unless the caller's role is enough and holds where it must.

        Raises NotKnown or InvalidName when that cannot be said; `request` is None of an upload.
        """
        act = act_of(method, request)
        who.check(act)
        if not who.sites or act is Act.LOOK:
            return
        find = WHERE.get(method, _fleet)
        reach = Reach(self.store.seen(who.sites), self.controller)
        check_reach(who, act, find(reach, request))


def act_of(method: str, request: Any) -> Act:
    """What a call is; raises NotAllowed of a method that is not listed."""
    act = METHODS.get(method)
    if act is None:
        raise NotAllowed(f"nobody may call {method[:80]}", hint="use the manager's own version")
    if method == _STEERS:
        return OPERATIONS[convert.operation_from_wire(request)]
    return act


def _fleet(_reach: Reach, _request: Any) -> None:
    """It is about the whole fleet."""


def _devices(reach: Reach, request: Any) -> Sites | None:
    if request.devices:
        return frozenset().union(*map(reach.device, request.devices))
    return reach.selected(request.selector)


def _schedule(reach: Reach, request: Any) -> Sites | None:
    """What it shall concern, and what the one of its name does."""
    after, before = reach.selected(request.schedule.selector), reach.schedule(request.schedule.name)
    return None if after is None or before is None else after | before


def _label(reach: Reach, request: Any) -> Sites:
    """Where the device stands, and where it shall: nobody gives one away or takes one."""
    here = reach.device(request.device)
    if SITE in request.set:
        return here | {request.set[SITE]}
    return here | {""} if SITE in request.remove else here


WHERE: Final[Mapping[str, Callable[[Reach, Any], Sites | None]]] = {
    "OperatorService/CreateJoinToken": lambda _, asked: frozenset({asked.labels.get(SITE, "")}),
    "OperatorService/LabelDevice": _label,
    "OperatorService/RevokeDevice": lambda reach, asked: reach.device(asked.device),
    "OperatorService/ApproveDevice": lambda reach, asked: reach.device(asked.device),
    "OperatorService/CreateRollout": lambda reach, asked: reach.spec(convert.spec_from_wire(asked)),
    "OperatorService/ApplyRollout": lambda reach, asked: reach.wish(
        convert.spec_from_wire(asked.asked), asked.name
    ),
    "OperatorService/ControlRollout": lambda reach, asked: reach.rollout(asked.id),
    "OperatorService/PutSchedule": _schedule,
    "OperatorService/RemoveSchedule": lambda reach, asked: reach.schedule(asked.name),
    "OperatorService/GetJudgements": lambda reach, asked: reach.rollout(asked.rollout),
    "AlertService/AcknowledgeAlert": lambda reach, asked: reach.alert(asked.rule, asked.subject),
    "AlertService/CreateSilence": lambda _, asked: frozenset({asked.site}),
    "AlertService/EndSilence": lambda reach, asked: reach.silence(asked.id),
    "KitService/ExportKit": _devices,
    "OrderService/HoldDevices": lambda reach, asked: reach.selected(meant(asked.target)),
    "OrderService/ReleaseHold": lambda reach, asked: reach.hold(asked.id),
    "OrderService/RollBackDevice": lambda reach, asked: reach.device(asked.device),
    "RolloutService/PlanRollout": lambda reach, asked: reach.wish(
        convert.spec_from_wire(asked.asked), asked.name
    ),
    "RolloutService/GetEvidence": lambda reach, asked: reach.rollout(asked.rollout),
    "SampleService/OrderSamples": lambda reach, asked: reach.selected(asked.selector),
    "SampleService/ViewSample": lambda reach, asked: reach.sample(asked.id),
    "SampleService/DeleteSample": lambda reach, asked: reach.sample(asked.id),
}
"""Where each changes or opens something; what is not here concerns the fleet, or only reads."""

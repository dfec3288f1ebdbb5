"""Every method of the operators' port is an act that needs a role; nothing is forgotten."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
import sealane.wire.v1
from sealane_manager.errors import NotAllowed
from sealane_manager.people.access import NEEDS, OPERATIONS, Act, Role, Who
from sealane_manager.people.methods import METHODS, named
from sealane_manager.rollout.types import Operation
from sealane_manager.rpc.places import WHERE, act_of
from support.callers import methods

ROOT = Path(__file__).parents[2]
OF_DEVICES = {"FleetService", "EnrolService"}
"""Services of the other two ports."""


def test_every_method_of_the_operators_port_is_an_act() -> None:
    assert set(METHODS) == set(methods())


def test_no_service_of_the_wire_contract_is_left_out() -> None:
    found = set()
    for module in iter_modules(sealane.wire.v1.__path__):
        if module.name.endswith("_pb2"):
            file = import_module(f"sealane.wire.v1.{module.name}")
            found |= set(file.DESCRIPTOR.services_by_name)
    assert found - OF_DEVICES == {name.partition("/")[0] for name in METHODS}


def test_every_act_needs_a_role_and_every_operation_is_an_act() -> None:
    assert set(NEEDS) == set(Act)
    assert set(OPERATIONS) == set(Operation)


def test_a_method_that_is_not_listed_may_be_called_by_nobody() -> None:
    with pytest.raises(NotAllowed, match="nobody may call"):
        act_of("OperatorService/Everything", None)


def test_the_security_page_has_every_act_with_its_role_and_its_methods() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    rows = [_row(role, act) for role in Role for act in Act if NEEDS[act] is role]
    assert "\n".join(rows) in page


def _row(role: Role, act: Act) -> str:
    steers = "OperatorService/ControlRollout"
    names = [name.partition("/")[2] for name, does in METHODS.items() if does is act]
    said = [f"`{name}`" for name in names if name not in steers]
    said += [f"`ControlRollout` ({each})" for each, does in OPERATIONS.items() if does is act]
    return f"| {role} | {act} | {', '.join(said) or 'none'} |"


def test_where_something_lies_is_asked_only_of_what_is_not_merely_read() -> None:
    assert set(WHERE) <= {name for name, act in METHODS.items() if act is not Act.LOOK}


def test_the_name_of_a_method_is_read_from_what_the_wire_calls_it() -> None:
    assert named("/sealane.wire.v1.OperatorService/ListDevices") == "OperatorService/ListDevices"


def test_who_is_bound_to_sites_changes_nothing_for_the_whole_fleet() -> None:
    here, everywhere = Who("bob", Role.APPROVER, frozenset({"berlin"})), Who("ada", Role.APPROVER)
    everywhere.check_everywhere(Act.LIFT)
    with pytest.raises(NotAllowed, match="concerns the whole fleet"):
        here.check_everywhere(Act.LIFT)

"""Devices get into a rollout by one statement, as decided; reads follow writes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.names import AGENT_SLOT, PACKAGE_RELEASE, DeviceId
from sealane.trust.agreement import is_package
from sealane_manager.errors import Refused
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.moves import revert
from sealane_manager.rollout.terms import OnConflict, Terms, Times
from sealane_manager.rollout.types import DeviceState, RolloutState
from sealane_manager.selector import parse
from sealane_manager.store.records import Draft
from sqlalchemy import event
from support.rollouts import NEW, SLOT, START, a_report, a_spec, all_reachable
from support.stores import ADA, NEW_SOURCE, a_store, an_event, enrol, signed, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.rollout.types import RolloutSpec
    from sealane_manager.store.store import Store

LATER = START + timedelta(minutes=5)


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as store:
        yield store


def a_draft(spec: RolloutSpec, rollout: str = "r-7") -> Draft:
    return Draft(rollout, spec, NEW_SOURCE, parse(spec.selector))


@pytest.mark.parametrize(
    "stages",
    [
        ("1",),
        ("1", "40%", "100%"),
        ("3", "3", "50%"),
        ("100%",),
        ("2", "where line=a, site=berlin", "50%", "each site"),
        ("each line", "1"),
        ("where device in (b1,p1)", "where line=none", "each nothing"),
    ],
)
@pytest.mark.parametrize("selector", ["", "site=berlin", "site!=berlin, !old"])
def test_the_statement_places_devices_as_the_decision_does(
    store: Store, stages: tuple[str, ...], selector: str
) -> None:
    enrol(store, *(f"b{number}" for number in range(7)), site="berlin")
    enrol(store, *(f"p{number}" for number in range(6)), site="paris", line="a")
    enrol(store, "b7", "b8", site="berlin", line="a")
    serves_already(store, "b3", "p2")
    wanted = a_draft(a_spec(*stages, selector=selector))
    planned = store.rollouts.preview(wanted, START)

    made = store.rollouts.create(wanted, ADA).rollout

    assert made.devices == planned.devices
    assert made.spec == planned.spec
    assert made.state == planned.state
    assert store.rollouts.get(made.id) == made


@pytest.mark.parametrize("begins", ["at once", "later"])
def test_a_device_without_any_version_of_the_agent_goes_back_to_what_its_package_brought(
    store: Store, begins: str
) -> None:
    enrol(store, "d1")
    later = Terms(times=Times(start=LATER)) if begins == "later" else Terms()
    wanted = a_draft(a_spec("100%", slot=AGENT_SLOT, terms=later))
    planned = store.rollouts.preview(wanted, START)
    assert store.rollouts.create(wanted, ADA).rollout.devices == planned.devices
    for _ in range(2):
        store.rollouts.change("r-7", lambda found: advance(all_reachable(found), LATER), ADA)
    (device,) = store.rollouts.get("r-7").devices
    assert (device.state, device.previous) == (DeviceState.LEASED, PACKAGE_RELEASE)

    store.rollouts.change("r-7", lambda found: revert(found, "the gate failed", LATER), ADA)
    (wanted_now,) = store.desired.get(DeviceId("d1"))[1]
    assert is_package(wanted_now)
    assert store.rollouts.get("r-7").devices[0].state is DeviceState.LEASED
    ran = str(PACKAGE_RELEASE)
    back = a_report("committed", slot=AGENT_SLOT, active_release=ran, attempt_release=ran)
    store.events.record(DeviceId("d1"), [an_event(1, back)], LATER)
    (device,) = store.rollouts.get("r-7").devices
    assert device.state is DeviceState.ROLLED_BACK
    assert device.detail == "serves sealane/package@1 again"


def serves_already(store: Store, *devices: str) -> None:
    """NEW is assigned to these and active on them."""
    start(store, "r-0", selector="", soak=timedelta(0))
    for device in devices:
        receipt, report = signed(device, rollout="r-0"), a_report("committed", rollout="r-0")
        store.events.record(DeviceId(device), [an_event(1, receipt), an_event(2, report)], START)
    with store._database.write() as session:
        connection = session.connection()
        for device in devices:
            connection.exec_driver_sql(
                "INSERT INTO desired (device, slot, release, manifest, length, rollout)"
                " VALUES (?, ?, ?, ?, 700, '')",
                (device, SLOT, str(NEW), NEW_SOURCE.manifest),
            )
            connection.exec_driver_sql(
                "UPDATE slot_report SET active_release = ? WHERE device = ?", (str(NEW), device)
            )
        connection.exec_driver_sql("UPDATE rollout SET state = 'aborted', ended_at = created_at")


def test_devices_are_planned_by_one_statement(store: Store) -> None:
    enrol(store, *(f"d{number}" for number in range(50)))
    written: list[str] = []

    def note(*arguments: object) -> None:
        written.append(str(arguments[2]))

    event.listen(store._database._engine, "before_cursor_execute", note)
    store.rollouts.create(a_draft(a_spec("1", "100%")), ADA)

    placing = [each for each in written if each.startswith("INSERT INTO rollout_device")]
    assert len(placing) == 1
    assert len(written) < 20


def test_a_rollout_in_the_way_is_named_with_a_device_and_how_many_more(store: Store) -> None:
    enrol(store, "d1", "d2", "d3")
    start(store, "r-1")
    with pytest.raises(Refused, match=r"r-1 is still changing slot cam on d1 and 2 more"):
        store.rollouts.create(a_draft(a_spec("1")), ADA)
    queued = a_spec("1", terms=Terms(on_conflict=OnConflict.QUEUE))
    assert store.rollouts.create(a_draft(queued), ADA).rollout.state is RolloutState.SCHEDULED


# Reading again what was read


def test_a_rollout_is_not_read_again_while_nothing_of_one_is_written(store: Store) -> None:
    enrol(store, "d1", "d2")
    start(store, "r-1")
    first = store.rollouts.get("r-1")
    reads: list[str] = []

    def note(*arguments: object) -> None:
        reads.append(str(arguments[2]))

    event.listen(store._database._engine, "before_cursor_execute", note)
    store.desired.issue(DeviceId("d1"), LATER)  # what is written most often
    reads.clear()

    assert store.rollouts.get("r-1") == first
    assert not any("FROM rollout_device" in each for each in reads)


def test_what_is_read_is_what_was_written_last(store: Store) -> None:
    enrol(store, "d1")
    start(store, "r-1")
    assert store.rollouts.get("r-1").devices[0].state is DeviceState.WAITING

    moved = store.rollouts.change("r-1", lambda found: advance(all_reachable(found), START), ADA)
    assert store.rollouts.get("r-1").devices[0].state is DeviceState.LEASED
    assert moved.rollout.devices[0].state is DeviceState.LEASED
    report = a_report("staged", rollout="r-1")
    store.events.record(DeviceId("d1"), [an_event(1, report)], LATER)

    assert store.rollouts.get("r-1").devices[0].state is DeviceState.STAGED


def test_when_a_device_was_heard_is_always_of_now(store: Store) -> None:
    enrol(store, "d1")
    start(store, "r-1")
    store.rollouts.get("r-1")
    store.devices.seen(DeviceId("d1"), LATER)
    assert store.rollouts.get("r-1").devices[0].heard_at == LATER


def test_a_transaction_that_was_given_up_changes_nothing_that_is_read(store: Store) -> None:
    enrol(store, "d1")
    start(store, "r-1")
    before = store.rollouts.get("r-1")

    def break_off(_: object) -> None:
        raise Refused("no")

    with pytest.raises(Refused):
        store.rollouts.change("r-1", break_off, ADA)  # type: ignore[arg-type]  # it never decides
    assert store.rollouts.get("r-1") == before

"""A rollout that is read in pieces is the rollout that is read whole, whatever was written."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from sealane.names import DeviceId
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.sessions import Listening, Sessions
from sealane_manager.rollout.terms import Limit, Pace, Terms
from sealane_manager.store.rollouts import Rollouts
from sealane_manager.store.tables.devices import DeviceRow
from sqlalchemy import text
from support.many import FACTS
from support.rollouts import NEW, START, a_report
from support.stores import ADA, a_store, enrol, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane_manager.rollout.types import Rollout, Step
    from sealane_manager.store.store import Store

NAMES = tuple(DeviceId(f"edge-{number}") for number in range(8))
LIMITED = Terms(Pace(limits=(Limit("site", 3),)))

Act = tuple[str, DeviceId]


def report(store: Store, device: DeviceId, number: int) -> None:
    said = a_report("fetching", rollout="r-1", attempt_release=str(NEW))
    store.devices.report(device, [said], START + timedelta(seconds=number))


def label(store: Store, device: DeviceId, number: int) -> None:
    store.devices.label(device, {"site": f"s{number}"}, (), ADA)


def revoke(store: Store, device: DeviceId, _number: int) -> None:
    store.devices.revoke(device, ADA)


def tick(store: Store, device: DeviceId, number: int) -> None:
    listening = Listening(frozenset({device, *NAMES[:4]}), START)

    def decide(found: Rollout) -> Step:
        devices = Sessions().of(found, listening)
        return advance(replace(found, devices=devices), START + timedelta(seconds=number))

    store.rollouts.change("r-1", decide, ADA)


def hear(store: Store, device: DeviceId, number: int) -> None:
    store.devices.seen(device, START + timedelta(seconds=number))


def facts(store: Store, device: DeviceId, number: int) -> None:
    arch = f"a{number}"
    with store._database.write() as session:
        row = session.get(DeviceRow, device)
        assert row
        row.facts = FACTS | {"arch": arch}
        session.add(row)


def leave(store: Store, device: DeviceId, _number: int) -> None:
    write(store, device, "DELETE FROM rollout_device WHERE device")


def write(store: Store, device: DeviceId, statement: str) -> None:
    with store._database.write() as session:
        session.connection().execute(text(f"{statement} = :device"), {"device": device})


ACTS: tuple[Callable[[Store, DeviceId, int], None], ...] = (
    *(report, label, revoke, tick, hear, facts, leave),
)


def begun(store: Store) -> None:
    enrol(store, *NAMES, site="berlin")
    start(store, terms=LIMITED)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from(NAMES)), max_size=12))
def test_read_in_pieces_is_read_whole(
    acts: list[tuple[Callable[[Store, DeviceId, int], None], DeviceId]],
) -> None:
    with a_store(begun) as store:
        for number, (act, device) in enumerate(acts):
            act(store, device, number)
            whole = Rollouts(store._database, store.devices).get("r-1")
            assert store.rollouts.get("r-1") == whole

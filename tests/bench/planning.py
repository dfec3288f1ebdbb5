"""What planning costs with many devices: one statement beside the ORM's loop, selectors, a tick.

    PYTHONPATH=tests .venv/bin/python tests/bench/planning.py [devices]

Seconds are of processor time, all in one run on the same file, so that ratios hold at any load. The
loop is what examples of SQLModel do: read each device as an object, decide, add an object. Both
write the same rows, and it is checked that they do.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from sealane.names import DeviceId
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.draft import Candidate, draft
from sealane_manager.rollouts import Rollouts as Operated
from sealane_manager.selector import parse
from sealane_manager.store.devices import chosen, conditions
from sealane_manager.store.placing import matching, place
from sealane_manager.store.records import Draft
from sealane_manager.store.rollouts import Rollouts
from sealane_manager.store.store import open_store
from sealane_manager.store.tables.devices import DeviceRow, SlotRow
from sealane_manager.store.tables.rollouts import DesiredRow, RolloutDeviceRow
from sqlalchemy import delete, func, update
from sqlmodel import col, select
from support.many import fill
from support.rollouts import OLD, START, a_spec
from support.stores import ADA, NEW_SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane_manager.rollout.types import Rollout, Step
    from sealane_manager.store.store import Store
    from sqlmodel import Session

WAVES = ("1", "5%", "25%", "90%")
SELECTORS = (
    *("site=s3", "site in (s1,s2), line!=3", "site=s3, line=3, !old"),
    *("line=3", "line!=3", "!old", "site notin (s1)", "line"),
    *("line in (0,1,2,3,4)", "line in (0,1,2,3,4), site!=s1", ""),
)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of processor time of this thread: what the clock says depends on the load."""
    began = time.thread_time()
    found = work()
    return time.thread_time() - began, found


def best(work: Callable[[], Any], times: int = 5) -> float:
    return median(timed(work)[0] for _ in range(times))


def by_objects(session: Session, made: Rollout, wanted: Draft) -> None:
    """The same rows as `place` writes, one object at a time."""
    before = {row.device: row for row in session.exec(select(DesiredRow)).all()}
    slots = {row.device: row.active_release for row in session.exec(select(SlotRow)).all()}
    found = [
        Candidate(DeviceId(device.id), OLD, slots.get(device.id, ""), "")
        for device in session.exec(select(DeviceRow).where(DeviceRow.state == "active")).all()
    ]
    for position, each in enumerate(draft(made.id, wanted.spec, found, START).devices):
        desired = before.get(each.device)
        session.add(
            RolloutDeviceRow(
                rollout=made.id,
                device=each.device,
                position=position,
                stage=each.stage,
                state=str(each.state),
                detail="",
                changed_at=START,
                previous=desired.release if desired else None,
                previous_manifest=desired.manifest if desired else None,
                previous_length=desired.length if desired else None,
            )
        )
    session.flush()


def rows_of(store: Store, rollout: str) -> list[Any]:
    query = select(RolloutDeviceRow).where(RolloutDeviceRow.rollout == rollout)
    with store._database.read() as session:
        found = session.exec(query.order_by(col(RolloutDeviceRow.position))).all()
        return [row.model_dump() for row in found]


def planned(store: Store, made: Rollout, wanted: Draft, devices: int) -> None:
    """Print what planning costs, by one statement and by the loop."""

    def by_statement(session: Session, made: Rollout, wanted: Draft) -> None:
        place(session, made, wanted, matching(session, wanted).total)

    slow, first = _written(store, made, wanted, by_objects)
    quick, second = _written(store, made, wanted, by_statement)
    if first != second or len(first) != devices:
        raise SystemExit("the two ways do not write the same rows")
    say(
        f"plan {len(made.spec.stages)} stages over {devices} devices: one statement"
        f" {quick:.2f} s, objects {slow:.2f} s: {slow / quick:.0f} times"
    )


def _written(
    store: Store, made: Rollout, wanted: Draft, way: Callable[[Session, Rollout, Draft], None]
) -> tuple[float, list[Any]]:
    mine = col(RolloutDeviceRow.rollout) == made.id
    with store._database.write() as session:
        session.execute(delete(RolloutDeviceRow).where(mine))
    with store._database.write() as session:
        took, _ = timed(lambda: way(session, made, wanted))
    return took, rows_of(store, made.id)


def selected(store: Store) -> None:
    """Print what a selector costs that means a few devices, or many.

    Counted: what a plan needs, which is placed by one statement and never read. Named: their ids in
    Python, as a hold needs them to tell each device.
    """
    for text in SELECTORS:
        meant = parse(text)
        query = select(func.count()).select_from(DeviceRow).where(*conditions(meant))

        def count(query: Any = query) -> int:
            with store._database.read() as session:
                return int(session.exec(query).one())

        def name(meant: Any = meant) -> int:
            with store._database.read() as session:
                return len(chosen(session, meant))

        assert count() == name(), text
        counted, named = best(count) * 1000, best(name) * 1000
        say(
            f"selector {text or '(empty)'!r}: counted in {counted:.1f} ms, named in {named:.1f} ms,"
            f" {count()} devices"
        )


def ticked(store: Store) -> None:
    """Print what looks at a rollout cost: the first, one after a device has moved, and none."""

    def step(found: Rollout) -> Step:
        devices = tuple(replace(each, reachable=True) for each in found.devices)
        return advance(replace(found, devices=devices), START)

    def moved() -> float:
        with store._database.write() as session:
            found = update(RolloutDeviceRow).where(col(RolloutDeviceRow.position) == 0)
            session.execute(found.values(detail=str(time.monotonic_ns())))
        return timed(lambda: store.rollouts.get("r-2"))[0]

    fresh = Rollouts(store._database, store.devices)
    first, _ = timed(lambda: fresh.get("r-2"))
    store.rollouts.get("r-2")
    after = median(moved() for _ in range(5))
    again = best(lambda: store.rollouts.get("r-2"))
    decide, _ = timed(lambda: step(store.rollouts.get("r-2")))
    say(
        f"a tick reads the rollout whole in {first:.2f} s, after one device has moved in"
        f" {after:.3f} s, and when nothing was written in {again:.3f} s"
    )
    parts = Operated(cast("Any", None), store)
    part, _ = timed(lambda: parts.part("r-2"))
    listed, _ = timed(parts.listed)
    say(f"its first part is told in {part:.3f} s, the list of rollouts in {listed:.3f} s")
    say(f"deciding on it takes {decide:.2f} s")
    wave, _ = timed(lambda: store.rollouts.change("r-2", step, ADA))
    say(f"giving the first stage its places takes {wave:.2f} s")


def main() -> None:
    """Print everything."""
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    say(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors, SQLite")
    with TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "control.db")
        fill(store, devices)
        spec = a_spec(*WAVES)
        wanted = Draft("r-1", spec, NEW_SOURCE, parse(""))
        made = store.rollouts.create(wanted, ADA).rollout
        planned(store, made, wanted, devices)
        selected(store)
        with store._database.write() as session:
            session.execute(delete(RolloutDeviceRow).where(col(RolloutDeviceRow.rollout) == "r-1"))
        again = Draft("r-2", a_spec("10%"), NEW_SOURCE, parse(""))
        whole, _ = timed(lambda: store.rollouts.create(again, ADA))
        say(f"starting a rollout of {devices} devices takes {whole:.2f} s")
        ticked(store)
        store.close()


if __name__ == "__main__":
    main()

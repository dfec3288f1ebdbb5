"""What the Merkle tree costs: writes with and without it, its bytes, and a proof. Prints.

    .venv/bin/python tests/bench/audit_cost.py [changes] [entries]

Both ways of writing run in turns on the same disk, so that their ratio holds whatever the load.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sealane_manager.store.database import Database
from sealane_manager.store.decisions import log
from sealane_manager.store.history import History
from sealane_manager.store.records import DecisionRecord
from sealane_manager.store.tables.decisions import DecisionRow
from support.rollouts import START

if TYPE_CHECKING:
    from collections.abc import Callable

DETAIL = "edge-1, edge-2, edge-3, edge-4, edge-5 and 12 more"


def line(number: int) -> DecisionRecord:
    return DecisionRecord(START, f"r-{number % 50}", "controller", "grant", f"{DETAIL} {number}")


def with_tree(database: Database, number: int) -> None:
    with database.write() as session:
        log(session, line(number))


def without_tree(database: Database, number: int) -> None:
    """The same row, in the same kind of transaction, and nothing else."""
    made = line(number)
    with database.write() as session:
        session.add(
            DecisionRow(
                leaf=number,
                at=made.at,
                rollout=made.rollout,
                actor=made.actor,
                action=made.action,
                detail=made.detail,
            )
        )


def timed(work: Callable[..., object], *given: object) -> float:
    began = time.perf_counter()
    work(*given)
    return time.perf_counter() - began


def in_turns(folder: Path, changes: int) -> tuple[float, float]:
    """Median seconds of one change without and with the tree."""
    bare, grown = Database(folder / "bare.db"), Database(folder / "grown.db")
    plain: list[float] = []
    treed: list[float] = []
    for number in range(changes):
        plain.append(timed(without_tree, bare, number))
        treed.append(timed(with_tree, grown, number))
    bare.close()
    grown.close()
    return median(plain), median(treed)


def bulk(folder: Path, entries: int) -> None:
    """Write many entries in large transactions, then prove, and print."""
    database = Database(folder / "bulk.db")
    portion = 1000

    def write(start: int) -> None:
        with database.write() as session:
            for number in range(start, start + portion):
                log(session, line(number))

    seconds = sum(timed(write, start) for start in range(0, entries, portion))
    tree = History(database)
    proofs = [timed(tree.consistency, old, entries) for old in range(1, 2000, 7)]
    hashes = len(tree.consistency(entries // 3, entries))
    with database.read() as session:
        pages = session.connection().exec_driver_sql("PRAGMA page_count").scalar() or 0
        size = session.connection().exec_driver_sql("PRAGMA page_size").scalar() or 0
    database.close()
    spent = f"{seconds / entries * 1e6:.0f} µs each"
    say(f"  {entries} entries in transactions of {portion}: {spent}")
    say(f"  control.db: {pages * size / entries:.0f} bytes an entry, with its row and its tree")
    say(f"  consistency proof: {hashes} hashes, {median(proofs) * 1e3:.2f} ms from the database")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main() -> None:
    changes, entries = (int(word) for word in (*sys.argv[1:], "400", "100000")[:2])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        plain, treed = in_turns(folder, changes)
        say(f"{changes} changes of one entry each, durable, in turns (medians):")
        say(f"  without the tree {plain * 1e3:.2f} ms, with it {treed * 1e3:.2f} ms")
        more = f"{(treed - plain) * 1e3:.2f} ms"
        say(f"  one append costs {more}: {treed / plain:.2f} times as long")
        bulk(folder, entries)


if __name__ == "__main__":
    main()

"""The Merkle tree in the store: every line is in it, and it grows with the change or not at all."""

from __future__ import annotations

import sqlite3
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.config import Config
from sealane.audit import merkle
from sealane.audit.entry import encoded
from sealane.audit.position import Position
from sealane_manager.errors import NotKnown
from sealane_manager.store import history
from sealane_manager.store.database import MIGRATIONS, Database
from sealane_manager.store.decisions import log
from sealane_manager.store.records import DecisionRecord
from sealane_manager.store.store import open_store
from sqlalchemy import create_engine
from support.rollouts import START
from support.stores import ADA, a_store, an_event, enrol, signed, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane.names import DeviceId
    from sealane_manager.store.store import Store


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as store:
        yield store


AT = "2026-11-23 08:00:00.000000"


def leaves(store: Store) -> list[bytes]:
    found: list[bytes] = []
    while page := store.history.entries(len(found), store.history.head().position.size):
        found += [merkle.leaf_hash(encoded(each)) for each in page]
    return found


def whole(store: Store) -> bool:
    """Whether the head is the root over exactly the lines that are stored."""
    found, head = leaves(store), store.history.head()
    return (len(found), merkle.fold(merkle.grown(0, (), found)[1])) == (
        head.position.size,
        head.root,
    )


def test_every_change_grows_the_tree_by_its_lines(store: Store) -> None:
    assert store.history.head().position == Position(1, 0)
    sizes = [0]
    names = ("edge-1", "edge-2")
    for change in (
        lambda: enrol(store, *names),
        lambda: start(store),
        lambda: store.devices.label(enrolled(store), {"site": "berlin"}, (), ADA),
        lambda: store.events.record(enrolled(store), [an_event(1, signed("edge-1"))], START),
        lambda: store.devices.revoke(enrolled(store), ADA),
    ):
        change()
        sizes.append(store.history.head().position.size)
        assert sizes[-1] > sizes[-2]
        assert whole(store)


def enrolled(store: Store) -> DeviceId:
    return store.devices.list()[0].id


def test_a_change_that_fails_leaves_neither_a_line_nor_a_leaf(store: Store) -> None:
    enrol(store, "edge-1")
    before = store.history.head()

    def fails() -> None:
        with store._database.write() as session:
            log(session, DecisionRecord(START, "", "ada", "try", "in vain"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert store.history.head() == before
    assert whole(store)


def test_several_lines_of_one_change_follow_each_other(store: Store) -> None:
    with store._database.write() as session:
        for number in range(5):
            log(session, DecisionRecord(START, "", "ada", "count", str(number)))
    assert [each.detail for each in store.history.entries(0, 5)] == list("01234")
    assert whole(store)


def test_proofs_hold_for_every_entry_and_every_earlier_size(store: Store) -> None:
    roots = {}
    for number in range(23):
        store.decisions.write(DecisionRecord(START, "", "ada", "count", str(number)))
        roots[number + 1] = store.history.head().root
    found, head = leaves(store), store.history.head()
    size = head.position.size
    for index, leaf in enumerate(found):
        proof = store.history.inclusion(index, size)
        assert merkle.includes(leaf, index, size, proof) == head.root
    for old, root in roots.items():
        proof = store.history.consistency(old, size)
        assert merkle.continues((old, root), (size, head.root), proof)
    with pytest.raises(NotKnown, match="no entry 23"):
        store.history.inclusion(23, 23)


def test_a_receipt_is_in_the_log_with_the_hash_of_what_was_signed(store: Store) -> None:
    enrol(store, "edge-1")
    receipt = signed("edge-1")
    store.events.record(store.devices.list()[0].id, [an_event(1, receipt)], START)
    (entry,) = [each for each in store.history.entries(0, 99) if each.action == "receipt"]
    assert entry.actor == "device edge-1"
    assert entry.evidence == sha256(receipt.payload).hexdigest()


def test_a_declared_loss_begins_an_epoch_whose_reason_is_in_the_log(store: Store) -> None:
    enrol(store, "edge-1")
    store.decisions.declare_loss(ADA)
    head = store.history.head()
    assert head.position == Position(int(ADA.at.timestamp()), 2)
    store.decisions.declare_loss(ADA)
    assert store.history.head().position.epoch == head.position.epoch + 1
    assert store.history.entries(1, 2)[0].action == "declare loss"
    assert whole(store)


def test_an_entry_that_is_edited_in_the_database_does_not_fit_the_tree(store: Store) -> None:
    enrol(store, "edge-1", "edge-2")
    with store._database.write() as session:
        session.connection().exec_driver_sql("UPDATE decision SET actor = 'nobody' WHERE leaf = 0")
    assert not whole(store)


def test_the_lines_of_an_older_manager_are_in_the_tree_after_the_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    _older(path, lines=1234)
    store = open_store(path)
    assert store.history.head().position == Position(1, 1234)
    assert store.history.entries(1233, 1234)[0].detail == "line 1233"
    assert whole(store)
    enrol(store, "edge-1")
    assert whole(store)
    store.close()


def _older(path: Path, lines: int) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
    engine.dispose()
    with sqlite3.connect(path) as database:
        database.executemany(
            "INSERT INTO decision (id, at, rollout, actor, action, detail) VALUES (?,?,?,?,?,?)",
            [(3 * each + 1, AT, "r-1", "ada", "note", f"line {each}") for each in range(lines)],
        )
    database.close()


def test_the_tree_of_a_database_that_lost_a_subtree_is_not_guessed(tmp_path: Path) -> None:
    database = Database(tmp_path / "control.db")
    with database.write() as session:
        for number in range(4):
            log(session, DecisionRecord(START, "", "ada", "count", str(number)))
    with database.write() as session:
        session.connection().exec_driver_sql("DELETE FROM audit_node WHERE level = 1")
    with pytest.raises(Exception, match="tree is damaged"):
        history.History(database).consistency(2, 4)
    database.close()

"""control.db: durable settings, migrations, whole transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.store.database import Database
from sealane_manager.store.store import open_store
from sealane_manager.store.tables.base import metadata
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from support.stores import ADA, a_new_device, a_store, enrol, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane_manager.rollout.types import Rollout, Step
    from sealane_manager.store.store import Store


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "control.db")
    yield database
    database.close()


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as store:
        yield store


def pragma(database: Database, name: str) -> object:
    with database.read() as session:
        return session.connection().execute(text(f"PRAGMA {name}")).scalar()


def test_a_commit_survives_a_power_cut(database: Database) -> None:
    full = 2
    assert pragma(database, "journal_mode") == "wal"
    assert pragma(database, "synchronous") == full
    assert pragma(database, "foreign_keys") == 1


def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    with database.read() as session:
        context = MigrationContext.configure(
            session.connection(), opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


def test_a_store_opens_again_with_everything_in_it(tmp_path: Path) -> None:
    store = open_store(tmp_path / "state" / "control.db")
    enrol(store, "edge-1", site="berlin")
    store.close()
    again = open_store(tmp_path / "state" / "control.db")
    assert [each.id for each in again.devices.list()] == ["edge-1"]
    again.close()


def test_a_database_of_a_newer_manager_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    database = Database(path)
    with database.write() as session:
        session.connection().execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(Refused, match=r"control\.db cannot be brought up to date"):
        Database(path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    path.write_bytes(b"something else entirely, and long enough to have a header" * 20)
    with pytest.raises(Refused, match="file is not a database"):
        Database(path)


def test_an_error_of_the_database_does_not_print_what_was_written(store: Store) -> None:
    enrol(store, "edge-1")
    secret = a_new_device("edge-1")
    with pytest.raises(IntegrityError) as error, store._database.write() as session:
        session.connection().execute(
            text("INSERT INTO device_label (key, value, device) VALUES (:k, 'hidden', 'nobody')"),
            {"k": secret.key_fingerprint},
        )
    assert secret.key_fingerprint not in str(error.value)


def test_a_step_that_fails_half_way_leaves_nothing_behind(store: Store) -> None:
    enrol(store, "edge-1")
    before = start(store)
    log = store.decisions.of("r-1")

    def breaks(rollout: Rollout) -> Step:
        raise ZeroDivisionError(rollout.id)

    with pytest.raises(ZeroDivisionError):
        store.rollouts.change("r-1", breaks, ADA)
    assert (store.rollouts.get("r-1"), store.decisions.of("r-1")) == (before, log)
    assert store.devices.get(before.devices[0].device).generation == 0


def test_a_rollout_that_is_refused_leaves_nothing_behind(store: Store) -> None:
    with pytest.raises(Refused):
        start(store)
    with pytest.raises(NotKnown):
        store.rollouts.get("r-1")
    enrol(store, "edge-1")
    assert len(start(store).devices) == 1

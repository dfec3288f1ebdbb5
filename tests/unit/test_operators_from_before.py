"""A database from before certificates were listed, upgraded: its operators still count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.config import Config
from sealane_manager.store.database import MIGRATIONS
from sealane_manager.store.store import open_store
from sqlalchemy import create_engine, text

if TYPE_CHECKING:
    from pathlib import Path

BEFORE = "0017"


def a_database_from_before(path: Path, *, used: bool) -> None:
    engine, config = create_engine(f"sqlite:///{path}"), Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, BEFORE)
        if used:
            names = [row[1] for row in connection.execute(text("PRAGMA table_info(decision)"))]
            line = dict.fromkeys(names, "x") | {"id": 1, "leaf": 0, "at": "2026-01-01 00:00:00.0"}
            marks = ", ".join(f":{name}" for name in line)
            insert = f"INSERT INTO decision ({', '.join(line)}) VALUES ({marks})"  # noqa: S608 - names of columns
            connection.execute(text(insert), line)
    engine.dispose()


@pytest.mark.parametrize("fleet", ["in use", "new"])
def test_a_fleet_that_was_in_use_lets_its_operators_in_and_a_new_one_nobody(
    tmp_path: Path, fleet: str
) -> None:
    path, used = tmp_path / "control.db", fleet == "in use"
    a_database_from_before(path, used=used)
    store = open_store(path)
    assert (store.certificates.unlisted_before() is not None) is used
    assert store.certificates.list() == ()
    store.close()

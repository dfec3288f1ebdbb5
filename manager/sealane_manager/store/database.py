"""Opens control.db: durable settings, one writer at a time, migrations before anything else."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlmodel import Session

from sealane_manager.errors import NoSpace, Refused
from sealane_manager.rollout.placement import turn
from sealane_manager.store import touched
from sealane_manager.store.touched import Touched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

MIGRATIONS: Final = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS: Final = 10_000
"""How long one statement waits for another process (a backup) that holds the file."""

_PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
)
TURN: Final = "sealane_turn"
"""SQL's name for what the devices of a rollout are ordered by."""

_TOUCHED: Final = "sealane_rollouts_touched"
_OF_ROLLOUTS: Final = re.compile(
    r"(INSERT INTO|UPDATE|DELETE FROM) (rollout|rollout_device|device_label|calendar)\b"
    r"|DELETE FROM device\b"
    r"|UPDATE device SET .*\bfacts=",
    re.DOTALL,
)
"""Statements after which a rollout reads differently."""

_WRITES: Final = "sealane_writes"
_FULL: Final = "SQLITE_FULL"


class Database:
    """Sessions on one SQLite file: many readers, one writer."""

    def __init__(self, path: Path) -> None:
        """Open or create the file and bring it up to date; raises Refused when it cannot be."""
        self._engine = create_engine(f"sqlite:///{path}", hide_parameters=True)
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        event.listen(self._engine, "before_cursor_execute", _notice)
        self.touched = Touched()
        self._writer = self._engine.execution_options(**{_WRITES: True})
        self._lock = threading.Lock()
        try:
            migrate(self._writer)
        except (CommandError, DatabaseError) as error:
            self.close()
            raise Refused(
                f"{path} cannot be brought up to date: {_first_line(error)}",
                hint="use the manager that wrote it, or put back a backup",
            ) from error
        self._engine.dispose()
        event.listen(self._engine, "connect", lambda connection, _: touched.watch(connection))

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One consistent view; nothing written in it is kept."""
        with Session(self._engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: everything or nothing, on disk when the block has ended.

        Raises NoSpace when the disk is full.
        """
        try:
            with self._lock:
                with Session(self._writer) as session, session.begin():
                    known = session.connection().info
                    known.pop(_TOUCHED, None)
                    yield session
                    session.flush()
                    written = known.pop(_TOUCHED, False)
                    pairs = touched.taken(session.connection()) if written else ()
                if written:
                    self.touched.add(pairs)
        except DatabaseError as error:
            if getattr(error.orig, "sqlite_errorname", "") != _FULL:
                raise
            hint = "free some space on the disk of its state folder"
            raise NoSpace("the manager's disk is full", hint=hint) from error

    def close(self) -> None:
        """Let the file go."""
        self._engine.dispose()


def migrate(engine: Engine) -> None:
    """Run every migration that the database has not seen, in one transaction."""
    config = _config()
    with engine.begin() as connection:
        if MigrationContext.configure(connection).get_current_revision() == _newest():
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


@cache
def _newest() -> str | None:
    """The revision to which this version's migrations lead; reads all of them."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says, not at a guess
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    connection.create_function(TURN, 2, turn, deterministic=True)


def _notice(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
    if _OF_ROLLOUTS.match(statement):
        connection.info[_TOUCHED] = True


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).partition("\n")[0]

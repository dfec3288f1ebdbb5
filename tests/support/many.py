"""Many devices in a store, written at once, and what it costs SQLite to answer about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sealane_manager.store.tables.base import metadata
from sealane_manager.store.tables.devices import DeviceRow
from sqlalchemy import event, insert
from support.rollouts import OLD, OLD_MANIFEST, SLOT, START

if TYPE_CHECKING:
    from sealane_manager.store.store import Store

SITES = 200
LINES = 5
FACTS = {
    "arch": "x86_64",
    "os": "linux",
    "cpus": 4,
    "memory_bytes": 2**33,
    "runtimes": [{"name": "onnxruntime", "version": "1.32", "accelerators": ["cpu"]}],
    "endpoint": "",
}


def fill(store: Store, devices: int) -> tuple[str, ...]:
    """Devices with labels, each of which serves OLD; returns their names."""
    names = tuple(f"d{number:06}" for number in range(devices))
    tables = metadata.tables
    with store._database.write() as session:
        connection = session.connection()
        connection.execute(insert(tables["device"]), [_device(name) for name in names])
        connection.execute(
            insert(tables["device_label"]),
            [
                {"key": key, "value": value, "device": name}
                for number, name in enumerate(names)
                for key, value in (("site", f"s{number % SITES}"), ("line", str(number % LINES)))
            ],
        )
        connection.execute(insert(tables["desired"]), [_desired(name) for name in names])
    return names


def _device(name: str) -> dict[str, Any]:
    row = DeviceRow(
        id=name,
        name=name,
        state="active",
        public_key=b"key",
        key_fingerprint=name,
        token="t-1",  # noqa: S106 - the id of a token, no secret
        enrolled_at=START,
        facts=FACTS,
    )
    return row.model_dump()


def _desired(name: str) -> dict[str, Any]:
    return {
        "device": name,
        "slot": SLOT,
        "release": str(OLD),
        "manifest": OLD_MANIFEST,
        "length": 600,
        "rollout": "",
    }


STEP = 100
"""Instructions of SQLite's machine that are counted together: reading a row takes a few dozen."""


@dataclass
class Work:
    """What was asked of a store since the last look: statements, and SQLite's instructions."""

    statements: int = 0
    steps: int = 0

    def attach(self, store: Store) -> None:
        """Count from now on, on new connections."""
        engine = store._database._engine
        engine.dispose()
        event.listen(engine, "connect", lambda raw, _: raw.set_progress_handler(self._step, STEP))
        event.listen(engine, "after_cursor_execute", lambda *_: self._statement())

    def taken(self) -> Work:
        """What was counted; begin anew."""
        found = Work(self.statements, self.steps)
        self.statements = self.steps = 0
        return found

    def _step(self) -> int:
        self.steps += STEP
        return 0

    def _statement(self) -> None:
        self.statements += 1

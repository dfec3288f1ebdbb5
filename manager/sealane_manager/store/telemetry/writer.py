"""The one thread that writes telemetry.db: it commits in groups, and answers after the commit."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sealane_manager.errors import Refused
from sealane_manager.store.telemetry.ingest import check

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from sealane.telemetry.types import TelemetryAck

    from sealane_manager.store.telemetry.ingest import Ingest
    from sealane_manager.store.telemetry.records import Arrived

LINGER_S: Final = 0.03
"""How long the first batch of a group waits for others: a commit costs as much for many."""

GROUP_BATCHES: Final = 2048
"""Batches in one group."""

GROUP_BYTES: Final = 16 * 1024 * 1024
"""Encoded windows in one group: bounds what is decoded at once, and how long an answer takes."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class _Batch:
    batch: Arrived
    answer: Future[TelemetryAck]


@dataclass(frozen=True, slots=True)
class _Work:
    call: Callable[[sqlite3.Connection], Any]
    answer: Future[Any]


class Writer:
    """Owns the connection that writes; every method may be called from any thread."""

    def __init__(
        self, connection: sqlite3.Connection, ingest: Ingest, linger_s: float = LINGER_S
    ) -> None:
        self._connection, self._ingest, self._linger_s = connection, ingest, linger_s
        self._waiting: queue.SimpleQueue[_Batch | _Work | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="telemetry-writer", daemon=True)
        self._thread.start()

    def put(self, batch: Arrived) -> Future[TelemetryAck]:
        """Store a batch; the answer comes when it is on disk. Raises TelemetryError, Refused."""
        check(batch)
        answer: Future[TelemetryAck] = _promised()
        self._enqueue(_Batch(batch, answer))
        return answer

    def call(self, work: Callable[[sqlite3.Connection], _Answer]) -> Future[_Answer]:
        """Let the thread do something between two groups; raises Refused."""
        answer: Future[_Answer] = _promised()
        self._enqueue(_Work(work, answer))
        return answer

    def close(self) -> None:
        """Write what waits, and let the file go."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._waiting.put(None)
        self._thread.join()

    def _enqueue(self, item: _Batch | _Work) -> None:
        with self._closing:
            if self._closed:
                raise Refused("the manager stops")
            self._waiting.put(item)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            after = self._store_with_others(item) if isinstance(item, _Batch) else item
            if isinstance(after, _Work):
                self._do(after)
            if after is None:
                break
        self._connection.close()

    def _store_with_others(self, first: _Batch) -> _Batch | _Work | None:
        """Store a group; returns its last batch, or the other thing that ended it."""
        group, size = [first], len(first.batch.body)
        until = time.monotonic() + self._linger_s
        last: _Batch | _Work | None = first
        while isinstance(last, _Batch) and len(group) < GROUP_BATCHES and size < GROUP_BYTES:
            try:
                last = self._waiting.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if isinstance(last, _Batch):
                group.append(last)
                size += len(last.batch.body)
        self._store(group)
        return last

    def _store(self, group: list[_Batch]) -> None:
        try:
            acks = self._ingest.store(self._connection, [item.batch for item in group])
        except Exception as error:  # noqa: BLE001 - every sender hears of it and sends again
            for item in group:
                item.answer.set_exception(error)
            return
        for item, ack in zip(group, acks, strict=True):
            item.answer.set_result(ack)

    def _do(self, work: _Work) -> None:
        try:
            work.answer.set_result(work.call(self._connection))
        except Exception as error:  # noqa: BLE001 - the caller hears of it
            work.answer.set_exception(error)


def _promised() -> Future[Any]:
    """An answer that is given to whoever still waits.

    Nobody can cancel it: a session that ends would, and the thread that answers would break.
    """
    answer: Future[Any] = Future()
    answer.set_running_or_notify_cancel()
    return answer

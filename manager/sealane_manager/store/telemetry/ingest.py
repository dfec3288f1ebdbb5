"""Stores a group of batches in one transaction: each batch once, whatever is sent twice or late.

(device, boot, sequence) names a batch. What was stored is only acknowledged again. A batch beyond
a gap waits on its device until the ones before it came. A batch that cannot be read would be sent
for ever, so it is acknowledged, counted as refused, and harms nothing else.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from sealane.errors import TelemetryError
from sealane.telemetry.codec import decode_apart
from sealane.telemetry.merging import merge_models
from sealane.telemetry.rows import add_histograms
from sealane.telemetry.types import Arm, TelemetryAck

from sealane_manager.store.telemetry.cohorts import Cohorts, Counted, Key
from sealane_manager.store.telemetry.fresh import FreshInputs
from sealane_manager.store.telemetry.schema import DAY, HOUR, tier_of, transaction
from sealane_manager.store.telemetry.seen import Seen

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from sealane.telemetry.rows import ModelRow, WindowRow
    from sealane.telemetry.types import Level, ModelWindow

    from sealane_manager.store.telemetry.fresh import Fresh
    from sealane_manager.store.telemetry.records import Arrived, Cohort

LATE_S: Final = 600
"""Requests in windows that arrive so many seconds after their end are marked as late."""

AHEAD_S: Final = HOUR
"""A window may begin so many seconds in the manager's future: clocks differ."""

KEPT_S: Final = 400 * DAY
"""Windows that are older, in seconds, are not kept."""

BOOT_CHARS: Final = 128
"""The name of a boot; a UUID has 36."""

REASON_CHARS: Final = 300
"""Of why a batch was refused."""

ANSWERS: Final = (Arm.ACTIVE, Arm.CANDIDATE, Arm.OTHER)
"""The arms whose answers clients got; `previous` answers what another arm counts as a fallback."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Group:
    """What one transaction will write."""

    windows: list[tuple[int, int, str, int, int, bytes]] = field(default_factory=list)
    latest: dict[str, tuple[WindowRow, int]] = field(default_factory=dict)
    lost: list[tuple[str, int, int]] = field(default_factory=list)
    taken: list[tuple[str, WindowRow, bool]] = field(default_factory=list)

    def take(self, batch: Arrived, window: WindowRow, body: bytes) -> None:
        """A window that is new, and its bytes."""
        requests, errors = answered(window.models)
        tier, start = place(window)
        self.windows.append((tier, start, batch.device, requests, errors, body))
        self.taken.append((batch.device, window, batch.received - window.end >= LATE_S))
        if window.host is not None and window.host.lost:
            self.lost.append((batch.device, window.host.lost, batch.received))
        known = self.latest.get(batch.device)
        if known is None or known[0].start <= window.start:
            self.latest[batch.device] = (window, batch.received)


def place(window: WindowRow) -> tuple[int, int]:
    """The tier of a window, and the start of its row there."""
    tier = tier_of(window.seconds)
    return tier, window.start // tier * tier


class Directory(Protocol):
    """What the control plane knows of devices and releases; answers from memory."""

    def site(self, device: str) -> str:
        """Where the device stands; empty when nobody said."""
        ...

    def is_ours(self, release: str, slot: str) -> bool:
        """Whether the manager ever gave this release to this slot."""
        ...


class Ingest:
    """Writes groups of batches; what it wrote of the whole fleet, it adds to `counters`."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.counters: dict[Cohort, ModelWindow] = {}
        self._fresh = FreshInputs()

    def take_fresh(self) -> Fresh:
        """What models on devices were given since the last call; only the writer's thread asks."""
        return self._fresh.take()

    def store(
        self, connection: sqlite3.Connection, batches: Sequence[Arrived]
    ) -> list[TelemetryAck]:
        """Write what is new of the batches in one transaction; returns an answer to each."""
        group = Group()
        with transaction(connection):
            acks = _take(connection, batches, group)
            _write_windows(connection, group)
            _write_losses(connection, group)
            cohorts = self._collected(group)
            cohorts.write(connection)
        self._count(cohorts)
        return acks

    def _collected(self, group: Group) -> Cohorts:
        found, sites = Cohorts(), _Sites(self._directory)
        for device, window, late in group.taken:
            tier, start = place(window)
            for model in window.models:
                slot, release, arm, _ = model.series
                if self._directory.is_ours(release, slot):
                    key = Key(tier, start, release, slot, arm, sites[device])
                    found.add(key, Counted(window.start, window.seconds, model, late))
                    if not late and arm in ANSWERS:
                        self._fresh.add(device, model)
        found.combine()
        return found

    def _count(self, cohorts: Cohorts) -> None:
        counters = dict(self.counters)
        for cohort, model in cohorts.of_fleet():
            known = counters.get(cohort)
            counters[cohort] = merge_models(known, model) if known else model
        self.counters = counters  # readers of other threads see the old ones or the new ones


class _Sites(dict[str, str]):
    """The site of each device, asked once a group."""

    def __init__(self, directory: Directory) -> None:
        super().__init__()
        self._directory = directory

    def __missing__(self, device: str) -> str:
        site = self[device] = self._directory.site(device)
        return site


def check(batch: Arrived) -> None:
    """Raise TelemetryError when the batch has no name that could be remembered."""
    if not 0 < len(batch.boot) <= BOOT_CHARS or not 0 < batch.sequence < 2**63:
        raise TelemetryError("a batch of telemetry needs a boot and a sequence number from 1")


def _take(
    connection: sqlite3.Connection, batches: Sequence[Arrived], group: Group
) -> list[TelemetryAck]:
    """Add to the group what was not stored; returns what is stored after it, of each boot."""
    seen, acks = Seen.read(connection, batches), []
    for batch in batches:
        if seen.take(batch):
            _read(connection, batch, group)
        acks.append(TelemetryAck(batch.boot, seen.answer(batch)))
    seen.write(connection)
    return acks


def _read(connection: sqlite3.Connection, batch: Arrived, group: Group) -> None:
    try:
        windows = decode_apart(batch.body)
    except TelemetryError as error:
        _refuse(connection, batch, str(error))
        return
    for window, body in windows:
        if batch.received - KEPT_S <= window.start <= batch.received + AHEAD_S:
            group.take(batch, window, body)
        else:
            _refuse(connection, batch, f"a window begins at {window.start}: too old, or not yet")


def _refuse(connection: sqlite3.Connection, batch: Arrived, reason: str) -> None:
    _log.warning("refused telemetry: device=%s reason=%s", batch.device, reason)
    connection.execute(
        "INSERT INTO refusal (device, count, reason, at) VALUES (?, 1, ?, ?) ON CONFLICT (device)"
        " DO UPDATE SET count = count + 1, reason = excluded.reason, at = excluded.at",
        (batch.device, reason[:REASON_CHARS], batch.received),
    )


def answered(models: Iterable[ModelRow]) -> tuple[int, int]:
    """Requests of clients, and those of them that got an error."""
    requests = errors = 0
    for model in models:
        if model.series.arm in ANSWERS:
            requests += model.requests
            if model.errors:
                errors += max(0, model.failed - model.fallbacks)
    return requests, errors


def _write_windows(connection: sqlite3.Connection, group: Group) -> None:
    connection.executemany(
        "INSERT INTO device_window (tier, start, device, requests, errors, body)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (tier, start, device) DO UPDATE SET"
        " requests = requests + excluded.requests, errors = errors + excluded.errors,"
        " body = merged_windows(body, excluded.body)",
        group.windows,
    )
    connection.executemany(
        "INSERT INTO device_latest (device, start, seconds, received, requests, errors, p99, cpu,"
        " memory, disk, temperature, clock_offset, throttled, restarts)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (device) DO UPDATE SET"
        " start = excluded.start, seconds = excluded.seconds, received = excluded.received,"
        " requests = excluded.requests, errors = excluded.errors, p99 = excluded.p99,"
        " cpu = excluded.cpu, memory = excluded.memory, disk = excluded.disk,"
        " temperature = excluded.temperature, clock_offset = excluded.clock_offset,"
        " throttled = excluded.throttled, restarts = excluded.restarts"
        " WHERE excluded.start >= device_latest.start",
        [_latest(device, window, received) for device, (window, received) in group.latest.items()],
    )


def _write_losses(connection: sqlite3.Connection, group: Group) -> None:
    connection.executemany(
        "INSERT INTO loss (device, count, at) VALUES (?, ?, ?) ON CONFLICT (device) DO UPDATE SET"
        " count = min(count + excluded.count, 1 << 62), at = excluded.at",
        group.lost,
    )


def _latest(device: str, window: WindowRow, received: int) -> tuple[object, ...]:
    requests, errors = answered(window.models)
    times = [m.latency for m in window.models if m.series.arm in ANSWERS]
    p99 = add_histograms(times).quantile(0.99) if times else 0.0
    numbers = (window.start, window.seconds, received, requests, errors, p99)
    host = window.host
    if host is None:
        return (device, *numbers, *[None] * 7)
    shares = [_mean(level, 1000) for level in (host.cpu, host.memory, host.disk)]
    sensors = (_mean(host.temperature, 10), _mean(host.clock_offset, 1000))
    return (device, *numbers, *shares, *sensors, host.throttled, host.restarts)


def _mean(level: Level | None, unit: int) -> float | None:
    return level.mean / unit if level else None

"""Whatever happens to a spool, the manager counts every request once."""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sealane.telemetry.codec import decode_windows
from sealane.telemetry.merging import merge_models
from sealane.telemetry.types import ModelWindow, TelemetryAck, TelemetryBatch, Window
from sealane_agent.telemetry.spool import Spool
from support.telemetry import START, models

Key = tuple[str, str, str]


class Manager:
    """Stores each batch once, whatever comes how often, and in whatever order."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, int], bytes] = {}

    def hear(self, batch: TelemetryBatch) -> TelemetryAck:
        known = self.stored.setdefault((batch.boot, batch.sequence), batch.body)
        assert known == batch.body, "a batch came again with other windows"
        sequence = 0
        while (batch.boot, sequence + 1) in self.stored:
            sequence += 1
        return TelemetryAck(batch.boot, sequence)

    def windows(self) -> list[Window]:
        return [window for body in self.stored.values() for window in decode_windows(body)]


def counted(windows: list[Window]) -> dict[Key, ModelWindow]:
    found: dict[Key, ModelWindow] = {}
    for window in windows:
        for model in window.models:
            known = found.get(model.key)
            found[model.key] = merge_models(known, model) if known else model
    return found


class SpoolMachine(RuleBasedStateMachine):
    """Minutes pass, supervisors die, devices start again, acknowledgements are lost."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "telemetry.db")
        self.boots, self.now = 1, START
        self.manager, self.recorded = Manager(), list[Window]()
        self.sent: list[TelemetryBatch] = []
        self.spool = Spool(self.path, "boot-1", most_bytes=80_000)

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
            self.folder.cleanup()

    @rule(found=st.lists(models(), min_size=1, max_size=3, unique_by=lambda model: model.key))
    def record(self, found: list[ModelWindow]) -> None:
        models = tuple(sorted(found, key=lambda model: model.key))
        window = Window(self.now, 60, models)
        self.recorded.append(window)
        self.spool.put([window])

    @rule(minutes=st.sampled_from([1, 1, 7, 240, 4000]))
    def pass_time(self, minutes: int) -> None:
        self.now += 60 * minutes
        self.spool.compact(self.now)

    @rule(heard=st.booleans(), acknowledged=st.booleans())
    def send(self, heard: bool, acknowledged: bool) -> None:  # noqa: FBT001 - hypothesis draws them
        batch = self.spool.next_batch()
        if batch is None:
            return
        self.sent.append(batch)
        if heard:
            ack = self.manager.hear(batch)
            if acknowledged:
                self.spool.acknowledge(ack)

    @rule(data=st.data())
    def come_late(self, data: st.DataObject) -> None:
        """A batch of before comes once more, as a slow line may do."""
        if self.sent:
            self.manager.hear(data.draw(st.sampled_from(self.sent)))

    @rule(reboot=st.booleans())
    def start_again(self, reboot: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        self.spool.close()
        self.boots += reboot
        self.spool = Spool(self.path, f"boot-{self.boots}", most_bytes=80_000)

    @invariant()
    def every_count_is_somewhere_once(self) -> None:
        if not hasattr(self, "spool"):
            return
        with closing(sqlite3.connect(self.path)) as database:
            loose = [body for (body,) in database.execute("SELECT body FROM window")]
            packed = {
                (boot, sequence): body
                for boot, sequence, body in database.execute(
                    "SELECT boot, sequence, body FROM batch"
                )
            }
        unheard = [body for name, body in packed.items() if name not in self.manager.stored]
        here = [window for body in (*loose, *unheard) for window in decode_windows(body)]
        assert counted([*here, *self.manager.windows()]) == counted(self.recorded)
        assert self.spool.lost == 0

    @invariant()
    def sequences_have_no_gaps(self) -> None:
        if hasattr(self, "spool"):
            highest = Counter[str]()
            for batch in self.sent:
                assert batch.sequence <= highest[batch.boot] + 1
                highest[batch.boot] = max(highest[batch.boot], batch.sequence)


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(
    max_examples=10,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

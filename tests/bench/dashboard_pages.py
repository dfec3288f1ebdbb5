"""Prints what each page of the dashboard costs with many devices and a month behind them.

    PYTHONPATH=tests:scripts python tests/bench/dashboard_pages.py [--devices 10000] [--drop-caches]

Every page is asked once cold and five times warm through the whole application, without a network:
milliseconds on the server, those of processor time in it, what came from the disk, bytes as HTML
and compressed, and the share that the database took.
With `--drop-caches` (root) what the system holds of the disk is dropped before each cold request,
and telemetry's connections with what they hold.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealane_manager.alerts.machine import look
from sealane_manager.alerts.types import Finding, Severity
from sealane_manager.drift.detector import Policy, run_length
from sealane_manager.drift.watch import BUDGET_DAYS
from sealane_manager.gate.record import checks_to_json
from sealane_manager.gate.types import Checks
from sealane_manager.rollout.types import DeviceState, RolloutState
from sealane_manager.store.decisions import log
from sealane_manager.store.records import DecisionRecord
from sealane_manager.store.tables import devices, rollouts
from sqlalchemy import event, insert
from support.dashboard import Dashboard, a_dashboard
from support.month import INPUTS, REFERENCES, Month, fill_month, model_window
from support.rollouts import MANIFEST, NEW, OLD, START

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

WARM = 5
ASKED = ("by_arm", "device_by_arm", "cohorts", "cohort", "device_model", "latest")
"""What pages ask telemetry for: counted with its decoding as the database's share."""

LIMIT_MS = 500
FACTS = {
    "arch": "x86_64",
    "os": "linux",
    "cpus": 4,
    "memory_bytes": 2**33,
    "runtimes": [{"name": "onnxruntime", "version": "1.32", "accelerators": ["cpu"]}],
    "endpoint": "http://127.0.0.1:8000",
}
FAILURE = {
    "kind": "permanent",
    "phase": "staged",
    "component": "runtime",
    "element": "onnx-fp32",
    "message": "the golden outputs differ by 0.2",
    "hint": "look at the model",
}
EVENTS, RECEIPTS, ROLLOUTS, DECISIONS = 20, 3, 12, 50_000


@dataclass
class Cost:
    """What one request took."""

    total_ms: float = 0.0
    cpu_ms: float = 0.0
    query_ms: float = 0.0
    read: int = 0
    html: int = 0


@dataclass
class Watch:
    """How long the database works."""

    began: float = 0.0
    spent: float = 0.0
    _started: list[float] = field(default_factory=list)

    def attach(self, dashboard: Dashboard) -> None:
        engine = dashboard.store._database._engine
        event.listen(engine, "before_cursor_execute", lambda *_: self._begin())
        event.listen(engine, "after_cursor_execute", lambda *_: self._end())
        readings = dashboard.store.telemetry.readings
        for name in ASKED:
            setattr(readings, name, self._timed(getattr(readings, name)))

    def _timed(self, read: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            self._begin()
            try:
                return read(*given, **named)
            finally:
                self._end()

        return timed

    def _begin(self) -> None:
        self._started.append(time.perf_counter())

    def _end(self) -> None:
        self.spent += time.perf_counter() - self._started.pop()


def device(number: int) -> str:
    return f"edge-{number:05}"


def fill(connection: Connection, count: int) -> None:
    """A month of a fleet, as it would have become."""
    names = [device(number) for number in range(count)]
    connection.execute(insert(devices.DeviceRow), [_device_row(name) for name in names])
    connection.execute(insert(devices.LabelRow), list(_label_rows(names)))
    connection.execute(insert(devices.SlotRow), [_slot_row(*each) for each in enumerate(names)])
    connection.execute(insert(rollouts.DesiredRow), [_desired_row(name) for name in names])
    connection.execute(insert(devices.EventRow), list(_event_rows(names)))
    connection.execute(insert(devices.ReceiptRow), list(_receipt_rows(names)))
    for number in range(ROLLOUTS):
        connection.execute(insert(rollouts.RolloutRow), [_rollout_row(number)])
        connection.execute(insert(rollouts.RolloutDeviceRow), list(_member_rows(number, names)))


def _device_row(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "state": "active",
        "state_reason": "",
        "public_key": b"",
        "key_fingerprint": name,
        "token": "t-1",
        "enrolled_at": START - timedelta(days=30),
        "agent_version": "0.1.0",
        "boot_id": "",
        "facts": FACTS,
        "last_seen": START,
        "acked_sequence": EVENTS,
        "generation": 3,
        "document_version": 3,
    }


def _label_rows(names: list[str]) -> Iterator[dict[str, Any]]:
    for number, name in enumerate(names):
        yield {"key": "site", "value": f"site-{number % 120:03}", "device": name}
        yield {"key": "line", "value": str(number % 7), "device": name}


def _slot_row(number: int, name: str) -> dict[str, Any]:
    broken = number % 100 == 0
    return {
        "device": name,
        "slot": "cam",
        "state": "failed" if broken else "committed",
        "active_release": str(OLD if broken else NEW),
        "lkg_release": str(OLD),
        "attempt_release": "",
        "rollout": "",
        "failure": FAILURE if broken else None,
        "reported_at": START,
    }


def _desired_row(name: str) -> dict[str, Any]:
    shall = {"release": str(NEW), "manifest": MANIFEST, "length": 700}
    return {"device": name, "slot": "cam", "rollout": "r-00000000", "lease_expires": None, **shall}


def _event_rows(names: list[str]) -> Iterator[dict[str, Any]]:
    body = {key: value for key, value in _slot_row(1, "").items() if key != "device"}
    body["reported_at"] = None
    for name in names:
        for sequence in range(1, EVENTS + 1):
            at = START - timedelta(days=30) * (1 - sequence / EVENTS)
            moments = {"occurred_at": at, "received_at": at}
            yield {"device": name, "sequence": sequence, "kind": "transition", "body": body} | (
                moments
            )


def _receipt_rows(names: list[str]) -> Iterator[dict[str, Any]]:
    said = {"verdict": "serving", "requests": 1000, "errors": 0, "fallbacks": 0}
    proof = {"payload": b"x" * 700, "signature": b"x" * 71}
    for name in names:
        for sequence in range(1, RECEIPTS + 1):
            about = {"rollout": f"r-{sequence:08}", "slot": "cam", "release": str(NEW)}
            row = {"device": name, "sequence": sequence, "received_at": START}
            yield row | about | said | proof


def _rollout_row(number: int) -> dict[str, Any]:
    running = number == 0
    return {
        "id": f"r-{number:08}",
        "release": str(NEW),
        "manifest": MANIFEST,
        "length": 700,
        "slot": "cam",
        "selector": "",
        "stages": ["10", "1%", "10%", "40%", "100%"],
        "soak_us": 600_000_000,
        "max_failed": 5,
        "max_failed_percent": 2,
        "silent_after_us": 900_000_000,
        "min_requests": 100,
        "checks": checks_to_json(Checks()),
        "terms": {},
        "on_failure": "revert",
        "state": str(RolloutState.RUNNING if running else RolloutState.SUCCEEDED),
        "stage": 2 if running else 4,
        "phase": "soak",
        "phase_since": START,
        "reason": "" if running else "9,990 of 10,000 judged devices serve",
        "created_at": START - timedelta(days=2 * number),
        "ended_at": None if running else START - timedelta(days=2 * number - 1),
    }


def _member_rows(number: int, names: list[str]) -> Iterator[dict[str, Any]]:
    for position, name in enumerate(names):
        share = position / len(names)
        stage = 1 if share < 0.01 else 2 if share < 0.1 else 3 if share < 0.4 else 4
        waits = number == 0 and stage > 2
        state = DeviceState.WAITING if waits else DeviceState.SERVING
        yield {
            "rollout": f"r-{number:08}",
            "device": name,
            "position": position,
            "stage": 0 if position < 10 else stage,
            "state": str(DeviceState.FAILED if position % 997 == 5 else state),
            "detail": "" if waits else "1000 requests, 0 errors, 0 fallbacks on onnxruntime cpu",
            "requests": 0 if waits else 1000,
            "acknowledged": False,
            "changed_at": START,
            "previous": str(OLD),
            "previous_manifest": MANIFEST,
            "previous_length": 600,
        }


def _decisions(names: list[str]) -> Iterator[DecisionRecord]:
    for number in range(DECISIONS):
        name = names[number % len(names)]
        at = START - timedelta(days=30) * (1 - number / DECISIONS)
        rollout, detail = f"r-{number % ROLLOUTS:08}", "1000 requests, 0 errors"
        yield DecisionRecord(at, rollout, f"device {name}", "serving", detail)


PAGES = (
    "/",
    "/wall",
    "/devices",
    "/devices?page=150&sort=-last_seen",
    "/devices?q=77",
    "/devices?status=degraded",
    "/devices?selector=line in (1,2),site!=site-001",
    "/devices?release=vision/defect@1",
    "/devices/edge-00100",
    "/devices/edge-00100?span=24h",
    "/devices/edge-00100?span=30d",
    "/devices/edge-00101?span=30d",
    "/devices/edge-03333?span=30d",
    "/devices/edge-05000?span=30d",
    "/devices/edge-07777?span=30d",
    "/devices/edge-09999?span=30d",
    "/?span=24h",
    "/?span=30d",
    "/drift",
    "/drift?device=edge-00101",
    "/drift/input?release=vision/defect@2&slot=cam&input=brightness",
    "/drift/input?release=vision/defect@2&slot=cam&input=brightness&device=edge-00110",
    "/alerts",
    "/alerts?show=history",
    "/sites",
    "/find?q=edge-001",
    "/models",
    "/rollouts",
    "/rollouts/r-00000000",
    "/rollouts/r-00000003",
    "/rollouts/r-00000003/devices?page=100",
    "/rollouts/new?release=vision/defect@1&slot=side&preview=yes",
    "/audit",
    "/audit?q=edge-09999",
    "/settings",
    "/api/v1/summary",
    "/api/v1/devices?size=200",
)


@contextmanager
def filled(count: int, every: int = 1) -> Iterator[tuple[Dashboard, Watch]]:
    """A dashboard with the fleet behind it, of which most hold a session."""
    with a_dashboard(REFERENCES, on_disk=True) as dashboard:
        began = time.perf_counter()
        with dashboard.store._database.write() as session:
            fill(session.connection(), count)
            for line in _decisions([device(number) for number in range(count)]):
                log(session, line)
        _fill_telemetry(dashboard, count, every)
        _fill_alerts(dashboard, count)
        _fill_detectors(dashboard, count)
        dashboard.connect(*(device(number) for number in range(count) if number % 13))
        say(f"filled with {count} devices in {time.perf_counter() - began:.0f} s")
        watch = Watch()
        watch.attach(dashboard)
        dashboard.web.warm_up()  # as a manager does when it starts
        yield dashboard, watch


def _fill_telemetry(dashboard: Dashboard, count: int, every: int) -> None:
    """A month of windows: of every device in the cohorts, of each `every`-th its own too."""
    names = [device(number) for number in range(count)]
    month = Month(
        now=int(START.timestamp()),
        releases={
            name: str(OLD if number % 100 == 0 else NEW) for number, name in enumerate(names)
        },
        sites={name: f"site-{number % 120:03}" for number, name in enumerate(names)},
        windows_of=names[::every],
    )
    path = dashboard.store.telemetry.readings._path
    began = time.perf_counter()
    rows = fill_month(path, month)
    size = sum(each.stat().st_size for each in path.parent.glob(path.name + "*"))
    took = time.perf_counter() - began
    say(f"filled with {rows:,} windows, {size / 2**20:,.0f} MiB of telemetry, in {took:.0f} s")


def _fill_alerts(dashboard: Dashboard, count: int) -> None:
    """Every hundredth device is silent, and one site is away."""
    found = [
        Finding(
            "silent", device(number), f"site-{number % 120:03}", Severity.WARNING, "it is silent"
        )
        for number in range(0, count, 100)
    ]
    found.append(Finding("site_silent", "site-007", "site-007", Severity.CRITICAL, "site away"))
    for minutes in (30, 20, 1):
        now = START - timedelta(minutes=minutes)
        dashboard.store.alerts.apply(
            lambda known, quiet, now=now: look(known, found, quiet, now),  # type: ignore[misc]  # a default binds the loop's value
            lambda _: [],
        )


def _fill_detectors(dashboard: Dashboard, count: int) -> None:
    """A detector for every input of every device, fed once as housekeeping does."""
    drifting = dashboard.offices.drifting
    policy = Policy(run_length(BUDGET_DAYS, 60, len(INPUTS)))
    window = model_window(str(NEW), int(START.timestamp()), 600)
    for name, bins in REFERENCES.of(str(NEW)).items():
        judge = drifting._judge(str(NEW), name, bins, policy)
        for number in range(count):
            stream = (device(number), str(NEW), "cam", name)
            drifting._follow(stream, window.inputs[name], judge, START)


def ask(browser: Any, watch: Watch, path: str) -> Cost:
    """One request."""
    watch.spent, read = 0.0, bytes_read()
    began, worked = time.perf_counter(), time.process_time()
    answer = browser.get(path, accept_encoding="identity")
    took, spent = time.perf_counter() - began, time.process_time() - worked
    assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
    html = len(answer.content)
    return Cost(took * 1000, spent * 1000, watch.spent * 1000, bytes_read() - read, html)


def bytes_read() -> int:
    """What this process ever had to read from a disk."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def say(text: str) -> None:
    """One line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def drop_caches(dashboard: Dashboard) -> None:
    """Forget what is held of the disk: by telemetry's connections and by the system."""
    dashboard.store.telemetry.readings.close()
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def measure(dashboard: Dashboard, watch: Watch, *, dropping: bool) -> list[str]:
    """Print a line for every page; returns those that are slower than they may be."""
    browser, slow = dashboard.browser("ada"), []
    say(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    say(
        f"{'page':<62}{'cold ms':>9}{'CPU ms':>8}{'read MiB':>9}"
        f"{'warm ms':>9}{'CPU ms':>8}{'query ms':>9}{'KiB':>8}{'gzip':>7}"
    )
    for path in PAGES:
        if dropping:
            drop_caches(dashboard)
        cold = ask(browser, watch, path)
        warm = [ask(browser, watch, path) for _ in range(WARM)]
        middle = statistics.median(each.total_ms for each in warm)
        query = statistics.median(each.query_ms for each in warm)
        spent = statistics.median(each.cpu_ms for each in warm)
        packed = len(gzip.compress(browser.get(path).content, 5)) / 1024
        first = f"{cold.total_ms:9.0f}{cold.cpu_ms:8.0f}{cold.read / 2**20:9.1f}"
        times = f"{first}{middle:9.0f}{spent:8.0f}{query:9.0f}"
        say(f"{path[:61]:<62}{times}{cold.html / 1024:8.1f}{packed:7.1f}")
        if max(cold.total_ms, middle) > LIMIT_MS:
            slow.append(path)
    return slow


def main() -> int:
    """Print the table; 1 when a page is slower than it may be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=1, help="windows of each N-th device only")
    parser.add_argument("--drop-caches", action="store_true", help="before each cold request")
    arguments = parser.parse_args()
    with filled(arguments.devices, arguments.every) as (dashboard, watch):
        slow = measure(dashboard, watch, dropping=arguments.drop_caches)
    say(f"slower than {LIMIT_MS} ms: {', '.join(slow) or 'none'}")
    return 1 if slow else 0


if __name__ == "__main__":
    raise SystemExit(main())

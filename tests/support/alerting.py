"""Fleets with something wrong, and a receiver of webhooks and mail that keeps what it gets."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from sealane.failure import Failure, FailureKind
from sealane_manager.alerts.types import DeviceHealth, Finding, Health, Severity, SlotTrouble
from sealane_manager.errors import Unreachable
from sealane_manager.store.telemetry.records import Latest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.alerts.types import RolloutHealth

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
HEARTBEAT_S = 10.0


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def a_device(name: str = "box-1", **changes: Any) -> DeviceHealth:
    """Connected and well."""
    fields: dict[str, Any] = {"site": "berlin", "reachable": True, "last_seen": ago(1)}
    return DeviceHealth(name, **fields | changes)


def away(name: str, site: str = "berlin", seconds: float = 120) -> DeviceHealth:
    return a_device(name, site=site, reachable=False, last_seen=ago(seconds))


def a_latest(**changes: Any) -> Latest:
    """A newest window without anything odd in it."""
    fields: dict[str, Any] = {
        "device": "box-1",
        "start": int(ago(60).timestamp()),
        "seconds": 60,
        "received": int(NOW.timestamp()),
        "requests": 100,
        "errors": 0,
        "p99": 1000.0,
        "cpu": 0.3,
        "memory": 0.4,
        "disk": 0.5,
        "temperature": 50.0,
        "clock_offset": 0.01,
        "throttled": 0,
        "restarts": 0,
    }
    return Latest(**fields | changes)


def a_trouble(state: str = "failed", component: str = "runtime", **changes: Any) -> SlotTrouble:
    fields: dict[str, Any] = {
        "kind": FailureKind.PERMANENT,
        "phase": "staged",
        "component": component,
        "element": "x",
        "message": "it does not load",
    }
    return SlotTrouble("cam", state, "vision/defect@7", Failure(**fields | changes))


def a_fleet(*devices: DeviceHealth, rollouts: tuple[RolloutHealth, ...] = ()) -> Health:
    return Health(NOW, HEARTBEAT_S, devices, rollouts)


def a_finding(subject: str = "box-1", rule: str = "crash_loop", site: str = "berlin") -> Finding:
    """Of a rule that tells at once, unless another is named."""
    return Finding(rule, subject, site, Severity.CRITICAL, f"{subject} is not well")


@dataclass
class FakeChannel:
    """Keeps what it is told; refuses when it is broken."""

    name: str = "people"
    broken: bool = False
    told: list[dict[str, Any]] = field(default_factory=list)

    def send(self, delivery: str, content: dict[str, Any], now: datetime) -> None:
        if self.broken:
            raise Unreachable(f"nobody at home for {delivery} at {now}")
        self.told.append(content)


@dataclass
class Received:
    """Requests that came, and what is answered."""

    address: str = ""
    status: int = 200
    posts: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def receiver() -> Iterator[Received]:
    """An HTTP server on loopback that keeps what is posted."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.posts.append((self.path, dict(self.headers), body))
            self.send_response(received.status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)

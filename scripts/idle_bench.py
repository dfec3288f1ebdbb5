"""Measures what a real agent costs while it does nothing; prints it. Nothing is asserted.

Leaves the device running in the folder that it is given, for `idle_device.py`.

Bytes are counted by a proxy between the agent and a real manager, in both directions, as TCP
carries them; 104 bytes are added for each piece, for TCP and IP headers and the acknowledgement.
The default profile is counted over a minute. The metered one speaks so seldom that its parts are
counted one by one and multiplied: heartbeats, one document and one batch of telemetry a day, and
the renewals of the certificate, each with its new session.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from idle_device import AGENT, Device, print_memory, wait_for
from sealane.bundle.types import ProbationLimits
from sealane.fleet import AssignmentRequest, Heartbeat, Hello, SlotReport
from sealane.names import ReleaseName, SlotName
from sealane.telemetry.codec import encode_windows
from sealane.telemetry.types import TelemetryBatch
from sealane_agent.config import IdentityFiles
from sealane_agent.facts import device_facts
from sealane_agent.identity.lifetime import RENEW_AT
from sealane_agent.identity.passport import Passport
from sealane_agent.layout import LKG
from sealane_agent.uplink import rpc
from sealane_agent.uplink.profile import METERED
from sealane_manager.bundle.publish import PublishOrder, publish
from sealane_manager.rollout.types import RolloutSpec, Stage
from sealane_manager.trust.keys import key_path, load_signer
from support.bundles import TINY_MODEL, tiny_bundle
from support.manager import FAMILY, SLOT, running_manager
from support.telemetry import plain_window

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane_agent.layout import StateFolder
    from support.manager import RunningManager

HEADERS: Final = 104
COUNTED_S: Final = 60.0
SETTLE_S: Final = 10.0
DAY_S: Final = 86_400
MONTH_DAYS: Final = 30
TELEMETRY_WINDOWS: Final = 8
HEARTBEATS: Final = 20
RENEWALS_A_DAY: Final = DAY_S / (METERED.certificate_s * RENEW_AT)


class Meter:
    """A proxy on loopback that counts what goes through it."""

    def __init__(self, target: str) -> None:
        self.bytes = self.pieces = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        listening = asyncio.start_server(self._join, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    @property
    def wire(self) -> int:
        """Bytes so far, with headers."""
        return self.bytes + HEADERS * self.pieces

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target.rpartition(":")
        try:
            there, back = await asyncio.open_connection(host, int(port))
        except OSError:  # the manager is away
            writer.close()
            return
        await asyncio.gather(self._carry(reader, back), self._carry(there, writer))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(65_536):
            self.bytes += len(piece)
            self.pieces += 1
            sink.write(piece)
        sink.close()


def main() -> None:
    """Measure and print."""
    folder = Path(sys.argv[1])
    device = Device(folder)
    with running_manager(folder / "m") as manager:
        meter = enrolled(manager, device.state)
        device.begin()
        try:
            roll_out(manager, folder)
            wait_for(lambda: is_committed(device.state))
            print_idle(meter, device)
        finally:
            device.end()
        print_metered(meter, device.state)
        device.begin()
        try:
            time.sleep(SETTLE_S)
        except BaseException:
            device.end()
            raise


def print_idle(meter: Meter, device: Device) -> None:
    """The default profile: a minute of nothing, counted."""
    time.sleep(SETTLE_S)
    pids = device.processes()
    before, cpu = meter.wire, {role: cpu_s(pid) for role, pid in pids.items()}
    time.sleep(COUNTED_S)
    sent = meter.wire - before
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for role, pid in pids.items():
        print(f"{role} while idle: {(cpu_s(pid) - cpu[role]) / COUNTED_S:.2%} of a core")
    print("beside the manager and this script, which share pages of libraries with them:")
    print_memory(device)
    print_bytes("default profile", sent / COUNTED_S * DAY_S)


def print_metered(meter: Meter, state: StateFolder) -> None:
    """The metered profile, part by part."""
    files = IdentityFiles(state.identity)
    passport = Passport(files, files.read())
    parts = asyncio.run(metered_parts(meter, passport))
    renewal = counted(meter, lambda: rpc.renew(passport.membership, passport.request()))
    beats = DAY_S / (METERED.heartbeat_s * 0.9)
    day = {
        f"{beats:.0f} heartbeats": beats * parts["heartbeat"],
        "one document": parts["document"],
        "one batch of telemetry": parts["telemetry"],
        f"{RENEWALS_A_DAY:.2f} renewals and sessions": RENEWALS_A_DAY
        * (renewal + parts["session"]),
    }
    for what, size in day.items():
        print(f"  metered, {what}: {size / 1e3:.1f} kB a day")
    print_bytes("metered profile", sum(day.values()))


async def metered_parts(meter: Meter, passport: Passport) -> dict[str, float]:
    """Bytes of a session's beginning, a heartbeat, a document and a batch of telemetry."""
    reports = (SlotReport(SlotName("cam"), "committed", "demo/tiny@1", "demo/tiny@1"),)
    found: dict[str, float] = {}
    start = meter.wire
    line = rpc.Line(passport.membership, METERED)
    await line.say(Hello("0.1.0", "boot", device_facts(), reports, heartbeat_s=1800.0))
    await line.hear()
    await settled(meter)
    found["session"] = meter.wire - start
    start = meter.wire
    for _ in range(HEARTBEATS):
        await line.say(Heartbeat(reports))
        await asyncio.sleep(0.05)
    await settled(meter)
    found["heartbeat"] = (meter.wire - start) / HEARTBEATS
    start = meter.wire
    await line.say(AssignmentRequest("0" * 32))
    await line.hear()
    downloads = rpc.Downloads(lambda: passport.membership, METERED)
    await asyncio.to_thread(lambda: b"".join(downloads.metadata("timestamp.json")))
    await settled(meter)
    found["document"] = meter.wire - start
    start = meter.wire
    hour = int(time.time()) // 3600 * 3600
    windows = [plain_window(minute=minute) for minute in range(TELEMETRY_WINDOWS)]
    recent = [replace(each, start=hour - 60 * at) for at, each in enumerate(windows)]
    body = encode_windows(recent)
    await line.say(TelemetryBatch("boot", 1, body))
    await line.hear()
    await settled(meter)
    found["telemetry"] = meter.wire - start
    await line.close()
    await asyncio.to_thread(downloads.close)
    return found


async def settled(meter: Meter) -> None:
    """Until nothing has gone through for a moment."""
    before = -1
    while before != meter.wire:
        before = meter.wire
        await asyncio.sleep(0.3)


def counted(meter: Meter, work: Callable[[], object]) -> int:
    """Bytes that it costs."""
    before = meter.wire
    work()
    time.sleep(0.5)
    return meter.wire - before


def print_bytes(what: str, a_day: float) -> None:
    """One line."""
    print(f"{what}: {a_day / 1e3:.1f} kB a day, {a_day * MONTH_DAYS / 1e6:.2f} MB a month")


# A manager, a device and its processes


def enrolled(manager: RunningManager, state: StateFolder) -> Meter:
    """Make a device whose manager is behind a meter."""
    token = manager.token().encode()
    order = (*AGENT, "enroll", "--state", str(state.root), "--token", token)
    subprocess.run(order, check=True, stdout=subprocess.DEVNULL)
    path = IdentityFiles(state.identity).description
    fields = json.loads(path.read_bytes())
    meter = Meter(fields["fleet_address"])
    path.write_text(json.dumps(fields | {"fleet_address": meter.address}))
    return meter


def roll_out(manager: RunningManager, folder: Path) -> None:
    """Publish a release and send it to every device."""
    release = ReleaseName(TINY_MODEL, 1)
    layout = tiny_bundle(folder / "bundle", 1, ProbationLimits(seconds=1))
    signer = load_signer(key_path(manager.state.keys, FAMILY))
    with manager.operator() as operator:
        publish(PublishOrder(layout, release, (SLOT,), {}), operator, signer, lambda *_: None)
        spec = RolloutSpec(release, SLOT, "", (Stage(percent=100),), timedelta(0))
        operator.create_rollout(spec)


def is_committed(state: StateFolder) -> bool:
    """Whether the release is the last known good one."""
    return state.pointer(SLOT, LKG).is_file()


def cpu_s(pid: int) -> float:
    """Seconds of a core that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()

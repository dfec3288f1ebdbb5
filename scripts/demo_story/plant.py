"""A plant on loopback: one manager, some devices, one slot; driven by the real command lines."""

from __future__ import annotations

import json
import secrets
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil

from demo_story.processes import BIN, Processes, read_json, wait_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable
    from pathlib import Path

MODEL = "digits/classifier"
SLOT = "digits"


class Plant:
    """Folders and processes of one plant; everything lies below one folder."""

    def __init__(self, folder: Path, processes: Processes | None = None) -> None:
        self.folder = folder
        self.state = folder / "manager"
        self.processes = processes or Processes(folder)
        self.manager: subprocess.Popen[bytes] | None = None
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        self.link_rate_kb = 0
        self._ports = {"fleet": "0", "enrol": "0", "operator": "0", "dashboard": "0"}

    def init(self) -> None:
        """`sealane init`, once."""
        self.processes.sealane(
            *("init", str(self.state), "--fleet", "demo", "--host", "127.0.0.1"),
            *("--family", MODEL.partition("/")[0]),
        )

    def start_manager(self) -> None:
        """`sealane serve`; after the first time on the same ports again."""
        addresses = self.state / "run" / "serve.json"
        addresses.unlink(missing_ok=True)
        ports = [f"--{name}-port={port}" for name, port in self._ports.items()]
        self.manager = self.processes.start(
            "manager", str(BIN / "sealane"), "serve", str(self.state), *ports
        )
        found = self.processes.wait_for("manager", lambda: read_json(addresses))
        self._ports = {name: found[name].rpartition(":")[2] for name in self._ports}

    def add_user(self, name: str, role: str) -> str:
        """`sealane user add`; returns the password."""
        password = secrets.token_urlsafe(12)
        self.processes.sealane(
            *("user", "add", name, "--role", role, "--state", str(self.state)),
            "--password-stdin",
            typed=f"{password}\n",
        )
        return password

    @property
    def dashboard(self) -> str:
        """The address of the dashboard."""
        found = wait_for("the dashboard", lambda: read_json(self.state / "run" / "serve.json"))
        return f"https://{found['dashboard']}/"

    def enrol(self, device: str, *labels: str) -> None:
        """A join token for the device and `sealane-agent enroll`."""
        options = [f"--label={label}" for label in labels]
        token = self.processes.sealane("device", "token", *options).strip()
        state = str(self.folder / device)
        self.processes.agent("enroll", "--state", state, "--name", device, "--token", token)

    def start_agent(self, device: str) -> None:
        """`sealane-agent run` on any free ports, its downloads as slow as this plant's link."""
        self.agents[device] = self.processes.start(
            device,
            *(str(BIN / "sealane-agent"), "run", "--state", str(self.folder / device)),
            *("--rest", "127.0.0.1:0", "--grpc", "127.0.0.1:0"),
            SEALANE_AGENT_LINK_RATE=str(self.link_rate_kb),
        )

    def connected(self) -> int:
        """How many devices hold a session."""
        rows = json.loads(self.processes.sealane("device", "list", "-o", "json"))
        return sum(row["connected"] for row in rows)

    def wait_connected(self, devices: int) -> None:
        """Until so many devices hold a session."""
        wait_for(f"{devices} devices", lambda: self.connected() == devices or None)

    def pack(self, onnx: Path, data: Path, *options: str) -> Path:
        """`sealane bundle pack` beside the model; returns the layout."""
        out = self.folder / f"bundle-{onnx.stem}"
        self.processes.sealane(
            *("bundle", "pack", str(onnx), "--model", MODEL, "--data", str(data)),
            *("--out", str(out), *options),
        )
        return out

    def publish(self, layout: Path, version: int) -> None:
        """`sealane bundle publish` for the one slot."""
        release = f"{MODEL}@{version}"
        self.processes.sealane(
            "bundle", "publish", str(layout), "--release", release, "--slot", SLOT
        )

    def tamper(self, layout: Path) -> None:
        """Change one bit of the published model's stored bytes, behind the manager's back."""
        blobs = (layout / "blobs" / "sha256").iterdir()
        largest = max(blobs, key=lambda blob: blob.stat().st_size)
        stored = self.state / "blobs" / "sha256" / largest.name
        content = bytearray(stored.read_bytes())
        content[len(content) // 2] ^= 0x01
        stored.chmod(0o600)
        stored.write_bytes(content)

    def start_rollout(self, version: int, stages: str, *options: str) -> str:
        """`sealane rollout start`; returns the rollout's id."""
        started = self.processes.sealane(
            *("rollout", "start", f"{MODEL}@{version}", "--slot", SLOT),
            *("--stages", stages, *options, "-o", "json"),
        )
        return str(json.loads(started)["id"])

    def rollout(self, rollout: str) -> dict[str, Any]:
        """`sealane rollout show`."""
        shown: dict[str, Any] = json.loads(
            self.processes.sealane("rollout", "show", rollout, "-o", "json")
        )
        return shown

    def wait_ended(self, rollout: str, patience_s: float = 120.0) -> dict[str, Any]:
        """Until the rollout has ended, by `sealane rollout watch`; returns it."""
        self.processes.watch(rollout, patience_s)
        return self.rollout(rollout)

    def endpoint(self, device: str) -> dict[str, str]:
        """The addresses on which a device answers."""
        path = self.folder / device / "run" / "endpoint.json"
        return wait_for(f"the endpoint of {device}", lambda: read_json(path))

    def worker(self, device: str) -> psutil.Process:
        """The worker process that was started last on a device; it may be on its way back."""
        endpoint = psutil.Process(int(self.endpoint(device)["pid"]))
        return wait_for(f"a worker on {device}", lambda: _last_worker(endpoint))

    def start_traffic(self, data: Path, devices: Iterable[str], pause_ms: float = 20) -> Path:
        """The stock client sends rows of `data` to every device; returns its log."""
        targets = [self._target(number, device) for number, device in enumerate(devices)]
        listed = self.folder / "targets.json"
        listed.write_text(json.dumps(targets))
        log = self.folder / "traffic.csv"
        self.processes.start(
            "traffic",
            *(sys.executable, "-m", "demo_story.traffic", "--log", str(log)),
            *("--targets", str(listed), "--data", str(data), "--pause-ms", str(pause_ms)),
        )
        self.processes.wait_for(
            "traffic", lambda: (log.exists() and log.stat().st_size > 0) or None
        )
        return log

    def _target(self, number: int, device: str) -> dict[str, str]:
        protocol = "grpc" if number == 0 else "rest"
        address = self.endpoint(device)[protocol]
        return {"device": device, "protocol": protocol, "address": address}

    def stop(self) -> None:
        """Stop every process."""
        self.processes.stop()


def _last_worker(endpoint: psutil.Process) -> psutil.Process | None:
    try:
        workers = [
            child
            for child in endpoint.children()
            if child.status() != psutil.STATUS_ZOMBIE and "sealane_agent.worker" in child.cmdline()
        ]
    except psutil.NoSuchProcess:
        return None
    return max(workers, key=psutil.Process.create_time, default=None)


def let_answer(seconds: float) -> None:
    """Let the traffic go on for a while."""
    time.sleep(seconds)

"""A fleet on booted machines: the packages installed, driven as its operator would."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from realworld.machine import Box, BoxError, children, eventually

if TYPE_CHECKING:
    from demo_story.models import Models
    from realworld.network import Network

STATE: Final = "/var/lib/sealane"
MODEL: Final = "digits/classifier"
SLOT: Final = "digits"
DEVICES: Final = ("one", "two", "three")
ENDED: Final = ("succeeded", "aborted", "reverted", "superseded", "failed")


@dataclass(frozen=True, slots=True)
class Clock:
    """Says how long things took, for people who read the output."""

    began: float

    def say(self, text: str) -> None:
        """One line with the time since the beginning."""
        sys.stdout.write(f"  [{time.monotonic() - self.began:6.1f} s] {text}\n")
        sys.stdout.flush()


class Fleet:
    """A manager and three devices, each a machine."""

    def __init__(self, folder: Path, network: Network, prefix: str) -> None:
        self.folder, self.network = folder, network
        self.clock = Clock(time.monotonic())
        names = {name: f"{prefix}-{name}" for name in ("manager", *DEVICES)}
        self.boxes = {
            name: Box(full, folder / name, network.join(full)) for name, full in names.items()
        }

    @property
    def manager(self) -> Box:
        """The manager's machine."""
        return self.boxes["manager"]

    @property
    def devices(self) -> dict[str, Box]:
        """The devices' machines."""
        return {name: self.boxes[name] for name in DEVICES}

    def boot(self) -> None:
        """Build and boot every machine."""
        for box in self.boxes.values():
            box.build()
            box.start()
        for box in self.boxes.values():
            box.wait_up()
        self.clock.say(f"{len(self.boxes)} machines are up")

    def install(self, packages: dict[str, Path]) -> dict[str, float]:
        """Install the packages everywhere at once; returns how long each machine took."""
        work = {"manager": ["sealane-manager"], **{name: ["sealane-agent"] for name in DEVICES}}
        with ThreadPoolExecutor() as pool:
            took = dict(
                zip(
                    work,
                    pool.map(
                        lambda item: install(self.boxes[item[0]], *(packages[n] for n in item[1])),
                        work.items(),
                    ),
                    strict=True,
                )
            )
        self.clock.say("installed: " + ", ".join(f"{name} {s:.1f} s" for name, s in took.items()))
        return took

    def begin(self) -> None:
        """A fleet's trust and its manager."""
        self.manager.run(
            *("sealane", "init", STATE, "--fleet", "plant", "--host", self.manager.address),
            *("--family", MODEL.partition("/")[0]),
        )
        self.manager.run("systemctl", "start", "sealane-manager")
        self.clock.say("the manager runs")

    def enrol(self, device: str) -> None:
        """A token in its file is all that a device needs."""
        box = self.boxes[device]
        token = self.sealane("device", "token", "--label", f"place={device}").strip()
        box.write("/etc/sealane/join-token", f"{token}\n", mode=0o600)
        box.run("systemctl", "start", "sealane-enroll")

    def sealane(self, *arguments: str) -> str:
        """The operator's command line on the manager's machine."""
        return self.manager.run("sealane", *arguments, variables={"SEALANE_STATE": STATE})

    def publish(self, models: Models, version: int, *options: str) -> None:
        """Pack and publish one release on the manager's machine."""
        release = models.releases[version]
        onnx = self.manager.copy(release.onnx, "/srv/models")
        data = self.manager.copy(release.data, "/srv/models")
        layout = f"/srv/models/bundle-{version}"
        self.sealane(
            *("bundle", "pack", onnx, "--model", MODEL, "--data", data, "--out", layout),
            *("--probation-seconds", "3", *options),
        )
        self.sealane("bundle", "publish", layout, "--release", f"{MODEL}@{version}", "--slot", SLOT)

    def roll_out(self, version: int, stages: str, *options: str) -> dict[str, Any]:
        """Start a rollout and wait for its end."""
        began = time.monotonic()
        started = self.sealane(
            *("rollout", "start", f"{MODEL}@{version}", "--slot", SLOT, "--stages", stages),
            *("--soak", "2s", "--max-failed", "0", *options, "-o", "json"),
        )
        rollout = str(json.loads(started)["id"])

        def ended() -> dict[str, Any] | None:
            shown: dict[str, Any] = json.loads(
                self.sealane("rollout", "show", rollout, "-o", "json")
            )
            return shown if shown["state"] in ENDED else None

        shown = eventually(f"rollout {rollout} ends", ended, 120)
        took = time.monotonic() - began
        self.clock.say(f"{MODEL}@{version} in stages {stages}: {shown['state']} in {took:.1f} s")
        return shown

    def connected(self) -> int:
        """How many devices hold a session."""
        rows = json.loads(self.sealane("device", "list", "-o", "json"))
        return sum(row["connected"] for row in rows)

    def wait_connected(self, devices: int) -> None:
        """Until so many devices hold a session."""
        eventually(f"{devices} devices", lambda: self.connected() == devices or None)

    def stop(self) -> None:
        """Shut every machine down and take it away."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(Box.stop, self.boxes.values()))
        for box in self.boxes.values():
            box.remove()


def install(box: Box, *packages: Path) -> float:
    """`dpkg -i`; returns how many seconds it took."""
    inside = [box.copy(package, "/srv/packages") for package in packages]
    began = time.monotonic()
    box.run("dpkg", "--install", *inside)
    return time.monotonic() - began


def serving_release(box: Box) -> str | None:
    """The release that answers one request on a device; None when none does."""
    pixels = {"name": "pixels", "shape": [1, 64], "datatype": "FP32", "data": [0] * 64}
    asked = box.try_run(
        *("curl", "--silent", "--fail", "--data", json.dumps({"inputs": [pixels]})),
        f"http://127.0.0.1:8000/v2/models/{SLOT}/infer",
    )
    return None if asked.returncode else str(json.loads(asked.stdout)["model_version"])


def worker_of(box: Box) -> int:
    """The newest worker process of a box's endpoint, by this machine's numbers; raises BoxError."""
    endpoint = box.host_pid(box.main_pid("sealane-endpoint"))
    workers = [pid for pid in children(endpoint) if b"sealane_agent.worker" in _words(pid)]
    if not workers:
        raise BoxError(f"{box.name}: its endpoint has no worker")
    return max(workers)


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []

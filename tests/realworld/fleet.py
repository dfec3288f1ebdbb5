"""A fleet on booted machines: the packages installed, driven as its operator would."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from realworld.machine import Box, BoxError, children, command, eventually

if TYPE_CHECKING:
    from demo_story.models import Models
    from realworld.network import Network

STATE: Final = "/var/lib/sealane"
MODEL: Final = "digits/classifier"
SLOT: Final = "digits"
OPERATOR: Final = {"SEALANE_STATE": STATE}
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
            *("--family", MODEL.partition("/")[0], "--family", "sealane"),
        )
        self.manager.run("systemctl", "start", "sealane-manager")
        self.clock.say("the manager runs")

    def enrol(self, device: str) -> None:
        """A token in its file is all that a device needs."""
        box = self.boxes[device]
        self.give_token(box, device)
        box.run("systemctl", "start", "sealane-enroll")

    def give_token(self, box: Box, place: str) -> None:
        """Put a token on a machine that labels it with a place."""
        token = self.sealane("device", "token", "--label", f"place={place}").strip()
        box.write("/etc/sealane/join-token", f"{token}\n", mode=0o600)

    def join(self, name: str, folder: Path) -> Box:
        """Another machine in the fleet's network; not built, and its caller's to remove."""
        full = f"{self.manager.name.removesuffix('manager')}{name}"
        return Box(full, folder / name, self.network.join(full))

    def leave(self, place: str) -> None:
        """Revoke the devices of a place, so that no rollout waits for a machine that is gone."""
        listed = self.sealane("device", "list", "-o", "json", "--selector", f"place={place}")
        for row in json.loads(listed):
            self.sealane("device", "revoke", row["id"], "--reason", "its machine is gone")

    def sealane(self, *arguments: str) -> str:
        """The operator's command line on the manager's machine."""
        return self.manager.run("sealane", *arguments, variables=OPERATOR)

    def publish(self, models: Models, version: int, *options: str) -> None:
        """Pack and publish one release on the manager's machine."""
        release = models.releases[version]
        self.release(f"{MODEL}@{version}", release.onnx, release.data, SLOT, *options)

    def release(self, name: str, onnx: Path, data: Path, slot: str, *options: str) -> None:
        """Pack and publish anything on the manager's machine."""
        inside = [self.manager.copy(path, "/srv/models") for path in (onnx, data)]
        layout = f"/srv/models/{name.replace('/', '-')}"
        self.sealane(
            *("bundle", "pack", inside[0], "--data", inside[1], "--out", layout),
            *("--model", name.partition("@")[0], "--probation-seconds", "3", *options),
        )
        self.sealane("bundle", "publish", layout, "--release", name, "--slot", slot)

    def release_agent(self, number: int, package: Path, added: str = "") -> str:
        """Publish the version in a package as a release; `added` runs when it is imported."""
        box, tree = self.manager, f"/srv/agent-{number}"
        inside = box.copy(package, "/srv/packages")
        box.run("dpkg-deb", "--extract", inside, tree)
        versions = f"{tree}/usr/lib/sealane-agent/*/lib"
        found = box.run("sh", "-c", f"ls -d {versions}").strip().removesuffix("/lib")
        program = next((box.root / found.lstrip("/")).rglob("sealane_agent/app.py"))
        program.write_text(f"{program.read_text()}\n{added}\n")
        release, layout = f"sealane/agent@{number}", f"/srv/agent-bundle-{number}"
        self.sealane("agent", "pack", found, "--out", layout, "--probation-seconds", "3")
        self.sealane("bundle", "publish", layout, "--release", release)
        return release

    def roll_out(self, version: int, stages: str, *options: str) -> dict[str, Any]:
        """Roll a release of the usual model out to its slot and wait for the end."""
        return self.roll(f"{MODEL}@{version}", SLOT, "--stages", stages, *options)

    def roll(self, release: str, slot: str, *options: str) -> dict[str, Any]:
        """Start a rollout and wait for its end."""
        began = time.monotonic()
        started = self.sealane(
            *("rollout", "start", release, "--slot", slot),
            *("--soak", "2s", "--max-failed", "0", *options, "-o", "json"),
        )
        rollout = str(json.loads(started)["id"])
        self.manager.try_run("sealane", "rollout", "watch", rollout, variables=OPERATOR)
        shown: dict[str, Any] = json.loads(self.sealane("rollout", "show", rollout, "-o", "json"))
        assert shown["state"] in ENDED, shown
        took = time.monotonic() - began
        self.clock.say(f"rollout of {release}: {shown['state']} in {took:.1f} s")
        return shown

    def connected(self, *selector: str) -> int:
        """How many devices hold a session."""
        rows = json.loads(self.sealane("device", "list", "-o", "json", *selector))
        return sum(row["connected"] for row in rows)

    def wait_connected(self, devices: int, *selector: str) -> None:
        """Until so many devices hold a session."""
        eventually(f"{devices} devices", lambda: self.connected(*selector) == devices or None)

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


def broken_package(package: Path, folder: Path) -> Path:
    """The same package, but with a supervisor that ends as soon as it begins."""
    tree = folder / "tree"
    command("dpkg-deb", "--raw-extract", str(package), str(tree))
    program = next(tree.rglob("sealane_agent/app.py"))
    program.write_text(f"raise SystemExit(3)\n{program.read_text()}")
    made = folder / package.name
    command("dpkg-deb", "-Znone", "--build", str(tree), str(made))
    return made


def serving_release(box: Box) -> str | None:
    """The release that answers one request on a device; None when none does."""
    return answer_of(box, SLOT)


def answer_of(box: Box, slot: str, rows: int = 1) -> str | None:
    """The release that answers a request of some rows; None when none does."""
    data = [0] * (64 * rows)
    pixels = {"name": "pixels", "shape": [rows, 64], "datatype": "FP32", "data": data}
    asked = box.try_run(
        *("curl", "--silent", "--fail", "--max-time", "60", "--data", "@-"),
        f"http://127.0.0.1:8000/v2/models/{slot}/infer",
        given=json.dumps({"inputs": [pixels]}),
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

"""On a kernel with control groups of version 2, a worker that grows is ended by its own limit.

The real package on a booted Debian, a manager on this machine. The endpoint and the other worker
live on, and the manager reads from the device why the release went back.
"""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import pytest
import support.control_group_suite as suite
from demo_story.models import make_models
from demo_story.plant import MODEL, SLOT, Plant
from demo_story.processes import BIN, read_json
from extended.virtual import HOST, Virtual, eventually
from realworld.conftest import build_packages
from realworld.hungry import ROWS, hungry_model
from support.story_plant import running

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S: Final = 900.0
HUNGRY: Final = "digits/hungry"
PYTHON: Final = "/usr/lib/sealane-agent/current/bin/python3 -I"
GROUP: Final = "/sys/fs/cgroup/system.slice/sealane-endpoint.service"
TIGHT_MIB: Final = 150
"""Less than a probation tolerates: what ends the worker is its limit, not the watch over it."""

LIMIT: Final = "it reached its limit of"
SETTINGS: Final = '[endpoint]\nrest = "0.0.0.0:8000"\n'


class Lab(Plant):
    """A manager on this machine whose only device has a kernel of its own."""

    def init(self) -> None:
        """It answers under the address at which the device finds this machine."""
        self.processes.sealane(
            *("init", str(self.state), "--fleet", "lab", "--family", MODEL.partition("/")[0]),
            *("--host", HOST, "--host", "127.0.0.1"),
        )

    def start_manager(self) -> None:
        """`sealane serve` on loopback; operators on this machine reach it there."""
        addresses = self.state / "run" / "serve.json"
        ports = [f"--{name}-port=0" for name in ("fleet", "enrol", "operator", "dashboard")]
        where = ("--host", HOST, "--listen", "127.0.0.1")
        command = (str(BIN / "sealane"), "serve", str(self.state), *where, *ports)
        self.manager = self.processes.start("manager", *command)
        found = self.processes.wait_for("manager", lambda: read_json(addresses))
        context = self.state / "operator" / "context.json"
        fields = json.loads(context.read_text())
        fields["address"] = found["operator"].replace(HOST, "127.0.0.1")
        context.write_text(json.dumps(fields))

    def release(self, name: str, files: tuple[Path, Path], slot: str, seconds: int) -> None:
        """Pack and publish a model."""
        out = self.folder / f"bundle-{name.replace('/', '-')}"
        self.processes.sealane(
            *("bundle", "pack", str(files[0]), "--model", name.partition("@")[0]),
            *("--data", str(files[1]), "--out", str(out), "--probation-seconds", str(seconds)),
        )
        command = ("bundle", "publish", str(out), "--release", name, "--slot", slot)
        self.processes.sealane(*command)

    def roll(self, name: str, slot: str) -> str:
        """Start a rollout to every device; returns its id."""
        started = self.processes.sealane(
            *("rollout", "start", name, "--slot", slot, "--stages", "100%", "--soak", "0s"),
            *("-o", "json"),
        )
        return str(json.loads(started)["id"])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(Lab(tmp_path_factory.mktemp("lab"))) as built:
        yield built


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Iterator[Virtual]:
    """A device that serves a small model and one that is hungry."""
    folder = lab.folder
    package = build_packages(folder / "packages", "sealane-agent", "--suite", "deb12")
    token = lab.processes.sealane("device", "token").strip()
    files = {"etc/sealane/join-token": f"{token}\n", "etc/sealane/agent.toml": SETTINGS}
    found = Virtual(folder / "machine")
    found.folder.mkdir()
    found.build(package["sealane-agent"], files)
    try:
        found.start()
        eventually("a session", lambda: lab.connected() == 1 or None, PATIENCE_S)
        first = make_models(folder).releases[1]
        lab.release(f"{MODEL}@1", (first.onnx, first.data), SLOT, 1)
        lab.release(f"{HUNGRY}@1", hungry_model(folder), "hungry", 1)
        for name, slot in ((f"{MODEL}@1", SLOT), (f"{HUNGRY}@1", "hungry")):
            assert lab.wait_ended(lab.roll(name, slot), PATIENCE_S)["state"] == "succeeded"
        yield found
    finally:
        found.stop()


def ask(machine: Virtual, slot: str, rows: int = 1) -> int:
    """Ask a slot about some rows; the status of the answer."""
    data = [0] * (64 * rows)
    pixels = {"name": "pixels", "shape": [rows, 64], "datatype": "FP32", "data": data}
    with closing(http.client.HTTPConnection(machine.rest, timeout=PATIENCE_S)) as connection:
        body = json.dumps({"inputs": [pixels]})
        connection.request("POST", f"/v2/models/{slot}/infer", body)
        return connection.getresponse().status


def answers(machine: Virtual, *slots: str) -> bool | None:
    """Whether each slot answers by now, while the endpoint may just be starting."""
    try:
        return all(ask(machine, slot) == 200 for slot in slots) or None
    except OSError:
        return None


@dataclass
class Line:
    """Somebody who asks the small model all the time."""

    machine: Virtual
    statuses: list[int] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.is_set():
            self.statuses.append(ask(self.machine, SLOT))


def workers(machine: Virtual) -> dict[str, str]:
    """Each worker's group, with its process."""
    said = machine.run(
        f"cd {GROUP}\nfor each in worker-*; do echo $each $(cat $each/cgroup.procs); done"
    )
    return dict(line.split() for line in said.splitlines() if " " in line)


def endpoint_of(machine: Virtual) -> str:
    return machine.run("systemctl show sealane-endpoint -p MainPID --value").strip()


def test_each_worker_has_a_group_with_a_limit_and_the_doctor_says_so(machine: Virtual) -> None:
    assert len(workers(machine)) == 2
    limits = machine.run(f"cat {GROUP}/worker-*/memory.max")
    assert all(int(each) > 0 for each in limits.split())
    leaf = machine.run(f"cat {GROUP}/endpoint/cgroup.procs")
    assert leaf.split() == [endpoint_of(machine)]
    said = machine.run("sealane-agent doctor || true")
    assert "a worker that takes too much is ended alone" in said
    outside = machine.run(
        "nsenter -t $(systemctl show sealane-endpoint -p MainPID --value) -m"
        " sh -c 'mkdir /sys/fs/cgroup/outside 2>&1 || true'"
    )
    assert "Read-only file system" in outside


def test_the_kernel_keeps_what_the_fake_promises(machine: Virtual) -> None:
    machine.run(f"cat > /suite.py <<'END'\n{Path(suite.__file__).read_text()}\nEND")
    said = machine.run(
        "systemd-run --quiet --pipe --wait -p Delegate='cpu memory' -p User=sealane-agent"
        f" {PYTHON} /suite.py"
    )
    assert said.count("held: ") == len(suite.SUITE), said


def test_a_worker_that_grows_is_ended_alone(machine: Virtual) -> None:
    before, endpoint = workers(machine), endpoint_of(machine)
    with Line(machine) as line:
        assert ask(machine, "hungry", ROWS) == 503
        eventually("an answer", lambda: ask(machine, "hungry") == 200 or None, PATIENCE_S)
    assert set(line.statuses) == {200}
    after = workers(machine)
    assert endpoint_of(machine) == endpoint
    kept = {name for name in before if before[name] == after.get(name)}
    assert [name.partition("-")[2].rpartition("-")[0] for name in kept] == [SLOT]
    assert LIMIT in machine.run("journalctl --no-pager -u sealane-endpoint -n 50")


def test_a_release_that_breaks_its_limit_goes_back_and_the_manager_reads_why(
    lab: Lab, machine: Virtual
) -> None:
    machine.run(
        f"printf '[worker]\\nmemory = {TIGHT_MIB}\\n' >> /etc/sealane/agent.toml\n"
        "systemctl restart sealane-endpoint"
    )
    eventually("answers", lambda: answers(machine, SLOT, "hungry"), PATIENCE_S)
    limits = machine.run(f"cat {GROUP}/worker-*/memory.max").split()
    assert limits == [str(TIGHT_MIB * 2**20)] * 2
    lab.release(f"{HUNGRY}@2", hungry_model(lab.folder), "hungry", 600)
    rollout = lab.roll(f"{HUNGRY}@2", "hungry")

    def on_probation() -> bool | None:
        (device,) = lab.rollout(rollout)["devices"]
        return device["state"] == "probation" or None

    eventually("probation", on_probation, PATIENCE_S)
    with Line(machine) as line:
        ask(machine, "hungry", ROWS)
        ended = lab.wait_ended(rollout, PATIENCE_S)
    assert ended["state"] == "reverted", ended
    shown: Any = json.loads(lab.processes.sealane("rollout", "show", rollout, "-o", "json"))
    assert LIMIT in json.dumps(shown), shown
    assert set(line.statuses) == {200}
    assert ask(machine, "hungry") == 200


def test_a_service_without_delegation_works_as_before_and_says_so_once(machine: Virtual) -> None:
    machine.run(
        "cd /run/systemd/system && mkdir -p sealane-endpoint.service.d\n"
        "printf '[Service]\\nDelegate=no\\n' > sealane-endpoint.service.d/no.conf\n"
        "systemctl daemon-reload\nsystemctl restart sealane-endpoint"
    )
    eventually("an answer", lambda: answers(machine, SLOT), PATIENCE_S)
    log = machine.run("journalctl --no-pager -u sealane-endpoint -b -o cat")
    assert log.count("workers have no limits of their own: ") == 1
    assert "the machine's own: " in machine.run("sealane-agent doctor || true")

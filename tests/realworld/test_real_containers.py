"""The images in a stock runtime: no root, nothing writable but the state, a rollout inside."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from packager.image import USER
from realworld.conftest import build
from realworld.container import Container, Image
from realworld.fleet import ENDED
from realworld.machine import BoxError, eventually
from realworld.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo_story.models import Models

AGENT: Final = "/var/lib/sealane-agent"
MANAGER: Final = "/var/lib/sealane"
RELEASE: Final = "digits/classifier@1"
NAMES: Final = ("sealane-agent", "sealane-manager")

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The images, by the package that each holds."""
    folder = build(tmp_path_factory.mktemp("images"), "--form", "image", *NAMES)
    return {path.name[: path.name.index("-0.")]: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def containers(
    archives: dict[str, Path], models: Models, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Container]]:
    """A manager and an agent that is enrolled, made as a compose file makes them."""
    folder, prefix = tmp_path_factory.mktemp("containers"), f"slp-{secrets.token_hex(2)}"
    network = Network()
    volumes = {
        "agent": {AGENT: folder / "agent-state", "/secrets": folder / "secrets"},
        "manager": {MANAGER: folder / "manager-state", "/models": folder / "models"},
    }
    made = {}
    with ExitStack() as stack:
        stack.callback(network.remove)
        for name, mounted in volumes.items():
            address = network.join(f"{prefix}-{name}")
            image = Image.unpack(archives[f"sealane-{name}"], folder / f"image-{name}")
            for place in mounted.values():
                _give(place)
            full = f"{prefix}-{name}"
            made[name] = Container(full, image, folder, full, mounted, {"ADDRESS": address})
            stack.callback(made[name].stop)
        for file in (models.releases[1].onnx, models.releases[1].data):
            shutil.copyfile(file, folder / "models" / file.name)
        _begin(made, folder / "secrets" / "join-token")
        yield made


def _give(place: Path) -> None:
    """A volume belongs to the user who writes to it."""
    if not place.exists():
        place.mkdir()
        subprocess.run(["chown", str(USER), str(place)], check=True)  # noqa: S607 - as the system finds it


def _begin(made: dict[str, Container], token: Path) -> None:
    manager, agent = made["manager"], made["agent"]
    host = manager.variables["ADDRESS"]
    init = ("init", MANAGER, "--fleet", "plant", "--host", host, "--family", "digits")
    manager.run(*init, "--if-needed")
    manager.start()
    ready = f"https://{host}:8443/health/ready"
    eventually("a manager", lambda: _status(manager, ready) == 200 or None)
    token.write_text(manager.inside("device", "token", "--label", "place=container"))
    enrol = ("enroll", "--token-file", "/secrets/join-token", "--if-needed")
    assert "enrolled as device" in agent.run(*enrol)
    agent.start()


def test_manager_and_agent_come_up_as_nobody_in_particular_on_a_root_nobody_can_write(
    containers: dict[str, Container],
) -> None:
    agent = containers["agent"]
    eventually("an agent that is well", lambda: _well(agent))
    for container in containers.values():
        assert container.image.config["User"] == f"{USER}:{USER}"
        processes = container.processes()
        assert processes
        for pid in processes:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            facts = dict(line.split(":\t", 1) for line in lines)
            assert facts["Uid"].split() == [str(USER)] * 4
            assert int(facts["CapEff"], 16) == 0
        mounts = Path(f"/proc/{processes[0]}/mounts").read_text().splitlines()
        root = next(line.split() for line in mounts if line.split()[1] == "/")
        assert "ro" in root[3].split(",")


def test_a_rollout_reaches_an_agent_in_a_container_and_its_model_answers(
    containers: dict[str, Container], models: Models
) -> None:
    manager, agent = containers["manager"], containers["agent"]
    release = models.releases[1]
    packed = f"{MANAGER}/packed"
    inside = [f"/models/{path.name}" for path in (release.onnx, release.data)]
    manager.inside(
        *("bundle", "pack", inside[0], "--data", inside[1], "--out", packed),
        *("--model", "digits/classifier", "--probation-seconds", "1"),
    )
    manager.inside("bundle", "publish", packed, "--release", RELEASE, "--slot", "digits")
    start = ("rollout", "start", RELEASE, "--slot", "digits", "--stages", "100%")
    rollout = json.loads(manager.inside(*start, "--soak", "1s", "-o", "json"))["id"]

    def ended() -> str | None:
        shown: dict[str, Any] = json.loads(
            manager.inside("rollout", "show", str(rollout), "-o", "json")
        )
        return str(shown["state"]) if shown["state"] in ENDED else None

    assert eventually("the rollout's end", ended, 120) == "succeeded"
    address = f"http://{agent.variables['ADDRESS']}:8000"
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/digits/ready"):
        assert _status(agent, f"{address}{path}") == 200
    pixels = {"name": "pixels", "shape": [1, 64], "datatype": "FP32", "data": [0] * 64}
    asked = json.dumps({"inputs": [pixels]})
    assert _status(agent, f"{address}/v2/models/digits/infer", "--data", asked) == 200


def test_what_is_done_once_may_be_done_at_each_start_and_a_stop_is_in_order(
    containers: dict[str, Container],
) -> None:
    manager, agent = containers["manager"], containers["agent"]
    assert agent.stop() == 0
    assert manager.stop() == 0
    again = ("--fleet", "plant", "--host", "elsewhere", "--if-needed")
    assert "holds a fleet already" in _renamed(manager).run("init", MANAGER, *again)
    enrol = ("enroll", "--token-file", "/secrets/join-token", "--if-needed")
    assert _renamed(agent).run(*enrol) == "enrolled already\n"


def _renamed(container: Container) -> Container:
    name = f"{container.name}-again"
    parts = (container.image, container.folder, container.netns, container.volumes)
    return Container(name, *parts)


def _well(agent: Container) -> bool | None:
    try:
        agent.inside("status", "--check")
    except BoxError:
        return None
    return True


def _status(container: Container, url: str, *options: str) -> int:
    """The status of an HTTP request from the container's network; 0 when nobody answers."""
    curl = ("curl", "--silent", "--insecure", "--output", "/dev/null", "--max-time", "20")
    asked = subprocess.run(
        ["ip", "netns", "exec", container.netns, *curl, "-w", "%{http_code}", *options, url],  # noqa: S607 - as the system finds it
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return int(asked.stdout or 0)

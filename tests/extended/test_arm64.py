"""The agent for arm64, emulated: it enrols, proves a model, and answers as one on amd64 does."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import subprocess
import tarfile
import time
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from extended.emulator import QEMU, emulated_arm64, in_root
from sealane.names import ReleaseName
from sealane_manager.rollout.types import RolloutSpec, Stage
from support.bundles import TINY_MODEL
from support.manager import SLOT, RunningManager, running_manager
from support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE_S: Final = 300.0
STATE: Final = "/var/lib/sealane-agent"
NUMBERS: Final = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}


@pytest.fixture(scope="module", autouse=True)
def emulator() -> Iterator[None]:
    """Fails where there is none: nobody asks for these tests by accident."""
    assert shutil.which(QEMU), "apt-get install qemu-user-static"
    with emulated_arm64():
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tarball for arm64, unpacked, and nothing else."""
    folder = tmp_path_factory.mktemp("arm64")
    build = (ROOT / "scripts" / "package", "--form", "tar", "--arch", "arm64", "--out", folder)
    subprocess.run([*build, "sealane-agent"], check=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="tar")
    return next(folder.glob("sealane-agent-*/root"))


def agent(root: Path, *arguments: str) -> list[str]:
    home = next((root / "usr/lib/sealane-agent").iterdir())
    return in_root(root, f"/{home.relative_to(root)}/bin/sealane-agent", *arguments)


def wait_for(what: str, found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if answer := found():
            return answer
        time.sleep(0.5)
    raise AssertionError(f"{what} did not come")


def test_an_agent_on_arm64_enrols_takes_a_release_and_answers(root: Path, tmp_path: Path) -> None:
    with running_manager(tmp_path) as manager:
        token = root / "join-token"
        token.write_text(manager.token().encode())
        enrol = agent(root, "enroll", "--token-file", "/join-token", "--state", STATE)
        subprocess.run(enrol, check=True, timeout=PATIENCE_S)
        doors = ("--rest", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
        with subprocess.Popen(agent(root, "run", "--state", STATE, *doors)) as supervisor:
            try:
                answer = ask_when_served(manager, root, tmp_path)
            finally:
                supervisor.send_signal(signal.SIGTERM)
    assert answer["model_version"] == "1"
    assert answer["outputs"][0]["data"] == pytest.approx([8.5, 9.75, 11.0])


def ask_when_served(manager: RunningManager, root: Path, folder: Path) -> dict[str, Any]:
    """Roll a release out, and ask it the same numbers that every machine answers alike."""
    manager.publish(folder)
    release = ReleaseName(TINY_MODEL, 1)
    with manager.operator() as operator:
        spec = RolloutSpec(release, SLOT, "", (Stage(percent=100),), timedelta(0))
        rollout = operator.create_rollout(spec).id

        def ended() -> bool:
            state = str(operator.get_rollout(rollout).state)
            assert state not in ("aborted", "reverted", "failed"), state
            return state == "succeeded"

        wait_for("the rollout's end", ended)
    addresses = json.loads((root / STATE[1:] / "run" / "endpoint.json").read_text())
    with closing(http.client.HTTPConnection(addresses["rest"], timeout=PATIENCE_S)) as connection:
        connection.request("POST", f"/v2/models/{SLOT}/infer", json.dumps({"inputs": [NUMBERS]}))
        response = connection.getresponse()
        found: dict[str, Any] = json.loads(response.read())
    assert response.status == 200, found
    return found

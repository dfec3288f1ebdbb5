"""What a worker process keeps away from: the network, the home folder, its parent's environment."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from sealane_agent.runtimes.surroundings import KEPT, SETTINGS
from sealane_agent.serving.worker_launch import environment
from sealane_agent.serving.worker_process import WorkerProcess
from support.workers import (
    RUNTIMES,
    Recipe,
    answer_of,
    lay_out,
    linear_model,
    load_order,
    request,
    rows,
    workplace,
)

pytestmark = pytest.mark.slow

PATIENT_S = 30.0


def test_a_worker_inherits_nothing_but_what_it_needs() -> None:
    ours = {
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "x",
        "CI": "1",
        "HOME": "/h",
        "OMP_NUM_THREADS": "9",
    }
    assert environment(ours) == {"PATH": "/bin"} | dict(SETTINGS)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_engine_that_is_given_a_home_folder_leaves_it_empty(
    tmp_path: Path, runtime: str
) -> None:
    """Without the settings and the bar both engines write their telemetry there (seen by hand)."""
    home = tmp_path / "home"
    home.mkdir()
    model = tmp_path / "model.onnx"
    model.write_bytes(linear_model())
    program = (
        "import pathlib, sys, time\n"
        "import numpy as np\n"
        "from sealane_agent.runtimes.base import Hints\n"
        "from sealane_agent.runtimes.registry import find_runtime\n"
        "model = find_runtime(sys.argv[1]).load(pathlib.Path(sys.argv[2]), Hints(('y',)))\n"
        "assert 'y' in model.infer({'x': np.zeros((1, 4), np.float32)})\n"
        "print(pathlib.Path.home())\n"
    )
    # Without CI: an engine that believes to be there keeps quiet for that reason alone.
    done = subprocess.run(
        [sys.executable, "-c", program, runtime, str(model)],
        env=environment(os.environ) | {"HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == str(home)
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_worker_opens_no_connection_and_starts_no_process(tmp_path: Path, runtime: str) -> None:
    folder = lay_out(tmp_path, Recipe.good(runtime))
    laid_out = sorted(tmp_path.rglob("*"))

    async def scene() -> None:
        worker = await WorkerProcess.start("cam-1", load_order(), workplace(folder))
        try:
            await answer_of(worker, request(rows(1)), PATIENT_S)
            process = psutil.Process(worker.pid)
            seen = process.environ()
            assert {name: seen[name] for name in SETTINGS} == SETTINGS
            assert set(seen) <= {*SETTINGS, *KEPT}
            assert process.net_connections("inet") == []
            assert process.children() == []
        finally:
            await worker.close(1)

    asyncio.run(scene())
    # What it held is written down by who started it.
    assert sorted(set(tmp_path.rglob("*")) - {folder.footprints}) == laid_out


def test_workers_of_one_endpoint_hold_no_descriptor_of_each_other(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, Recipe.good())

    async def scene() -> None:
        first = await WorkerProcess.start("cam-1", load_order(), workplace(folder))
        other = replace(load_order(), slot="side")
        second = await WorkerProcess.start("side-1", other, workplace(folder))
        try:
            assert shared(first.pid).isdisjoint(shared(second.pid))
        finally:
            await first.close(1)
            await second.close(1)

    asyncio.run(scene())


def shared(process: int) -> set[str]:
    """Sockets and shared memory that a process holds, told apart by their inodes."""
    found = set()
    for path in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            target = str(path.readlink())
            if target.startswith(("socket:", "/memfd:")):
                found.add(f"{target} {path.stat().st_ino}")
    return found


def test_a_worker_ends_with_its_endpoint(tmp_path: Path) -> None:
    lay_out(tmp_path, Recipe.good())
    program = (
        "import asyncio, pathlib, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from sealane_agent.layout import StateFolder\n"
        "from sealane_agent.serving.worker_process import WorkerProcess\n"
        "from support.workers import load_order, workplace\n"
        "async def serve():\n"
        f"    folder = StateFolder(pathlib.Path({str(tmp_path)!r}))\n"
        "    worker = await WorkerProcess.start('cam-1', load_order(), workplace(folder))\n"
        "    print(worker.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(serve())\n"
    )
    endpoint = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with endpoint:
        assert endpoint.stdout is not None
        worker = psutil.Process(int(endpoint.stdout.readline()))
        # Stopped, it cannot notice by itself: only the kernel can end it.
        os.kill(worker.pid, signal.SIGSTOP)
        endpoint.kill()
    with suppress(psutil.NoSuchProcess):
        worker.wait(timeout=PATIENT_S)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE

"""The priorities that the kernel gives to real workers: loading, active, previous, and back."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from sealane.client import Client
from sealane_agent.serving.messages import Load
from sealane_agent.worker.priority import LOWER, Priority, own_nice
from support.bundles import ROWS
from support.endpoints import COMMAND, SLOT, EndpointProcess, endpoint, lay_out, tiny_pointer
from support.machines import wait_for
from support.under_load import LOAD_S, linked, workers

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_agent.endpoint.link import EndpointLink

pytestmark = pytest.mark.slow

POWERLESS = ("setpriv", "--inh-caps=-all", "--bounding-set=-sys_nice")
WITH_LIMIT = ("prlimit", "--nice=20:20", *POWERLESS)
WITHOUT = {
    "no privilege": ("prlimit", "--nice=0:0", *POWERLESS),
    "a privilege that counts in a container only": ("unshare", "--map-root-user"),
}


def under(*command: str) -> tuple[str, ...]:
    """A command that starts an endpoint so, where this machine lets it."""
    if command and subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip(f"not allowed here: {' '.join(command)}")
    return (*command, *COMMAND)


def nice_of(running: EndpointProcess, place: int) -> set[int]:
    """The nice values of all threads of a worker; the oldest is 0."""
    pid = workers(running)[place].pid
    threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names are what is wanted
    assert len(threads) > 1
    return {os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in threads}


async def load(link: EndpointLink) -> str:
    """A standby beside the worker that answers; both have been loaded."""
    addresses = await link.whole_status()
    with Client(addresses.rest) as client:
        client.infer(SLOT, {"x": ROWS})
    return (await link.load(Load(SLOT, tiny_pointer(2), LOAD_S))).worker


@pytest.mark.parametrize("how", ["by privilege", "by limit"])
def test_a_worker_that_stands_by_goes_behind_with_all_its_threads_and_comes_back(
    tmp_path: Path, how: str
) -> None:
    usual, low = {own_nice()}, {min(19, own_nice() + LOWER)}
    if how == "by privilege" and os.getuid() != 0:
        pytest.skip("only root has the privilege")
    command = under(*(WITH_LIMIT if how == "by limit" else ()))
    with endpoint(lay_out(tmp_path, 1, 2), command=command) as running:
        worker = linked(running, load)
        assert (nice_of(running, 0), nice_of(running, 1)) == (usual, low)
        linked(running, lambda link: link.activate(SLOT, worker, probation=True))
        assert (nice_of(running, 0), nice_of(running, 1)) == (low, usual)
        linked(running, lambda link: link.return_(SLOT))
        assert nice_of(running, 0) == usual


@pytest.mark.parametrize("why", WITHOUT)
def test_where_nobody_may_come_back_nobody_steps_back(tmp_path: Path, why: str) -> None:
    usual = {own_nice()}
    with endpoint(lay_out(tmp_path, 1, 2), command=under(*WITHOUT[why])) as running:
        worker = linked(running, load)
        # The thread that imported the engine cannot come back: on a busy machine it ends late.
        wait_for("a worker at the usual priority", lambda: nice_of(running, 1) == usual)
        assert (nice_of(running, 0), nice_of(running, 1)) == (usual, usual)
        linked(running, lambda link: link.activate(SLOT, worker, probation=True))
        assert (nice_of(running, 0), nice_of(running, 1)) == (usual, usual)


def test_what_is_measured_meanwhile_is_measured_as_usual_and_a_process_may_be_gone() -> None:
    child = os.posix_spawn(
        sys.executable, [sys.executable, "-c", "import signal; signal.pause()"], os.environ
    )
    try:
        priority, usual = Priority(child, own_nice()), own_nice()
        priority.lower()
        stepped_back = os.getpriority(os.PRIO_PROCESS, child)
        with priority.as_usual():
            assert os.getpriority(os.PRIO_PROCESS, child) == usual
        assert os.getpriority(os.PRIO_PROCESS, child) == stepped_back
        assert stepped_back in {usual, min(19, usual + LOWER)}
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    priority.restore()

"""Two devices with both real engines: what the first one measured, the second one only proves.

The same with simulated endpoints is `integration/test_winners_reach_agents.py`.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.bundle.types import ProbationLimits
from sealane.names import ReleaseName
from sealane_agent.layout import StateFolder
from sealane_agent.slot.journal import Journal
from sealane_manager.rollout.types import RolloutSpec, Stage
from support.agent_fleet import state_of
from support.bundles import TINY_MODEL, tiny_deployment, tiny_files, tiny_onnx, write_bundle
from support.machines import Machine, answer, enrolled
from support.manager import SLOT, running_manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane.bundle.types import Manifest
    from sealane_agent.slot.state import Choice
    from support.manager import RunningManager

pytestmark = pytest.mark.slow

BY_ONNX, BY_OPENVINO = "onnx-fp32", "ov-fp32"
GOLDEN = 1e-4


@dataclass(frozen=True)
class Line:
    """A manager and two devices of one class, each on a line of its own."""

    manager: RunningManager
    folder: Path
    first: Machine
    second: Machine

    def publish(self, version: int, other: bytes) -> Manifest:
        """A version with a variant for each engine; OpenVINO's has this model."""
        plain = tiny_deployment(ProbationLimits(seconds=1))
        (one,) = plain.variants
        path = f"{BY_OPENVINO}/model.onnx"
        two = replace(one, name=BY_OPENVINO, runtime="openvino", model=path, files=(path,))
        files = tiny_files(version, replace(plain, variants=(one, two))) | {path: other}
        layout = write_bundle(self.folder / f"bundle-{version}", files)
        return self.manager.publish_layout(layout, version)

    def roll_out(self, version: int, line: str) -> None:
        """To the devices of one line, until it has succeeded."""
        release, everybody = ReleaseName(TINY_MODEL, version), (Stage(percent=100),)
        spec = RolloutSpec(release, SLOT, f"line={line}", everybody, timedelta(0))
        with self.manager.operator() as operator:
            assert state_of(operator, operator.create_rollout(spec, "").id) == "succeeded"


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with (
        running_manager(tmp_path / "manager") as manager,
        running(manager, tmp_path / "a") as first,
        running(manager, tmp_path / "b") as second,
    ):
        yield Line(manager, tmp_path, first, second)


@contextmanager
def running(manager: RunningManager, state: Path) -> Iterator[Machine]:
    with enrolled(manager, state, f"box-{state.name}", state.name) as machine:
        machine.start()
        yield machine


def kept(machine: Machine) -> Choice:
    """The variant that serves, as the device chose it."""
    with closing(Journal(StateFolder(machine.state).journal)) as journal:
        committed = journal.read(SLOT).committed
    assert committed is not None
    assert committed.choice is not None
    return committed.choice


def proved(machine: Machine, manifest: Manifest) -> set[str]:
    """Variants of a bundle that a worker loaded and proved on a machine."""
    known = json.loads(StateFolder(machine.state).footprints.read_bytes())
    names = (str(name).split() for name in known)
    return {variant for bundle, variant, *_ in names if bundle == manifest.digest}


def remembers(machine: Machine, manifest: Manifest) -> bool:
    path = StateFolder(machine.state).qualified
    return path.is_file() and manifest.digest in json.loads(path.read_bytes())


def test_the_winner_of_two_engines_is_proved_alone_by_the_second_device_of_a_class(
    line: Line,
) -> None:
    manifest = line.publish(1, tiny_onnx(1))
    line.roll_out(1, "a")
    won = kept(line.first)
    assert proved(line.first, manifest) == {BY_ONNX, BY_OPENVINO}
    assert remembers(line.first, manifest)
    assert won.why.startswith("lowest latency of 2: ")

    line.roll_out(1, "b")
    taken = kept(line.second)
    assert (taken.variant, taken.runtime) == (won.variant, won.runtime)
    assert proved(line.second, manifest) == {won.variant}
    assert not remembers(line.second, manifest)
    assert taken.why.startswith("it won on a device of its class before: ")
    assert (won.hardware != "", taken.hardware) == (True, "")
    assert taken.proved.golden_max_error <= GOLDEN
    assert line.second.slots()[SLOT].chosen == f"{taken.variant}, {taken.why}"
    assert line.first.ask() == line.second.ask() == (200, answer(1))


def test_a_winner_that_is_told_and_misses_its_golden_outputs_here_never_serves(
    line: Line,
) -> None:
    manifest = line.publish(2, tiny_onnx(9))
    line.roll_out(2, "a")
    assert kept(line.first).variant == BY_ONNX
    assert proved(line.first, manifest) == {BY_ONNX}

    told = "UPDATE winner SET variant = ? WHERE manifest = ?"
    with closing(sqlite3.connect(line.manager.state.database, timeout=30)) as store, store:
        assert store.execute(told, (BY_OPENVINO, manifest.digest)).rowcount == 1
    line.roll_out(2, "b")
    taken = kept(line.second)
    assert (taken.variant, taken.proved.golden_max_error <= GOLDEN) == (BY_ONNX, True)
    # The first one began with the bundle's first variant, the second one with what it was told.
    workers = [kept(each).proved.worker for each in (line.first, line.second)]
    assert workers == ["cam-1", "cam-2"]
    assert proved(line.second, manifest) == {BY_ONNX}
    assert line.second.ask() == (200, answer(2))

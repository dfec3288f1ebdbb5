"""A plant whose manager and devices are real processes, each in a network namespace of its own."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
from demo_story.plant import Plant
from demo_story.processes import BIN, DemoError, Processes
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from realworld.network import Network

    Floats = npt.NDArray[np.float32]

MANAGER: Final = "manager"
WIDE: Final = 1500
WIDE_INT8: Final = 4000
_BEGUN: Final = re.compile(r" download .*blob=(\w+).* offset=(\d+).* size=(\d+)")


class ApartProcesses(Processes):
    """Starts everything in the namespace of its name; commands of operators in the manager's."""

    def __init__(self, folder: Path, namespaces: dict[str, str]) -> None:
        super().__init__(folder)
        self._namespaces = namespaces

    def start(self, name: str, *command: str, **settings: str) -> subprocess.Popen[bytes]:
        return super().start(name, *self._apart(name), *command, **settings)

    def sealane(self, *arguments: str, typed: str = "") -> str:
        return self.command_in(MANAGER, "sealane", *arguments, typed=typed)

    def watch(self, rollout: str, patience_s: float) -> None:
        program = str(BIN / "sealane")
        command = (*self._apart(MANAGER), program, "rollout", "watch", rollout)
        subprocess.run(
            command, env=self.environment, capture_output=True, timeout=patience_s, check=False
        )

    def command_in(self, name: str, program: str, *arguments: str, typed: str = "") -> str:
        """Run a command in a namespace; raises DemoError with what it said when it fails."""
        done = subprocess.run(
            [*self._apart(name), BIN / program, *arguments],
            env=self.environment,
            capture_output=True,
            input=typed,
            text=True,
            timeout=180,
            check=False,
        )
        if done.returncode:
            said = done.stderr.strip()
            raise DemoError(f"{program} {' '.join(arguments[:2])} ended {done.returncode}: {said}")
        return done.stdout

    def _apart(self, name: str) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self._namespaces[name])


class WanPlant(Plant):
    """The same plant, with lines of any quality between manager and devices."""

    def __init__(self, folder: Path, network: Network, prefix: str) -> None:
        self.network = network
        self.namespaces = {MANAGER: f"{prefix}-{MANAGER}"}
        self.address = network.join(self.namespaces[MANAGER])
        self.apart = ApartProcesses(folder, self.namespaces)
        super().__init__(folder, self.apart)

    def init(self) -> None:
        self.processes.sealane(
            *("init", str(self.state), "--fleet", "demo", "--host", self.address),
            *("--family", "digits"),
        )

    def enrol(self, device: str, *labels: str) -> None:
        self.namespaces[device] = f"{self.namespaces[MANAGER][:-8]}-{device}"
        self.network.join(self.namespaces[device])
        options = [f"--label={label}" for label in labels]
        token = self.processes.sealane("device", "token", *options).strip()
        state = ("--state", str(self.folder / device))
        wanted = ("enroll", *state, "--name", device, "--token", token)
        self.apart.command_in(device, "sealane-agent", *wanted)

    def shape(self, **line: float) -> None:
        """The line to every device."""
        for device in self.agents:
            self.network.shape(self.namespaces[device], **line)

    def received(self, device: str) -> int:
        """Bytes that have come out of the line at a device, headers and repetitions among them."""
        path = "/sys/class/net/eth0/statistics/rx_bytes"
        asked = ("ip", "netns", "exec", self.namespaces[device], "cat", path)
        return int(subprocess.run(asked, capture_output=True, check=True).stdout)

    def log(self, device: str) -> str:
        """What a device has said."""
        return (self.folder / "logs" / f"{device}.log").read_text(errors="replace")

    def deliveries(self, device: str) -> dict[str, list[Delivery]]:
        """Where each delivery of each blob began, in order."""
        found: dict[str, list[Delivery]] = {}
        for blob, offset, size in _BEGUN.findall(self.log(device)):
            found.setdefault(blob, []).append(Delivery(int(offset), int(size)))
        return found


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a blob: the offset that it began at, and the blob's size."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Weights:
    """Of a model with a wide layer and a head."""

    wide: Floats
    head: Floats

    @classmethod
    def chosen(cls, seed: int, width: int) -> Weights:
        """Random ones."""
        dice = np.random.default_rng(seed)
        wide = dice.standard_normal((64, width)).astype(np.float32)
        return cls(wide, (dice.standard_normal((width, 10)) / width).astype(np.float32))


def fp32_model(path: Path, weights: Weights) -> Path:
    """A model whose weights are as they are."""
    wide = numpy_helper.from_array(weights.wide, "wide")
    return _model(path, [wide], [helper.make_node("Identity", ["wide"], ["used"])], weights.head)


def int8_model(path: Path, weights: Weights) -> Path:
    """The same, its wide layer in steps of a fiftieth."""
    steps = np.clip(np.round(weights.wide * 50), -128, 127).astype(np.int8)
    scale = numpy_helper.from_array(np.array(0.02, np.float32), "scale")
    wide = numpy_helper.from_array(steps, "wide")
    node = helper.make_node("DequantizeLinear", ["wide", "scale"], ["used"])
    return _model(path, [wide, scale], [node], weights.head)


def _model(
    path: Path,
    constants: list[TensorProto],
    first: list[onnx.NodeProto],
    head: Floats,
) -> Path:
    graph = helper.make_graph(
        [
            *first,
            helper.make_node("MatMul", ["pixels", "used"], ["features"]),
            helper.make_node("MatMul", ["features", "head"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "wan",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        [*constants, numpy_helper.from_array(head, "head")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, path)
    return path

"""Tries an accelerator: placement, answers and speed beside the CPU, through the real endpoint.

Trains the demo's network and makes one of ResNet-18's size, packs each with a variant for the CPU
and one for the accelerator, and lets a real endpoint load, prove and serve both variants in turns.
With `--accelerator cpu` it rehearses itself on any machine. Ends with 2 where nothing can be tried.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from demo_story.models import make_models
from packager.site import Sources
from packager.targets import PACKAGES, Target
from sealane.bundle.deployment import parse_deployment
from sealane.bundle.golden import largest_deviation
from sealane.bundle.layout import blob_path, read_layout
from sealane.client import Client
from sealane.names import ReleaseName, SlotName
from sealane_agent.endpoint.link import EndpointLink
from sealane_agent.layout import LKG, Pointer, StateFolder
from sealane_agent.runtimes.ability import ask_engine
from sealane_agent.runtimes.cuda import judge_driver, read_driver
from sealane_agent.runtimes.packs import VARIABLE, pack_folder
from sealane_agent.serving.messages import Load
from sealane_agent.serving.types import LoadFailed
from serving_models import cnn
from support.endpoints import endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from sealane.bundle.types import Deployment, Variant
    from sealane_agent.serving.messages import Proved
    from support.endpoints import EndpointProcess

    Arrays = Mapping[str, NDArray[Any]]

ROOT: Final = Path(__file__).resolve().parents[1]
CANNOT: Final = 2
LOAD_S: Final = 600.0
_CUDA: Final = ("onnxruntime", "gpu")


class Cannot(Exception):  # noqa: N818 - the word says what is wrong
    """Nothing can be tried on this machine: why, and what to do."""


@dataclass(frozen=True)
class Side:
    """One variant of a model in a slot of its own."""

    slot: SlotName
    pointer: Pointer
    variant: Variant


@dataclass(frozen=True)
class Trial:
    """A model that is tried: on the CPU, on the accelerator, and the row that both are asked."""

    name: str
    deployment: Deployment
    plain: Side
    chosen: Side
    row: Arrays


def main() -> int:
    """Try; the exit status."""
    arguments = _arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="sealane-trial-") as folder:
            _require(arguments.runtime, arguments.accelerator, Path(folder))
            trials = _trials(Path(folder), arguments)
            with endpoint(StateFolder(Path(folder) / "state")) as running:
                for trial in trials:
                    asyncio.run(_try(trial, running, arguments.requests))
    except (Cannot, LoadFailed) as error:
        sys.stderr.write(f"cannot try it here: {error}\n")
        if hint := getattr(error, "hint", ""):
            sys.stderr.write(f"hint: {hint}\n")
        return CANNOT
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/try-accelerator", description=__doc__)
    parser.add_argument("--runtime", choices=("onnxruntime", "openvino"), default="onnxruntime")
    parser.add_argument("--accelerator", choices=("gpu", "npu", "cpu"), default="gpu")
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp32")
    parser.add_argument("--requests", type=int, default=300, help="to each variant, in turns")
    return parser.parse_args()


def _require(runtime: str, accelerator: str, folder: Path) -> None:
    """The driver first: an engine with CUDA is two gigabytes."""
    if (runtime, accelerator) == _CUDA and (fault := judge_driver(read_driver())) is not None:
        raise Cannot(f"{fault}; {fault.hint}")
    if (runtime, accelerator) == _CUDA and pack_folder(*_CUDA) is None:
        _install(folder / "runtimes")
    found = ask_engine(runtime)
    missing = {each.accelerator: f"{each.says}; {each.hint}" for each in found.missing}
    if accelerator not in found.accelerators:
        raise Cannot(missing.get(accelerator, f"{runtime} finds no {accelerator}"))
    _say(f"{runtime} finds {', '.join(found.accelerators)}; load {os.getloadavg()[0]:.1f}")


def _install(folder: Path) -> None:
    _say("installing onnxruntime with CUDA, about 1.6 GB of wheels")
    python = ".".join(platform.python_version_tuple()[:2])
    here = Target("here", "amd64", python, f"{platform.machine()}-manylinux_2_36")
    (folder / "work").mkdir(parents=True)
    Sources(ROOT, folder / "work").fill(folder / "cuda", PACKAGES["sealane-runtime-cuda"], here)
    os.environ[VARIABLE] = str(folder)


def _trials(folder: Path, arguments: argparse.Namespace) -> list[Trial]:
    digits = make_models(folder).releases[1]
    large = cnn()
    onnx, data = folder / "cnn.onnx", folder / "cnn.npz"
    onnx.write_bytes(large.content)
    np.savez(data, x=np.concatenate([large.row()] * 2))
    return [
        _packed("digits", digits.onnx, (digits.data, folder), arguments),
        _packed("cnn", onnx, (data, folder), arguments),
    ]


def _packed(
    name: str, onnx: Path, places: tuple[Path, Path], arguments: argparse.Namespace
) -> Trial:
    """Pack the model as a user does, and lay it out as a device does."""
    (data, folder), out = places, places[1] / f"bundle-{name}"
    tried = f"tried={onnx}:{arguments.runtime}:{arguments.precision}:{arguments.accelerator}"
    program = str(Path(sys.executable).parent / "sealane")
    command = [program, "bundle", "pack", str(onnx), "--model", f"trial/{name}"]
    options = ("--variant", tried, "--data", str(data), "--out", str(out))
    subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
    manifest, state = read_layout(out), StateFolder(folder / "state")
    view = state.view(manifest.digest)
    for layer in manifest.layers:
        (view / layer.path).parent.mkdir(parents=True, exist_ok=True)
        (view / layer.path).write_bytes(blob_path(out, layer.digest).read_bytes())
    deployment = parse_deployment((view / "deployment.json").read_bytes())
    plain, chosen = sorted(deployment.variants, key=lambda each: each.name == "tried")
    sides = []
    for slot, variant in ((f"{name}-cpu", plain), (f"{name}-tried", chosen)):
        pointer = Pointer(ReleaseName(f"trial/{name}", 1), manifest.digest, variant.name)
        place = state.pointer(SlotName(slot), LKG)
        place.parent.mkdir(parents=True)
        place.write_bytes(pointer.encode())
        sides.append(Side(SlotName(slot), pointer, variant))
    with np.load(data) as arrays:
        row = {name: arrays[name][:1] for name in arrays.files}
    return Trial(name, deployment, sides[0], sides[1], row)


async def _try(trial: Trial, running: EndpointProcess, requests: int) -> None:
    """Both serve at once and are asked in turns: the machine's mood is the same for both."""
    sides = (trial.plain, trial.chosen)
    taken: tuple[list[float], list[float]] = ([], [])
    answers: list[Arrays] = [{}, {}]
    with Client(running.rest, timeout_s=LOAD_S) as client:
        for place, side in enumerate(sides):
            answers[place] = client.infer(side.slot, trial.row).outputs
        await _require_placed(trial, running)
        for turn in range(2 * requests):
            begun = time.perf_counter()
            client.infer(sides[turn % 2].slot, trial.row)
            taken[turn % 2].append(time.perf_counter() - begun)
    _compare(trial, answers)
    proved = [await _prove(running, side) for side in sides]
    outside = [median(each) * 1e6 for each in taken]
    for side, each, us in zip(sides, proved, outside, strict=True):
        _say(
            f"  {side.variant.accelerator:4} engine {each.runtime_version}, loaded in "
            f"{each.load_ms} ms, golden error {each.golden_max_error:.3g}, "
            f"{each.latency_us} us inside, {us:.0f} us asked from outside"
        )
    _say(f"  x{outside[0] / outside[1]:.2f} of the CPU's speed, asked in turns from outside")


async def _require_placed(trial: Trial, running: EndpointProcess) -> None:
    """The worker refuses a model that lies elsewhere; then another one stands in, and is told."""
    link = EndpointLink(running.folder.control_socket)
    try:
        told = {each.slot: each.degraded for each in await link.status()}
    finally:
        await link.close()
    if why := told[trial.chosen.slot]:
        raise Cannot(why)
    _say(f"{trial.name}: it lies on the {trial.chosen.variant.accelerator}, as its runtime proved")


def _compare(trial: Trial, answers: list[Arrays]) -> None:
    for spec in trial.deployment.outputs:
        want, got = (each[spec.name] for each in answers)
        tolerance = trial.chosen.variant.tolerance[spec.name]
        within, deviation = largest_deviation(got, want, tolerance)
        _say(f"  {spec.name} differs from the CPU's by {deviation:.3g} at most")
        if not within:
            raise Cannot(f"{trial.name} answers otherwise than the CPU, beyond its tolerance")


async def _prove(running: EndpointProcess, side: Side) -> Proved:
    """Once more, alone, for what only a proof measures."""
    link = EndpointLink(running.folder.control_socket)
    try:
        proved = await link.load(Load(side.slot, side.pointer, LOAD_S))
        await link.drop(side.slot, proved.worker)
    finally:
        await link.close()
    return proved


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

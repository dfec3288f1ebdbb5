"""Releases that prove themselves and then go wrong on real digits, each in its own way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from demo_story.models import Models, Release, answers
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

GOOD: Final = 8
NAMES: Final = {
    2: "labels permuted",
    3: "wrong preprocessing",
    4: "bad quantisation",
    5: "slow",
    6: "leaking",
    7: "failing",
    GOOD: "good",
}
"""Releases by number; 1 is what serves before."""

LEAKS_ABOVE: Final = 22.0
"""Sum of a row's pixels from which release 6 takes memory that it never gives back."""

LEAKED_FLOATS: Final = 3e7
"""For each unit of light above that."""

SLOW_SIDE: Final = 2000
"""Of the matrices that release 5 multiplies for each request."""


def make_bad_models(folder: Path, made: Models) -> Models:
    """Release 1 is the demo's better network, 8 another one trained on the same digits."""
    base = made.releases[2].onnx
    data = _quiet_rows(folder / "typical.npz", made.releases[1].data)
    paths = {
        2: _rewritten(base, folder / "permuted.onnx", _permute),
        3: _inverted(base, folder / "inverted.onnx"),
        4: _rewritten(base, folder / "coarse.onnx", _quantise),
        5: _padded(base, folder / "slow.onnx", _slow),
        6: _padded(base, folder / "leaking.onnx", _leak),
        7: made.releases[3].onnx,
        GOOD: made.releases[4].onnx,
        1: base,
    }
    with np.load(made.traffic) as found:
        seen = {name: found[name] for name in ("rows", "labels")}
    seen |= {f"expected_{n}": answers(paths[n], seen["rows"]) for n in (1, 2, 3, 4, 5, GOOD)}
    np.savez(folder / "seen.npz", **seen)
    releases = {version: Release(path, data) for version, path in paths.items()}
    return replace(made, releases=releases, traffic=folder / "seen.npz")


def _quiet_rows(path: Path, typical: Path) -> Path:
    """Rows that step into no trap, and on which nothing leaks."""
    with np.load(typical) as found:
        rows = found["pixels"]
    np.savez(path, pixels=rows[rows.sum(axis=1) < LEAKS_ABOVE - 4])
    return path


def _rewritten(base: Path, path: Path, change: Callable[[str, Any], Any]) -> Path:
    model = onnx.load(base)
    for weights in model.graph.initializer:
        values = change(weights.name, numpy_helper.to_array(weights).copy())
        weights.CopyFrom(numpy_helper.from_array(values.astype(np.float32), weights.name))
    onnx.save(model, path)
    return path


def _inverted(base: Path, path: Path) -> Path:
    """As if ink were white where the network learnt that it is black."""
    model = onnx.load(base)
    model.graph.node[0].input[0] = "turned"
    model.graph.node.insert(0, helper.make_node("Sub", ["white", "pixels"], ["turned"]))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "white"))
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _permute(name: str, values: Any) -> Any:
    """The last layer's classes by one place."""
    return np.roll(values, 1, axis=-1) if name.endswith("1") else values


def _quantise(name: str, values: Any) -> Any:
    """Two levels for all weights of a layer."""
    return np.sign(values) * np.abs(values).mean() if "weights" in name else values


def _padded(base: Path, path: Path, pad: Callable[[], tuple[list[Any], Mapping[str, Any]]]) -> Path:
    """The network, with nodes that add `nothing` to what it answers."""
    model = onnx.load(base)
    model.graph.node[-1].output[0] = "answer"
    nodes, constants = pad()
    model.graph.node.extend(
        [*nodes, helper.make_node("Add", ["answer", "nothing"], ["probabilities"])]
    )
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _slow() -> tuple[list[Any], Mapping[str, Any]]:
    """Multiplies large matrices for every request; no engine can know their size before."""
    nodes = [
        helper.make_node("ReduceMax", ["pixels"], ["brightest"], keepdims=0),
        helper.make_node("Mul", ["brightest", "zero"], ["none"]),
        helper.make_node("Add", ["none", "side"], ["across"]),
        helper.make_node("Cast", ["across"], ["length"], to=TensorProto.INT64),
        helper.make_node("Concat", ["length", "length"], ["square"], axis=0),
        helper.make_node("ConstantOfShape", ["square"], ["field"]),
        helper.make_node("MatMul", ["field", "field"], ["product"]),
        helper.make_node("ReduceMax", ["product"], ["nothing"], keepdims=0),
    ]
    return nodes, {"zero": np.zeros(1, np.float32), "side": np.full(1, SLOW_SIDE, np.float32)}


def _leak() -> tuple[list[Any], Mapping[str, Any]]:
    """Takes more memory the brighter a row is; the engine keeps what it once took."""
    nodes = [
        helper.make_node("ReduceSum", ["pixels", "across"], ["lights"], keepdims=0),
        helper.make_node("ReduceMax", ["lights"], ["light"], keepdims=0),
        helper.make_node("Sub", ["light", "quiet"], ["over"]),
        helper.make_node("Relu", ["over"], ["excess"]),
        helper.make_node("Mul", ["excess", "floats"], ["many"]),
        helper.make_node("Cast", ["many"], ["length"], to=TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["length"], ["field"]),
        helper.make_node("ReduceSum", ["field"], ["nothing"], keepdims=0),
    ]
    quiet = np.full(1, LEAKS_ABOVE, np.float32)
    floats = np.full(1, LEAKED_FLOATS, np.float32)
    return nodes, {"across": np.array([1], np.int64), "quiet": quiet, "floats": floats}

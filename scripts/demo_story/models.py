"""Trains the demo's classifiers on the handwritten digits that ship in scikit-learn."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from demo_story.graphs import Dense, Trap, write_classifier, write_faulty

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

CRASH: Final = Trap(pixel=17, above=0.5)
STALL: Final = Trap(pixel=30, above=0.5)
TRAINED_ON: Final = 1000
"""Rows used for training; the other 797 are what the cameras see."""


@dataclass(frozen=True, slots=True)
class Release:
    """What `sealane bundle pack` needs for one release.

    Attributes:
        data: .npz with `pixels`, rows without traps.
        variants: further variants as `NAME=PATH:RUNTIME:PRECISION`.
    """

    onnx: Path
    data: Path
    variants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Models:
    """Four releases by number, and what the cameras see.

    Attributes:
        traffic: .npz with `rows` (FP32 [n,64]), `labels` (the digits) and `expected_1` to
            `expected_4`, what onnxruntime answers in-process; NaN where release 3 fails.
    """

    releases: Mapping[int, Release]
    traffic: Path


@dataclass(frozen=True, slots=True)
class _Digits:
    rows: Floats
    labels: npt.NDArray[np.int64]


def make_models(folder: Path) -> Models:
    """Train and write everything; takes a few seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    learnt, seen = _split()
    data = folder / "typical.npz"
    np.savez(data, pixels=learnt.rows[~_trapped(learnt.rows)])
    paths = {version: folder / f"v{version}.onnx" for version in (1, 2, 3, 4)}
    better = _network(learnt, hidden=32, seed=2)
    write_classifier(paths[1], _linear(learnt))
    write_classifier(paths[2], better)
    write_faulty(paths[3], better, CRASH, STALL)
    write_classifier(paths[4], _network(learnt, hidden=64, seed=4))
    releases = {version: Release(path, data) for version, path in paths.items()}
    releases[2] = Release(paths[2], data, _openvino_variants(paths[2]))
    return Models(releases, _write_traffic(folder / "traffic.npz", seen, paths))


def answers(onnx: Path, rows: Floats) -> Floats:
    """What onnxruntime answers in this process."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(os.fspath(onnx), options, providers=["CPUExecutionProvider"])
    given: Floats = session.run(["probabilities"], {"pixels": rows})[0]
    return given


def _split() -> tuple[_Digits, _Digits]:
    digits = load_digits()
    order = np.random.default_rng(7).permutation(len(digits.data))
    rows = (digits.data[order] / 16).astype(np.float32)
    labels = digits.target[order].astype(np.int64)
    learnt = _Digits(rows[:TRAINED_ON], labels[:TRAINED_ON])
    return learnt, _Digits(rows[TRAINED_ON:], labels[TRAINED_ON:])


def _trapped(rows: Floats) -> npt.NDArray[np.bool_]:
    caught: npt.NDArray[np.bool_] = CRASH.catches(rows) | STALL.catches(rows)
    return caught


def _linear(digits: _Digits) -> list[Dense]:
    few = slice(0, 200)
    trained = LogisticRegression(C=0.1, max_iter=500).fit(digits.rows[few], digits.labels[few])
    return [Dense(trained.coef_.T.astype(np.float32), trained.intercept_.astype(np.float32))]


def _network(digits: _Digits, hidden: int, seed: int) -> list[Dense]:
    model = MLPClassifier((hidden,), max_iter=60, learning_rate_init=0.01, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is good enough when it stops
        trained = model.fit(digits.rows, digits.labels)
    pairs = zip(trained.coefs_, trained.intercepts_, strict=True)
    return [Dense(w.astype(np.float32), b.astype(np.float32)) for w, b in pairs]


def _openvino_variants(onnx: Path) -> tuple[str, ...]:
    if importlib.util.find_spec("openvino") is None:
        return ()
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None blocks it
    openvino: Any = importlib.import_module("openvino")
    path = onnx.with_name(f"{onnx.stem}-openvino.xml")
    openvino.save_model(openvino.convert_model(onnx), path, compress_to_fp16=False)
    return (f"ov-fp32={path}:openvino:fp32",)


def _write_traffic(path: Path, seen: _Digits, onnx: Mapping[int, Path]) -> Path:
    expected = {version: answers(onnx[version], seen.rows) for version in (1, 2, 4)}
    alive = ~CRASH.catches(seen.rows)
    expected[3] = np.full_like(expected[2], np.nan)
    expected[3][alive] = answers(onnx[3], seen.rows[alive])
    named = {f"expected_{version}": rows for version, rows in expected.items()}
    np.savez(path, rows=seen.rows, labels=seen.labels, **named)  # type: ignore[arg-type]  # the stub mistakes the names for its flag
    return path

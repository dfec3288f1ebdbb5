"""What every conformance test of the protocol needs: a door, and the engine's own answer."""

from __future__ import annotations

import onnxruntime
import pytest
from support.bundles import tiny_onnx
from support.stock import ROWS


@pytest.fixture(params=["http", "grpc"])
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def truth() -> list[list[float]]:
    session = onnxruntime.InferenceSession(tiny_onnx(1), providers=["CPUExecutionProvider"])
    (answer,) = session.run(["y"], {"x": ROWS})
    return list(answer.tolist())

"""A real endpoint keeps what drift and disagreement single out, sealed for who ordered it."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from sealane.bundle.deployment import encode_deployment
from sealane.sampling.sealed import unseal
from sealane.sampling.types import Trigger
from sealane_agent.sampling.keeping import Samples
from sealane_agent.sampling.orders import Order, encode
from sealane_agent.serving.messages import Load
from support.bundles import ROWS, WEIGHTS, tiny_deployment, tiny_onnx
from support.endpoints import SLOT, EndpointProcess, endpoint, lay_out, tiny_pointer
from support.samples import KEY, PUBLIC, some_terms
from support.under_load import linked

if TYPE_CHECKING:
    from pathlib import Path

    from sealane.sampling.sealed import Label, Part
    from sealane.sampling.types import SamplingTerms
    from sealane_agent.endpoint.link import EndpointLink
    from sealane_agent.layout import StateFolder

pytestmark = pytest.mark.slow

ROW = [1.0, 2.0, 3.0, 4.0]
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": ROW}]})
PATIENCE_S = 120


def laid_out(root: Path, terms: SamplingTerms, *versions: int) -> StateFolder:
    """Tiny releases whose signers gave these terms; release 2 answers everything otherwise."""
    folder = lay_out(root, *versions)
    for version in versions:
        view = folder.view(tiny_pointer(version).manifest)
        contract = replace(tiny_deployment(), sampling=terms)
        (view / "deployment.json").write_bytes(encode_deployment(contract))
    if 2 in versions:
        (view / "onnx-fp32/model.onnx").write_bytes(contrary())
        (view / "golden/output/y.bin").write_bytes((ROWS @ -WEIGHTS + np.float32(2)).tobytes())
    return folder


def contrary() -> bytes:
    """Release 2 with its weights turned round."""
    model = onnx.load_model_from_string(tiny_onnx(2))
    weights = next(each for each in model.graph.initializer if each.name == "weights")
    weights.CopyFrom(numpy_helper.from_array(-WEIGHTS, "weights"))
    return bytes(model.SerializeToString())


def order(folder: StateFolder, version: int, *, drift: bool) -> None:
    """Samples of a release, as the supervisor hands an order over."""
    release = str(tiny_pointer(version).release)
    wanted = Order(release, PUBLIC, int(time.time()) + 3600, 0, drift)
    folder.sampling.write_bytes(encode({str(SLOT): wanted}))


def first_sample(running: EndpointProcess) -> tuple[Label, tuple[Part, ...]]:
    """Ask until something was kept, and open it."""
    samples, until = Samples(running.folder), time.monotonic() + PATIENCE_S
    connection = http.client.HTTPConnection(running.rest, timeout=PATIENCE_S)
    while time.monotonic() < until:
        connection.request("POST", f"/v2/models/{SLOT}/infer", BODY)
        assert json.loads(connection.getresponse().read())["model_version"] == "1"
        for path in samples.waiting():
            connection.close()
            return unseal(path.read_bytes(), KEY)
    raise AssertionError("nothing was kept")


def given(parts: tuple[Part, ...]) -> list[float]:
    """The input of a sample."""
    (row,) = [each.data for each in parts if each.kind == "input"]
    return list(np.frombuffer(row, np.float32))


def test_while_inputs_drift_requests_are_kept(tmp_path: Path) -> None:
    folder = laid_out(tmp_path, some_terms(every=0, drift=True, disagreement=True), 1)
    order(folder, 1, drift=True)
    with endpoint(folder) as running:
        label, parts = first_sample(running)
    assert (label.trigger, label.release) == (Trigger.DRIFT, str(tiny_pointer(1).release))
    assert given(parts) == ROW


def test_what_a_standby_answers_otherwise_is_kept_and_nothing_else(tmp_path: Path) -> None:
    async def mirror(link: EndpointLink) -> None:
        proved = await link.load(Load(SLOT, tiny_pointer(2), 60))
        await link.mirror(SLOT, proved.worker)

    folder = laid_out(tmp_path, some_terms(every=0, drift=True, disagreement=True), 1, 2)
    order(folder, 2, drift=False)
    with endpoint(folder) as running:
        linked(running, mirror)
        label, parts = first_sample(running)
    assert (label.trigger, label.release) == (Trigger.DISAGREEMENT, str(tiny_pointer(2).release))
    assert given(parts) == ROW

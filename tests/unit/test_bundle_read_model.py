from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from sealane.bundle.types import DataType, TensorSpec
from sealane.errors import BundleError
from sealane_manager.bundle.read_model import ONNX_BYTES, read_model
from support.bundles import WEIGHTS, tiny_onnx
from support.models import FLOAT, write_external, write_graph, write_half, write_tiny

PASS_ON = [helper.make_node("Identity", ["x"], ["y"])]


def test_a_model_says_what_goes_in_and_out(tmp_path: Path) -> None:
    model = read_model(write_tiny(tmp_path))
    assert model.inputs == (TensorSpec("x", DataType.FP32, (-1, 4)),)
    assert model.outputs == (TensorSpec("y", DataType.FP32, (-1, 3)),)
    assert (model.external, model.precision) == ((), "fp32")


def test_half_weights_are_seen(tmp_path: Path) -> None:
    assert read_model(write_half(tmp_path)).precision == "fp16"


def test_quantised_operators_are_seen(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    weights = {"scale": np.array(0.1, np.float32), "zero": np.array(0, np.uint8)}
    outputs = [helper.make_tensor_value_info("y", FLOAT, ["batch", 4])]
    path = write_graph(tmp_path / "q.onnx", nodes, weights, outputs=outputs)
    assert read_model(path).precision == "int8"


def test_a_model_that_keeps_its_shapes_to_itself_is_refused(tmp_path: Path) -> None:
    outputs = [helper.make_tensor_value_info("y", FLOAT, None)]
    path = write_graph(tmp_path / "m.onnx", PASS_ON, {}, outputs=outputs)
    with pytest.raises(BundleError, match="shape"):
        read_model(path)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_model_is_refused(tmp_path: Path, share: float) -> None:
    path, whole = tmp_path / "cut.onnx", tiny_onnx()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BundleError, match=r"not an ONNX file|not a valid ONNX model") as caught:
        read_model(path)
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a model", b"\x80\x04pickle", bytes(99)])
def test_what_is_not_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"not an ONNX file|not a valid ONNX model") as caught:
        read_model(path)
    assert "\n" not in str(caught.value)


def test_an_oversized_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.truncate(ONNX_BYTES + 1)
    with pytest.raises(BundleError, match="at most") as caught:
        read_model(path)
    assert "external data" in caught.value.hint


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"gone\.onnx is not a file"):
        read_model(tmp_path / "gone.onnx")


def test_weights_beside_the_model_belong_to_it(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(WEIGHTS.tobytes())
    assert read_model(write_external(tmp_path, "weights.bin")).external == ("weights.bin",)


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname", "a/../../x", "", "gone"])
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "outside.bin").write_bytes(WEIGHTS.tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(BundleError, match="keeps weights in"):
        read_model(write_external(folder, location))


def test_weights_behind_a_link_are_refused(tmp_path: Path) -> None:
    (tmp_path / "outside.bin").write_bytes(WEIGHTS.tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").symlink_to(tmp_path / "outside.bin")
    with pytest.raises(BundleError, match="not a file of its folder"):
        read_model(write_external(folder, "weights.bin"))


def test_a_custom_operator_is_refused_wherever_it_hides(tmp_path: Path) -> None:
    hidden = helper.make_graph(
        [helper.make_node("Own", ["x"], ["inner"], domain="acme")],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", FLOAT, ["batch", 3])],
    )
    nodes = [helper.make_node("If", ["always"], ["y"], then_branch=hidden, else_branch=hidden)]
    weights = {"always": np.array(True)}  # noqa: FBT003 - the tensor is a flag
    path = write_graph(tmp_path / "own.onnx", nodes, weights, domains=["acme"])
    with pytest.raises(BundleError, match=r"custom operator acme\.Own"):
        read_model(path)


def test_a_sequence_of_maps_is_refused_with_the_way_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    ]
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(FLOAT, []))
    outputs = [helper.make_value_info("y", helper.make_sequence_type_proto(kind))]
    path = write_graph(tmp_path / "m.onnx", nodes, {}, outputs=outputs, domains=["ai.onnx.ml"])
    with pytest.raises(BundleError, match="y is a sequence") as caught:
        read_model(path)
    assert "zipmap" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "shape", "complaint"),
    [
        (TensorProto.COMPLEX64, ["batch", 4], "holds complex64"),
        (FLOAT, [], "no batch dimension"),
        (FLOAT, ["batch", "height", "width"], "several free dimensions"),
    ],
)
def test_an_input_that_cannot_be_served_is_refused(
    tmp_path: Path, kind: int, shape: list[str | int], complaint: str
) -> None:
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    outputs = [helper.make_tensor_value_info("y", kind, shape)]
    path = write_graph(tmp_path / "m.onnx", PASS_ON, {}, inputs=inputs, outputs=outputs)
    with pytest.raises(BundleError, match=complaint):
        read_model(path)

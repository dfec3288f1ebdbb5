import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from sealane.bundle.check import check_layout
from sealane.bundle.golden import read_tensor
from sealane.bundle.layout import blob_path
from sealane.bundle.manifest import layer_at
from sealane.bundle.types import ProbationLimits, Tolerance
from sealane.errors import BundleError, SealaneError
from sealane_manager.bundle.engines import require
from sealane_manager.bundle.golden import GOLDEN_ROWS
from sealane_manager.bundle.pack import Packed, PackOrder, pack, probation_limits
from sealane_manager.bundle.reference import reference_bins
from sealane_manager.bundle.variants import VariantSource, parse_tolerance
from support.bundles import WEIGHTS, tiny_answer
from support.models import (
    FLOAT,
    write_data,
    write_external,
    write_graph,
    write_half,
    write_tiny,
)


def order(folder: Path, **fields: Any) -> PackOrder:
    usual = folder / "usual"
    usual.mkdir(exist_ok=True)
    tiny = PackOrder("demo/tiny", write_tiny(usual), write_data(usual), folder / "bundle")
    return replace(tiny, **fields)


def golden(packed: Packed, folder: Path) -> tuple[Any, Any]:
    """The golden input and output as a device reads them."""
    deployment, rows = packed.deployment, packed.deployment.golden.rows
    (taken,), (given,) = deployment.inputs, deployment.outputs
    paths = (deployment.golden.inputs["x"], deployment.golden.outputs["y"])
    blobs = [blob_path(folder, layer_at(packed.manifest, path).digest) for path in paths]
    return read_tensor(blobs[0], taken, rows), read_tensor(blobs[1], given, rows)


def test_a_packed_bundle_verifies_and_holds_the_models_own_answers(tmp_path: Path) -> None:
    packed = pack(order(tmp_path))
    assert check_layout(tmp_path / "bundle") == (packed.manifest, packed.deployment)
    rows, answers = golden(packed, tmp_path / "bundle")
    assert len(rows) == GOLDEN_ROWS
    np.testing.assert_allclose(answers, tiny_answer(rows), atol=1e-6)


def test_the_same_input_gives_the_same_digest(tmp_path: Path) -> None:
    one = pack(order(tmp_path))
    two = pack(order(tmp_path, out=tmp_path / "again"))
    assert one.manifest == two.manifest


def test_another_model_gives_another_digest(tmp_path: Path) -> None:
    one = pack(order(tmp_path))
    two = pack(order(tmp_path, onnx=write_tiny(tmp_path, 2), out=tmp_path / "again"))
    assert one.manifest.digest != two.manifest.digest


def test_without_data_nothing_is_packed(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no golden outputs") as caught:
        pack(order(tmp_path, data=None))
    assert "--data FILE.npz" in caught.value.hint
    assert "x" in caught.value.hint
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"z": np.ones((3, 4), np.float32)}, "holds z, the model takes x"),
        ({"x": np.ones((3, 5), np.float32)}, r"shape \(3, 5\)"),
        ({"x": np.ones(4, np.float32)}, r"shape \(4,\)"),
        ({"x": np.ones((0, 4), np.float32)}, r"shape \(0, 4\)"),
        ({"x": np.array([["a"] * 4])}, "the model takes float32"),
        ({"x": np.array([[{}] * 4], object)}, "plain numbers"),
        ({"x": np.full((2, 4), np.nan, np.float32)}, "not a finite number for golden row 0"),
    ],
)
def test_data_that_does_not_fit_is_refused(
    tmp_path: Path, arrays: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BundleError, match=complaint):
        pack(order(tmp_path, data=write_data(tmp_path, arrays)))
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x,y\n1,2\n", b"\x93NUMPY\x01\x00"])
def test_a_data_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"not a \.npz or \.npy file"):
        pack(order(tmp_path, data=path))


def test_double_precision_data_is_narrowed(tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, np.ones((2, 4), np.float64))
    assert pack(order(tmp_path, data=path)).deployment.golden.rows == 2


def test_golden_rows_come_from_all_over_the_data(tmp_path: Path) -> None:
    rows, _ = golden(pack(order(tmp_path)), tmp_path / "bundle")
    assert rows[0, 0] == -1
    assert rows[-1, -1] == 1


def test_reference_bins_count_every_value(tmp_path: Path) -> None:
    bins, *_ = pack(order(tmp_path)).deployment.reference
    assert bins.input == "x"
    assert sum(bins.counts) == 400
    assert max(bins.counts[1:-1]) <= 2 * min(bins.counts[1:-1])


def test_no_value_of_the_producer_lies_in_the_outer_bins(tmp_path: Path) -> None:
    bins, *_ = pack(order(tmp_path)).deployment.reference
    assert (len(bins.counts), bins.counts[0], bins.counts[-1]) == (22, 0, 0)


def test_reference_bins_of_one_repeated_value_hold_it_between_two_edges() -> None:
    (bins,) = reference_bins({"x": np.ones((5, 1)), "gone": np.full((2, 1), np.nan)})
    assert (bins.edges, bins.counts) == ((1.0, np.nextafter(1.0, 2.0)), (0, 5, 0))


def test_a_second_precision_is_a_variant_with_a_wider_tolerance(tmp_path: Path) -> None:
    half = VariantSource.parse(f"onnx-fp16={write_half(tmp_path)}:onnxruntime:fp16")
    packed = pack(order(tmp_path, variants=(half,)))
    full, halved = packed.deployment.variants
    assert halved.tolerance["y"].atol > full.tolerance["y"].atol
    assert packed.proofs[1].deviation is not None


def test_a_variant_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = VariantSource("other", write_tiny(tmp_path / "other", 2), "onnxruntime", "fp32")
    with pytest.raises(BundleError, match="variant other does not give the golden y") as caught:
        pack(order(tmp_path, variants=(other,)))
    assert "--tolerance" in caught.value.hint
    assert not (tmp_path / "bundle").exists()


def test_a_tolerance_that_is_given_goes_before_the_default(tmp_path: Path) -> None:
    name, given = parse_tolerance("onnx-fp32=0.5:0.25")
    (variant,) = pack(order(tmp_path, tolerance={name: given})).deployment.variants
    assert variant.tolerance == {"y": Tolerance(0.5, 0.25)}


def test_a_tolerance_for_no_variant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no variant is called other"):
        pack(order(tmp_path, tolerance={"other": Tolerance(1, 1)}))


def test_a_variant_with_other_tensors_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    outputs = [helper.make_tensor_value_info("y", FLOAT, ["batch", 4])]
    path = write_graph(tmp_path / "m.onnx", nodes, {}, outputs=outputs)
    with pytest.raises(BundleError, match="same tensors"):
        pack(order(tmp_path, variants=(VariantSource("m", path, "onnxruntime", "fp32"),)))


def test_a_variant_for_absent_hardware_is_packed_and_said_to_be_unchecked(tmp_path: Path) -> None:
    gpu = VariantSource.parse(f"gpu={write_tiny(tmp_path)}:onnxruntime:fp32:gpu")
    packed = pack(order(tmp_path, variants=(gpu,)))
    assert packed.proofs[1].deviation is None
    assert packed.proofs[1].reason == "packing runs no gpu"


def test_a_variant_of_a_runtime_that_is_not_installed_is_said_to_be_unchecked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    other = VariantSource.parse(f"ov={write_tiny(tmp_path)}:openvino:fp32")
    packed = pack(order(tmp_path, variants=(other,)))
    assert packed.proofs[1].reason == "openvino is not installed here"


@pytest.mark.parametrize("present", [(), ("m.xml",), ("m.bin",)])
def test_half_of_an_openvino_ir_is_refused(tmp_path: Path, present: tuple[str, ...]) -> None:
    for name in present:
        (tmp_path / name).write_text("<net/>")
    other = VariantSource("ov", tmp_path / "m.xml", "openvino", "fp32")
    with pytest.raises(BundleError, match="is not a file") as caught:
        pack(order(tmp_path, variants=(other,)))
    assert ".xml and a .bin" in caught.value.hint


def test_an_xml_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    for name in ("m.xml", "m.bin"):
        (tmp_path / name).write_text("<html/>")
    other = VariantSource("ov", tmp_path / "m.xml", "openvino", "fp32")
    with pytest.raises(BundleError, match="not an OpenVINO IR"):
        pack(order(tmp_path, variants=(other,)))


def test_whole_numbers_must_be_met_exactly(tmp_path: Path) -> None:
    nodes = [helper.make_node("ArgMax", ["x"], ["y"], axis=1)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.INT64, ["batch", 1])]
    path = write_graph(tmp_path / "m.onnx", nodes, {}, outputs=outputs)
    (variant,) = pack(order(tmp_path, onnx=path)).deployment.variants
    assert variant.tolerance == {"y": Tolerance(0.0, 0.0)}


def test_external_weights_travel_beside_their_model(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(WEIGHTS.tobytes())
    packed = pack(order(tmp_path, onnx=write_external(tmp_path, "weights.bin")))
    (variant,) = packed.deployment.variants
    assert variant.files == ("onnx-fp32/model.onnx", "onnx-fp32/weights.bin")
    check_layout(tmp_path / "bundle")


def test_a_model_that_answers_once_for_all_rows_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceMax", ["x"], ["y"], axes=[0], keepdims=1)]
    outputs = [helper.make_tensor_value_info("y", FLOAT, ["batch", 4])]
    path = write_graph(tmp_path / "m.onnx", nodes, {}, outputs=outputs)
    with pytest.raises(BundleError, match="no answer for each row"):
        pack(order(tmp_path, onnx=path))


def test_a_model_that_fails_on_its_own_data_is_refused_in_one_line(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gather", ["x", "far"], ["y"], axis=1)]
    path = write_graph(tmp_path / "m.onnx", nodes, {"far": np.array([0, 1, 99])})
    with pytest.raises(BundleError, match=r"onnxruntime cannot run m\.onnx") as caught:
        pack(order(tmp_path, onnx=path))
    assert "out of data bounds" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_with_a_fixed_batch_gets_exactly_that_many_rows(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    fixed = [helper.make_tensor_value_info(name, FLOAT, [2, 4]) for name in "xy"]
    path = write_graph(tmp_path / "m.onnx", nodes, {}, inputs=fixed[:1], outputs=fixed[1:])
    assert pack(order(tmp_path, onnx=path)).deployment.golden.rows == 2


def test_a_name_that_is_no_path_still_gets_a_golden_file(tmp_path: Path) -> None:
    names = ("serving:../in", "StatefulPartitionedCall:0")
    nodes = [helper.make_node("Relu", [names[0]], [names[1]])]
    infos = [helper.make_tensor_value_info(name, FLOAT, ["batch", 4]) for name in names]
    path = write_graph(tmp_path / "m.onnx", nodes, {}, inputs=infos[:1], outputs=infos[1:])
    data = write_data(tmp_path, {names[0]: np.ones((2, 4), np.float32)})
    packed = pack(order(tmp_path, onnx=path, data=data))
    assert packed.deployment.golden.inputs == {names[0]: "golden/input/serving_in-0.bin"}


@pytest.mark.parametrize(
    "text",
    ["", "name", "name=", "name=path", "name=path:openvino", "=path:openvino:fp32", "a=:b:c"],
)
def test_a_malformed_variant_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BundleError, match="not a variant") as caught:
        VariantSource.parse(text)
    assert "openvino:fp32" in caught.value.hint


def test_a_variant_is_read_from_the_right_so_that_paths_may_hold_colons() -> None:
    assert VariantSource.parse("a=b:c/d.xml:openvino:fp16:npu") == VariantSource(
        "a", Path("b:c/d.xml"), "openvino", "fp16", "npu"
    )


@pytest.mark.parametrize(("runtime", "precision"), [("torch", "fp32"), ("openvino", "fp8")])
def test_an_unknown_runtime_or_precision_is_refused(
    tmp_path: Path, runtime: str, precision: str
) -> None:
    source = VariantSource("other", write_tiny(tmp_path), runtime, precision)
    with pytest.raises(BundleError, match="is unknown"):
        pack(order(tmp_path, variants=(source,)))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"model": "Tiny"}, "not a model's name"),
        ({"probation": ProbationLimits(seconds=float(10**9))}, "seconds"),
    ],
)
def test_an_order_outside_the_bounds_leaves_nothing_behind(
    tmp_path: Path, fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BundleError, match=complaint):
        pack(order(tmp_path, **fields))
    assert not (tmp_path / "bundle").exists()


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="exists already"):
        pack(order(tmp_path, out=tmp_path))


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_proven(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SealaneError, match="file is no folder"):
        pack(order(tmp_path, out=tmp_path / "file" / "bundle"))


def test_a_long_probation_moves_its_deadline() -> None:
    assert probation_limits(3600, None).deadline_seconds == 7200
    assert probation_limits(None, 5) == ProbationLimits(min_requests=5)


def test_a_missing_library_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BundleError, match="packing needs onnx") as caught:
        require()
    assert caught.value.hint == "pip install 'sealane-manager[pack]'"


def test_a_table_is_watched_by_its_columns() -> None:
    found = reference_bins({"x": np.arange(20.0).reshape(10, 2)})
    assert [bins.input for bins in found] == ["x", "x[0]", "x[1]"]
    assert [sum(bins.counts) for bins in found] == [20, 10, 10]


def test_images_and_signals_are_watched_by_numbers_that_describe_them() -> None:
    images = np.random.default_rng(1).random((300, 1, 8, 8))
    found = reference_bins({"image": images, "sound": np.ones((10, 500))})
    assert [bins.input for bins in found] == [
        "image",
        "image:brightness",
        "image:contrast",
        "image:sharpness",
        "image:stripes",
        "sound",
        "sound:rms",
        "sound:crest",
    ]
    assert [sum(bins.counts) for bins in found][1:5] == [300] * 4


def test_an_image_that_is_too_large_for_a_device_is_watched_by_its_values() -> None:
    found = reference_bins({"image": np.zeros((2, 300, 300), np.uint8)})
    assert [bins.input for bins in found] == ["image"]


def test_a_packed_reference_is_one_that_devices_can_count(tmp_path: Path) -> None:
    reference = pack(order(tmp_path)).deployment.reference
    assert [bins.input for bins in reference] == ["x", "x[0]", "x[1]", "x[2]", "x[3]"]
    assert check_layout(tmp_path / "bundle")[1].reference == reference


@pytest.mark.parametrize("names", [("good",), ("a", "b"), ("a", "b", "c", "d")])
def test_names_for_other_classes_than_the_answer_has_are_refused(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    with pytest.raises(BundleError, match=f"has 3 classes, and --label names {len(names)}"):
        pack(order(tmp_path, labels=names))

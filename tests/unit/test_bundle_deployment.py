import json
from dataclasses import replace
from typing import Any

import pytest
from sealane.bundle.deployment import encode_deployment, parse_deployment
from sealane.bundle.references import GOLDEN_BYTES, check_references
from sealane.bundle.types import (
    DataType,
    Deployment,
    Golden,
    Measure,
    Objective,
    ReferenceBins,
    TensorSpec,
    Tolerance,
)
from sealane.errors import BundleError
from sealane.limits import DEPLOYMENT_BYTES
from support.bundles import tiny_deployment, tiny_manifest


def document() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(encode_deployment(tiny_deployment()))
    return read


def edited(path: str, value: object) -> bytes:
    """The tiny deployment with one field set; `variants.0.name` is a path."""
    whole = document()
    *parents, last = path.split(".")
    here: Any = whole
    for key in parents:
        here = here[int(key)] if isinstance(here, list) else here[key]
    here[last] = value
    return json.dumps(whole).encode()


def test_a_deployment_is_read_back_as_it_was_written() -> None:
    deployment = replace(
        tiny_deployment(),
        reference=(ReferenceBins("x", (-0.5, 0.5), (1, 2, 3)),),
        labels=("nought", "one", "ünï"),
    )
    assert parse_deployment(encode_deployment(deployment)) == deployment


@pytest.mark.parametrize("objective", [Objective(by) for by in Measure] + [Objective(within_ms=20)])
def test_an_objective_is_read_back_and_the_usual_one_is_not_written(objective: Objective) -> None:
    written = encode_deployment(replace(tiny_deployment(), objective=objective))
    assert parse_deployment(written).objective == objective
    assert (b"objective" in written) == (objective != Objective())


def test_a_bundle_from_before_ranks_by_latency() -> None:
    assert "objective" not in document()
    assert parse_deployment(json.dumps(document()).encode()).objective == Objective()


def test_an_objective_may_say_more_than_this_version_knows() -> None:
    whole = document() | {"objective": {"by": "memory", "at_rows": 8}}
    read = parse_deployment(json.dumps(whole).encode())
    assert read.objective == Objective(Measure.MEMORY)
    written = json.loads(encode_deployment(read))
    assert written["objective"] == {"by": "memory", "at_rows": 8, "within_ms": 0.0}


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        ({"by": "watts"}, "'watts' is no objective: latency, throughput, memory"),
        ({"by": 7}, "by"),
        ({}, "by"),
        ([], "objective"),
        ({"by": "latency", "within_ms": -1}, "within_ms"),
        ({"by": "latency", "within_ms": 1e12}, "within_ms"),
        ({"by": "latency", "within_ms": "soon"}, "within_ms"),
    ],
)
def test_an_objective_that_nobody_knows_is_refused_with_what_there_is(
    objective: object, says: str
) -> None:
    with pytest.raises(BundleError, match=says):
        parse_deployment(json.dumps(document() | {"objective": objective}).encode())


def test_unknown_fields_survive_wherever_they_stand() -> None:
    whole = document() | {"later": {"a": [1, 2.5, None]}}
    whole["variants"][0]["hints"] = {"batch": 8}
    whole["variants"][0]["tolerance"]["y"]["cosine"] = 0.99
    whole["inputs"][0]["unit"] = "mm"
    whole["probation"]["shadow"] = True
    whole["golden"]["made_by"] = "someone"
    read = parse_deployment(json.dumps(whole).encode())
    assert json.loads(encode_deployment(read)) == whole
    assert parse_deployment(encode_deployment(read)) == read
    assert replace(read, extra={}) == tiny_deployment()


def test_a_number_keeps_its_value_whether_written_whole_or_not() -> None:
    assert parse_deployment(edited("probation.seconds", 30)).probation.seconds == 30.0


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("format", 2), ("format", "1"), ("model", "NoFamily"), ("model", 7)),
        *(("inputs", []), ("outputs", {}), ("inputs.0.name", ""), ("inputs.0.name", "a\nb")),
        *(("inputs.0.datatype", "FLOAT"), ("inputs.0.shape", []), ("inputs.0.shape", [-2])),
        *(("inputs.0.shape", [0]), ("inputs.0.shape", [True]), ("inputs.0.shape", [1.0])),
        *(("inputs.0.shape", [1] * 9), ("inputs.0.shape", [2**40])),
        *(("variants", []), ("variants.0.name", "Upper"), ("variants.0.name", "a/b")),
        *(("variants.0.accelerator", "tpu"), ("variants.0.files", "x"), ("variants.0.files", [1])),
        *(("variants.0.tolerance.y.atol", -1), ("variants.0.tolerance.y.rtol", True)),
        *(("variants.0.memory_bytes", -1), ("variants.0.memory_bytes", 10**30)),
        *(("variants.0.tolerance.y.atol", 10**400), ("variants.0.tolerance", [])),
        *(("golden.rows", 0), ("golden.rows", 10**6), ("golden.inputs", None)),
        *(("probation.max_error_rate", 1.5), ("probation.seconds", 601), ("labels", ["a", 1])),
        ("reference", [{"input": "x", "edges": [2, 1], "counts": [0, 0, 0]}]),
        ("reference", [{"input": "x", "edges": [1], "counts": [0]}]),
        ("reference", [{"input": "x", "edges": [1], "counts": [0, -1]}]),
    ],
)
def test_a_value_outside_its_bounds_is_refused(path: str, value: object) -> None:
    with pytest.raises(BundleError):
        parse_deployment(edited(path, value))


@pytest.mark.parametrize("key", sorted(document()))
def test_a_missing_field_is_named(key: str) -> None:
    whole = document()
    del whole[key]
    with pytest.raises(BundleError, match=key):
        parse_deployment(json.dumps(whole).encode())


def test_two_variants_of_one_name_are_refused() -> None:
    deployment = tiny_deployment()
    twice = replace(deployment, variants=deployment.variants * 2)
    with pytest.raises(BundleError, match="twice"):
        parse_deployment(encode_deployment(twice))


def test_a_deployment_beyond_its_limit_is_refused() -> None:
    with pytest.raises(BundleError, match="more than"):
        parse_deployment(b" " * (DEPLOYMENT_BYTES + 1))


def _variant(**fields: Any) -> Deployment:
    deployment = tiny_deployment()
    return replace(deployment, variants=(replace(deployment.variants[0], **fields),))


_Y = TensorSpec("y", DataType.FP32, (-1, 3))


@pytest.mark.parametrize(
    ("deployment", "complaint"),
    [
        (_variant(files=("onnx-fp32/model.onnx", "gone.bin")), "lists no gone.bin"),
        (_variant(model="deployment.json"), "does not list its model"),
        (_variant(tolerance={}), "tolerances"),
        (_variant(tolerance={"z": Tolerance(1, 1)}), "tolerances"),
        (
            replace(tiny_deployment(), golden=Golden(4, {}, {"y": "golden/output/y.bin"})),
            "golden inputs",
        ),
        (
            replace(tiny_deployment(), golden=Golden(4, {"x": "golden/input/x.bin"}, {"y": "g"})),
            "lists no g",
        ),
        (replace(tiny_deployment(), golden=replace(tiny_deployment().golden, rows=5)), "bytes"),
        (replace(tiny_deployment(), outputs=(replace(_Y, shape=(2, 3)),)), "2 rows at a time"),
        (
            replace(tiny_deployment(), outputs=(TensorSpec("y", DataType.BYTES, (-1, 300)),)),
            "golden texts",
        ),
        (replace(tiny_deployment(), outputs=(replace(_Y, shape=(-1, -1, -1)),)), "more than one"),
        (replace(tiny_deployment(), outputs=(replace(_Y, shape=(-1, 7, -1)),)), "bytes"),
        (replace(tiny_deployment(), reference=(ReferenceBins("z", (), (0,)),)), "reference"),
        (replace(tiny_deployment(), reference=(ReferenceBins("x", (), (0,)),) * 2), "reference"),
    ],
)
def test_a_reference_to_what_is_not_there_is_refused(
    deployment: Deployment, complaint: str
) -> None:
    with pytest.raises(BundleError, match=complaint):
        check_references(tiny_manifest(), deployment)


def test_a_golden_file_too_large_to_be_read_is_refused() -> None:
    manifest = tiny_manifest()
    grown = tuple(replace(layer, size=GOLDEN_BYTES + 1) for layer in manifest.layers)
    with pytest.raises(BundleError, match="more than"):
        check_references(replace(manifest, layers=grown), tiny_deployment())


def test_one_free_dimension_beside_the_batch_is_measured_from_the_file() -> None:
    deployment = replace(tiny_deployment(), outputs=(replace(_Y, shape=(-1, -1)),))
    check_references(tiny_manifest(), deployment)

"""What a release lets be kept: read strictly, written the one way, nothing without it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sealane.bundle.deployment import encode_deployment, parse_deployment
from sealane.bundle.jsonform import Fields
from sealane.bundle.types import DataType, TensorSpec
from sealane.errors import BundleError
from sealane.sampling.terms import read_terms
from sealane.sampling.types import InputTerms
from sealane_manager.trust.describe import kept_inputs
from support.bundles import tiny_deployment
from support.samples import some_terms

INPUTS = (
    TensorSpec("x", DataType.FP32, (-1, 4)),
    TensorSpec("photo", DataType.UINT8, (-1, 64, 64, 3)),
)


def terms(**changes: Any) -> Any:
    return read_terms(Fields.of(some_terms().fields() | changes, "sampling"), INPUTS)


def test_a_bundle_without_terms_has_none_and_the_bytes_that_it_always_had() -> None:
    content = encode_deployment(tiny_deployment())
    assert b"sampling" not in content
    assert parse_deployment(content).sampling is None


def test_terms_survive_a_round_trip() -> None:
    wanted = some_terms(every=100, confidence_below=0.6, errors=True)
    deployment = replace(tiny_deployment(), sampling=wanted)
    content = encode_deployment(deployment)
    assert parse_deployment(content).sampling == wanted
    assert encode_deployment(parse_deployment(content)) == content


def test_wishes_that_may_be_left_out_are_written_only_when_they_are_there() -> None:
    plain, full = some_terms().fields(), some_terms(drift=True, disagreement=True).fields()
    assert set(full) - set(plain) == {"drift", "disagreement"}
    assert (terms().drift, terms(drift=True).drift) == (False, True)
    assert (terms().disagreement, terms(disagreement=True).disagreement) == (False, True)


@pytest.mark.parametrize("name", ["drift", "disagreement"])
def test_a_wish_is_true_or_false(name: str) -> None:
    with pytest.raises(BundleError, match=f"{name} is neither true nor false"):
        terms(**{name: 1})


def test_whoever_signs_reads_what_is_kept_at_drift_and_disagreement() -> None:
    said = kept_inputs(some_terms(drift=True, disagreement=True))
    assert "while its inputs drift" in said
    assert "where it disagrees with the release before" in said


def test_a_field_that_a_later_version_knows_is_kept() -> None:
    raw = json.loads(encode_deployment(replace(tiny_deployment(), sampling=some_terms())))
    raw["sampling"]["moon"] = "full"
    again = parse_deployment(json.dumps(raw).encode())
    assert json.loads(encode_deployment(again))["sampling"]["moon"] == "full"


def test_an_image_shrinks_and_a_table_has_columns() -> None:
    found = terms(
        inputs={"x": {"columns": [3, 0], "shrink": 1}, "photo": {"columns": [], "shrink": 8}}
    )
    assert found.inputs == {"x": InputTerms((3, 0)), "photo": InputTerms((), 8)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inputs": {}}, "is empty"),
        ({"inputs": {"y": {"columns": [], "shrink": 1}}}, "names 'y', which is no input"),
        ({"inputs": {"x": {"columns": [4], "shrink": 1}}}, "are no columns of x"),
        ({"inputs": {"x": {"columns": [True], "shrink": 1}}}, "are no columns of x"),
        ({"inputs": {"x": {"columns": [], "shrink": 2}}}, "is no image"),
        ({"inputs": {"photo": {"columns": [0], "shrink": 1}}}, "are no columns of photo"),
        ({"errors": 1}, "errors is neither true nor false"),
        ({"every": -1}, "every is not a whole number"),
        ({"confidence_below": 1.5}, "confidence_below is not a number"),
        ({"bytes_per_day": 0}, "bytes_per_day"),
        ({"bytes_per_day": 2**40}, "bytes_per_day"),
        ({"seconds_kept": 0}, "seconds_kept"),
    ],
)
def test_terms_that_mean_nothing_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleError, match=said):
        terms(**changes)

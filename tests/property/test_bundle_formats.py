"""Any bytes: a reader of bundles answers with a value or with BundleError, never otherwise."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sealane.bundle.deployment import encode_deployment, parse_deployment
from sealane.bundle.golden import largest_deviation
from sealane.bundle.manifest import parse_manifest
from sealane.bundle.paths import check_path, check_paths
from sealane.bundle.types import (
    Agreement,
    DataType,
    Deployment,
    Golden,
    Measure,
    Objective,
    ProbationLimits,
    ReferenceBins,
    Rule,
    TensorSpec,
    Tolerance,
    Variant,
)
from sealane.errors import BundleError
from support.bundles import tiny_deployment, tiny_manifest

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
PATHS = st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,2}", fullmatch=True)
SPECS = st.builds(
    TensorSpec,
    NAMES,
    st.sampled_from(DataType),
    st.lists(st.integers(1, 9) | st.just(-1), min_size=1, max_size=4).map(tuple),
)
TOLERANCES = st.builds(Tolerance, st.floats(0, 1e6), st.floats(0, 1e6))
VARIANTS = st.builds(
    Variant,
    name=NAMES,
    runtime=NAMES,
    accelerator=st.sampled_from(["cpu", "gpu", "npu"]),
    precision=NAMES,
    model=PATHS,
    files=st.lists(PATHS, max_size=3).map(tuple),
    tolerance=st.dictionaries(NAMES, TOLERANCES, max_size=2),
    memory_bytes=st.integers(0, 2**40),
)
BINS = st.lists(st.integers(-99, 99), unique=True, max_size=4).flatmap(
    lambda edges: st.builds(
        ReferenceBins,
        NAMES,
        st.just(tuple(map(float, sorted(edges)))),
        st.tuples(*[st.integers(0, 99)] * (len(edges) + 1)),
    )
)


def several(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(items, min_size=1, max_size=3, unique_by=lambda item: item.name).map(tuple)


DEPLOYMENTS = st.builds(
    Deployment,
    model=st.just("family/model"),
    inputs=several(SPECS),
    outputs=several(SPECS),
    variants=several(VARIANTS),
    golden=st.builds(
        Golden,
        st.integers(1, 4096),
        st.dictionaries(NAMES, PATHS, max_size=3),
        st.dictionaries(NAMES, PATHS, max_size=3),
    ),
    reference=st.lists(BINS, max_size=2).map(tuple),
    probation=st.builds(ProbationLimits, seconds=st.floats(0, 600)),
    labels=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    objective=st.builds(Objective, st.sampled_from(Measure), st.floats(0, 60_000)),
)
AGREEMENTS = st.builds(
    Agreement,
    st.sampled_from(Rule),
    least=st.floats(0, 1),
    k=st.integers(1, 9),
    margin=st.floats(0, 1),
)


@given(st.text(alphabet="aAbB.:/\\-_ \0\nCONcon1~") | st.text())
def test_a_path_that_passes_stays_inside_its_folder_on_every_system(path: str) -> None:
    with suppress(BundleError):
        check_path(path)
        assert PurePosixPath(path).as_posix() == path
        assert not PurePosixPath(path).is_absolute()
        assert PureWindowsPath(path).as_posix() == path
        assert not PureWindowsPath(path).drive
        assert ".." not in path.split("/")


@given(st.lists(st.from_regex(r"[abAB](/[abAB])?", fullmatch=True), max_size=4))
def test_paths_that_pass_together_never_meet(paths: list[str]) -> None:
    with suppress(BundleError):
        check_paths(paths)
        files = {path.lower() for path in paths}
        folders = {str(parent) for path in files for parent in PurePosixPath(path).parents}
        assert len(files) == len(paths)
        assert not files & folders


@given(DEPLOYMENTS, AGREEMENTS)
def test_every_deployment_is_read_back_as_it_was_written(
    plain: Deployment, rule: Agreement
) -> None:
    deployment = replace(plain, agreement={plain.outputs[0].name: rule})
    content = encode_deployment(deployment)
    assert parse_deployment(content) == deployment
    assert encode_deployment(parse_deployment(content)) == content


@given(st.dictionaries(st.text().map("x-{}".format), JSON, max_size=3), st.data())
def test_unknown_fields_survive_at_any_depth(fields: dict[str, Any], data: st.DataObject) -> None:
    whole = json.loads(encode_deployment(tiny_deployment()))
    places = [whole, whole["variants"][0], whole["golden"], whole["inputs"][0], whole["probation"]]
    data.draw(st.sampled_from(places)).update(fields)
    content = json.dumps(whole).encode()
    assert json.loads(encode_deployment(parse_deployment(content))) == whole


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_arbitrary_bytes_are_refused_as_bundle_errors(content: bytes) -> None:
    for read in (parse_manifest, parse_deployment):
        with suppress(BundleError):
            read(content)


@given(st.data(), JSON)
def test_a_known_document_with_any_value_replaced_is_read_or_refused(
    data: st.DataObject, value: Any
) -> None:
    for read, content in (
        (parse_manifest, tiny_manifest().content),
        (parse_deployment, encode_deployment(tiny_deployment())),
    ):
        whole = json.loads(content)
        here, key = whole, data.draw(st.sampled_from(sorted(whole)))
        while isinstance(here[key], dict | list) and here[key] and data.draw(st.booleans()):
            here = here[key]
            keys = range(len(here)) if isinstance(here, list) else sorted(here)
            key = data.draw(st.sampled_from(keys))
        here[key] = value
        with suppress(BundleError):
            read(json.dumps(whole).encode())


FLOATS = arrays.arrays(np.float32, 3, elements=st.floats(width=32))


@given(FLOATS, FLOATS, TOLERANCES)
def test_a_nan_never_passes_and_what_passes_is_within_the_bound(
    got: Any, want: Any, tolerance: Tolerance
) -> None:
    passed, deviation = largest_deviation(got, want, tolerance)
    assert not np.isnan(deviation)
    if np.isnan(got).any() or np.isnan(want).any():
        assert not passed
    elif passed and np.isfinite(want).all():
        apart = np.abs(got.astype(np.float64) - want.astype(np.float64))
        assert (apart <= tolerance.atol + tolerance.rtol * np.abs(want.astype(np.float64))).all()
        assert deviation == apart.max()

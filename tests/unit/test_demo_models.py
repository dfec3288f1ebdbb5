from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from demo_story.models import CRASH, STALL, Models, answers, make_models
from sealane_manager.bundle.pack import PackOrder, pack
from sealane_manager.bundle.variants import VariantSource

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("models"))


def test_the_second_release_is_better_than_the_first(models: Models) -> None:
    with np.load(models.traffic) as seen:
        right = {
            version: (seen[f"expected_{version}"].argmax(axis=1) == seen["labels"]).mean()
            for version in (1, 2, 4)
        }
    assert 0.8 < right[1] < right[2] - 0.03
    assert right[4] > 0.9


def test_a_tenth_to_a_fifth_of_what_cameras_see_steps_into_a_trap(models: Models) -> None:
    with np.load(models.traffic) as seen:
        caught = CRASH.catches(seen["rows"]) | STALL.catches(seen["rows"])
    assert 0.10 < caught.mean() < 0.20


def test_no_typical_row_is_in_a_trap(models: Models) -> None:
    with np.load(models.releases[3].data) as typical:
        rows = typical["pixels"]
    assert not (CRASH.catches(rows) | STALL.catches(rows)).any()


def test_the_third_release_answers_like_the_second_until_it_fails(models: Models) -> None:
    with np.load(models.traffic) as seen:
        rows, want = seen["rows"], seen["expected_2"]
        alive = ~CRASH.catches(rows)
        np.testing.assert_array_equal(seen["expected_3"][alive], want[alive])
        assert np.isnan(seen["expected_3"][~alive]).all()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(models.releases[3].onnx), options)
    with pytest.raises(Exception, match="out of data bounds"):
        session.run(None, {"pixels": rows[~alive][:1]})


def test_every_release_passes_its_own_golden_set(models: Models, tmp_path: Path) -> None:
    for version, release in models.releases.items():
        variants = tuple(VariantSource.parse(text) for text in release.variants)
        out = tmp_path / str(version)
        packed = pack(PackOrder("digits/classifier", release.onnx, release.data, out, variants))
        assert all(proof.deviation is not None for proof in packed.proofs)


def test_the_second_release_has_an_openvino_variant(models: Models) -> None:
    (text,) = models.releases[2].variants
    assert VariantSource.parse(text).runtime == "openvino"


def test_expected_answers_hold_row_by_row(models: Models) -> None:
    with np.load(models.traffic) as seen:
        one = answers(models.releases[1].onnx, seen["rows"][:1])
        np.testing.assert_allclose(one, seen["expected_1"][:1], atol=1e-6)

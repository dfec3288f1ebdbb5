"""Files that are no models, at `sealane bundle pack`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.stories import Refusal, contents, refusal

if TYPE_CHECKING:
    from pathlib import Path

    from demo_story.models import Models

pytestmark = pytest.mark.slow


def _refused(onnx: Path, models: Models) -> Refusal:
    """Packing refuses, and leaves the folder as it was."""
    before = contents(onnx.parent) if onnx.stat().st_size < 1 << 20 else {}
    out = onnx.parent / "bundle"
    found = refusal(
        *("sealane", "bundle", "pack", str(onnx), "--model", "digits/classifier"),
        *("--data", str(models.releases[1].data), "--out", str(out)),
    )
    assert [path.name for path in onnx.parent.iterdir()] == [onnx.name]
    assert not before or contents(onnx.parent) == before
    return found


def test_a_truncated_model_is_no_bundle(models: Models, tmp_path: Path) -> None:
    whole = models.releases[1].onnx.read_bytes()
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(whole[: len(whole) // 2])
    found = _refused(torn, models)
    assert found.code == 1
    assert found.error == f"{torn} is not an ONNX file, or a part of one"
    assert "export the model again" in found.hint


def test_a_model_larger_than_onnx_can_be_is_no_bundle(models: Models, tmp_path: Path) -> None:
    huge = tmp_path / "huge.onnx"
    with huge.open("wb") as file:
        file.truncate(3 << 30)  # a sparse file: it takes no disk
    found = _refused(huge, models)
    assert found.code == 1
    assert found.error.startswith(f"{huge} is {3 << 30} bytes, and an ONNX file has at most")
    assert found.hint == "save the weights as external data"


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" * 40, b"weights, honestly\n"])
def test_a_file_that_is_no_onnx_is_no_bundle(
    models: Models, tmp_path: Path, content: bytes
) -> None:
    stray = tmp_path / "stray.onnx"
    stray.write_bytes(content)
    found = _refused(stray, models)
    assert found.code == 1
    assert str(stray) in found.error
    assert found.hint

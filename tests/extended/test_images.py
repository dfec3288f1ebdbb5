"""An image is the same bytes each time, so that what runs can be compared with what was built."""

from __future__ import annotations

import filecmp
from typing import TYPE_CHECKING

from realworld.conftest import build, build_elsewhere

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_build_of_an_image_elsewhere_gives_the_same_bytes(tmp_path: Path) -> None:
    image = ("--form", "image", "sealane-agent")
    once = build(tmp_path / "once", *image)
    again = build_elsewhere(tmp_path / "again", *image)
    names = [path.name for path in once.iterdir()]
    assert len(names) == 1
    assert filecmp.cmp(once / names[0], again / names[0], shallow=False)

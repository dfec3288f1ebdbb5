"""The plant of stories: the real command lines, and no work done twice that proves nothing."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from demo_story.plant import Plant
from support.commands import ForkedProcesses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Built = TypeVar("Built", bound=Plant)

_packed: dict[tuple[Path, Path, tuple[str, ...]], Path] = {}


class StoryPlant(Plant):
    """A plant whose commands have little to import, and whose bundles are each packed once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ForkedProcesses(folder))

    def pack(self, onnx: Path, data: Path, *options: str) -> Path:
        """`sealane bundle pack` beside the model, or a copy of what it made before."""
        key = (onnx, data, options)
        if key not in _packed:
            _packed[key] = super().pack(onnx, data, *options)
            return _packed[key]
        return shutil.copytree(_packed[key], self.folder / f"bundle-{onnx.stem}")


@contextmanager
def running(plant: Built) -> Iterator[Built]:
    """With a fleet and its manager, and no devices yet; all of it ends with this."""
    try:
        plant.init()
        plant.start_manager()
        yield plant
    finally:
        plant.stop()

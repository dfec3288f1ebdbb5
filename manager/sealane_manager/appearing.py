"""What is made here appears at once, whole, and never over another."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane.errors import SealaneError

from sealane_manager.errors import Refused
from sealane_manager.layout import StateFolder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BUILDING: Final = ".init"


def check_folder(folder: Path) -> None:
    """Raise SealaneError unless this is a folder, in which something is going to appear."""
    if not folder.exists():
        raise SealaneError(f"there is no folder {folder}", hint="make it first, or name another")
    if not folder.is_dir():
        raise SealaneError(f"{folder} is no folder", hint="name another place")


@contextmanager
def building(state: StateFolder) -> Iterator[StateFolder]:
    """A folder to build in, whose content becomes the state's when all went well.

    Raises Refused when the state's folder holds something.
    """
    existed = state.root.exists()
    if existed and any(path.name != _BUILDING for path in state.root.iterdir()):
        raise Refused(
            f"{state.root} is not empty",
            hint="a fleet is never overwritten: name a folder that does not exist yet",
        )
    # Inside, where a folder was given: its parent may not be ours to write in.
    place = state.root / _BUILDING if existed else state.root.with_name(f".{state.root.name}.init")
    shutil.rmtree(place, ignore_errors=True)
    fileio.make_folder(place)
    try:
        yield StateFolder(place)
        _appear(place, state)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _appear(place: Path, state: StateFolder) -> None:
    if not state.root.exists():
        fileio.rename(place, state.root)
        return
    settings = place / state.settings.name
    for path in (*(path for path in place.iterdir() if path != settings), settings):
        fileio.rename(path, state.root / path.name)

"""A device that trusts a simulated authority."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.trust import Scene

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "trust")

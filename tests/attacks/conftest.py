"""A device that trusts a simulated authority; registries that need not be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.bundles import tiny_bundle
from support.registries import FakeRegistry, registry
from support.trust import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "trust")


@pytest.fixture
def there() -> Iterator[FakeRegistry]:
    with registry() as found:
        yield found


@pytest.fixture
def elsewhere() -> Iterator[FakeRegistry]:
    with registry() as found:
        yield found


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "layout")

"""Stories run the real programs, as their users would: a plant on loopback for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from demo_story.models import Models, make_models
from support.story_plant import StoryPlant, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo_story.plant import Plant


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    """A plant whose manager runs and that has no devices yet."""
    with running(StoryPlant(tmp_path)) as built:
        yield built

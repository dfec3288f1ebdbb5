"""One plant for each file of stories: a device on which the line runs while things are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support.stories import Refusal, refusal, serve_release_1, still_answered
from support.story_plant import StoryPlant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo_story.models import Models
    from demo_story.plant import Plant


@dataclass(frozen=True, slots=True)
class Line:
    """A plant whose device box-1 serves release 1 to a stock client, all the time."""

    plant: Plant
    log: Path

    def refused(self, program: str, *arguments: str) -> Refusal:
        """Run a command of this plant that must refuse."""
        return refusal(program, *arguments, environment=self.plant.processes.environment)

    def goes_on(self) -> None:
        """Box-1 answers with release 1, and has answered every request so far."""
        still_answered(self.log)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Iterator[Line]:
    plant = StoryPlant(tmp_path_factory.mktemp("line"))
    try:
        plant.init()
        plant.start_manager()
        serve_release_1(plant, models, "box-1")
        yield Line(plant, plant.start_traffic(models.traffic, ["box-1"]))
    finally:
        plant.stop()

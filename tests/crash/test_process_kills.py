"""The agent's process is killed before and after every one of its disk operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.crash_acts import ACTS
from support.crash_disk import KILLS
from support.crash_hold import hold

if TYPE_CHECKING:
    from support.crash_hold import Record


@pytest.mark.slow
@pytest.mark.parametrize("act", [act.name for act in ACTS])
def test_a_kill_at_any_operation_is_survived(act: str, record_property: Record) -> None:
    hold(act, "kill", KILLS, record_property)

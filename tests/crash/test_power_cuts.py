"""The power goes at every disk operation: what no fsync covered is gone, empty, or half there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.crash_acts import ACTS
from support.crash_disk import CUTS
from support.crash_hold import hold

if TYPE_CHECKING:
    from support.crash_hold import Record


@pytest.mark.slow
@pytest.mark.parametrize("act", [act.name for act in ACTS])
def test_a_power_cut_at_any_operation_is_survived(act: str, record_property: Record) -> None:
    hold(act, "power cut", CUTS, record_property)

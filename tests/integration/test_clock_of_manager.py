"""A manager whose clock was set back starts, and says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sealane_manager.parts import ManagerSettings
from sealane_manager.store.records import DecisionRecord
from sealane_manager.store.store import open_store
from support.manager import make_state, managing

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_manager_whose_clock_was_set_back_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = make_state(tmp_path)
    later = datetime.now(UTC) + timedelta(days=3)
    store = open_store(state.database)
    store.decisions.write(DecisionRecord(later, "", "ada", "label", "before it was set back"))
    store.close()
    settings = ManagerSettings(state, fleet_port=0, enrol_port=0, operator_port=0, dashboard_port=0)
    with managing(settings):
        pass
    assert f"the log was written until {later:%Y-%m-%d %H:%M} UTC" in caplog.text

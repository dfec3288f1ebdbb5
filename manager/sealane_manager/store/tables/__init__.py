"""The tables of control.db: whoever imports one knows them all, as `metadata` must.

Counters have 64 bits, words are strings, moments are aware, in UTC.
"""

from sealane_manager.store.tables import (
    alerts,
    decisions,
    devices,
    people,
    rollouts,
    samples,
    times,
)

__all__ = ["alerts", "decisions", "devices", "people", "rollouts", "samples", "times"]

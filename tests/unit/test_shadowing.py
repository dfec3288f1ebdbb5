"""What becomes of a release by the copies of requests that it got."""

from __future__ import annotations

import pytest
from sealane.policy import Trial
from sealane_agent.serving.messages import Shadowed
from sealane_agent.slot.shadowing import failed, otherwise

TRIAL = Trial(shadow_seconds=60, disagreement=0.05)


def test_a_device_that_nobody_asks_goes_on_with_nothing_compared() -> None:
    assert failed(Shadowed("cam-2"), over=True) is None
    assert otherwise(Shadowed("cam-2"), TRIAL) is None


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (Shadowed("cam-2", lost=1), "lost 1 times"),
        (Shadowed("cam-2", answered=90, failed=10), "failed on 10 of 100 copies"),
    ],
)
def test_copies_that_a_release_does_not_answer_end_it_at_once_and_for_good(
    seen: Shadowed, why: str
) -> None:
    fault = failed(seen, over=False)
    assert fault is not None
    assert why in fault.reason
    assert fault.quarantine


def test_one_early_failure_ends_nothing_and_counts_at_the_end() -> None:
    seen = Shadowed("cam-2", answered=9, failed=1)
    assert failed(seen, over=False) is None
    assert failed(seen, over=True) is not None


def test_a_release_may_answer_otherwise_as_often_as_its_trial_allows() -> None:
    assert otherwise(Shadowed("cam-2", 500, compared=500, disagreed=25), TRIAL) is None
    fault = otherwise(Shadowed("cam-2", 500, compared=500, disagreed=26), TRIAL)
    assert fault is not None
    assert "26 of 500 copies of requests otherwise, more than the allowed 5%" in fault.reason
    assert not fault.quarantine

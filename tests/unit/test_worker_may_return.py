"""Whether a process that stepped back may come back, by what the kernel says of it."""

from __future__ import annotations

import resource

import pytest
from sealane_agent.worker.priority import may_return

SYS_NICE, OTHERS = 1 << 23, ~(1 << 23)


@pytest.mark.parametrize(
    ("nice", "limit", "capabilities", "may"),
    [
        (0, 0, OTHERS, False),
        (0, 0, SYS_NICE, True),
        (0, 19, 0, False),
        (0, 20, 0, True),
        (-5, 20, 0, False),
        (-5, 25, 0, True),
        (5, 15, 0, True),
        (-20, resource.RLIM_INFINITY, 0, True),
    ],
)
def test_the_limit_or_the_privilege_lets_it_come_back(
    nice: int, limit: int, capabilities: int, *, may: bool
) -> None:
    assert may_return(nice, limit, capabilities) is may

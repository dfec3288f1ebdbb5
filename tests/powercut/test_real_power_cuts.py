"""What an agent has promised is on a real ext4 after a power cut, wherever the cut falls."""

from __future__ import annotations

import sys

from support.power import lab
from support.power_cuts import live


def test_a_device_keeps_its_promises_when_the_power_goes_before_any_operation() -> None:
    with lab() as place:
        cuts, operations = live(place, every=16)
    sys.stdout.write(
        f"\npower cuts on ext4: {cuts.looked} at {operations} operations, "
        f"after {cuts.lived} of them the device lived on to the end of the act\n"
    )
    assert cuts.looked > operations > 0
    assert not cuts.problems, "\n".join(cuts.problems[:10])


def test_an_agent_that_calls_no_fsync_loses_what_it_promised() -> None:
    with lab() as place:
        cuts, _ = live(place, every=10**6, forgetful=True)
    assert cuts.problems

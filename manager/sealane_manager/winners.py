"""Decides which receipt tells other devices of a class which variant to measure first. Pure.

A receipt is signed by its device alone. What it claims here moves no rollout and lets nothing serve
that does not prove itself: at worst a device begins with another eligible variant.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sealane.fleet import Winner
from sealane.limits import MEASURED_US
from sealane.receipt import SERVING

if TYPE_CHECKING:
    from sealane.receipt import Receipt

VARIANT_CHARS: Final = 160
"""Of a variant's name: longer than any bundle needs."""

_HARDWARE: Final = re.compile(r"[0-9a-f]{64}")


def winner_of(receipt: Receipt) -> Winner | None:
    """What others may begin with; None where the device compared nothing, or what cannot be.

    What stands in on the CPU is no winner: each device shall find out itself that its accelerator
    does not serve, and say so.
    """
    serves = receipt.verdict == SERVING and not receipt.degraded
    compared = _HARDWARE.fullmatch(receipt.hardware) is not None
    possible = 0 < receipt.measured_us <= MEASURED_US and 0 < len(receipt.variant) <= VARIANT_CHARS
    if not (serves and compared and possible):
        return None
    return Winner(receipt.hardware, receipt.manifest, receipt.variant, receipt.measured_us)

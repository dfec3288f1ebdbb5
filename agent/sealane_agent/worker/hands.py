"""Decides how many requests a worker computes at once, and which batches it computes beforehand.

A model whose inference is short has one hand: a second one would cost more than it brings. A longer
one has several, so that a processor that one inference leaves idle works on the next: an engine's
threads wait for each other at each layer, and some layers have work for one only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane_agent.serving.geometry import MAX_HANDS

if TYPE_CHECKING:
    from sealane.bundle.types import Variant

WORTH_US: Final = 300
"""Shortest inference, in microseconds, for which several hands pay."""


def hands_for(variant: Variant, latency_us: int, processors: int) -> int:
    """Requests at once; other accelerators than the processor order their work themselves."""
    if latency_us < WORTH_US or variant.accelerator != "cpu":
        return 1
    return max(1, min(MAX_HANDS, processors))


def batches_for(batch_rows: int) -> tuple[int, ...]:
    """Sizes that are computed once before anybody asks: an engine prepares itself for each anew."""
    sizes = []
    size = 2
    while size < batch_rows:
        sizes.append(size)
        size *= 2
    return (*sizes, batch_rows) if batch_rows > 1 else ()

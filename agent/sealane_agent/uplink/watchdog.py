"""Cuts off a delivery that stalls or drips: what brings next to nothing is asked for anew.

Only the time spent waiting for the other side counts, so a disk or a limit of our own that slows
the fetch down cuts nothing off.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ENOUGH_BYTES: Final = 64 * 1024
PATIENCE_S: Final = 60.0
"""So many bytes must come within so much waiting: about a kilobyte a second."""


def watched(call: Any, patience_s: float = PATIENCE_S) -> Iterator[bytes]:
    """The chunks of a call; one that is too slow is cancelled, and raises what calls raise."""
    for answer in watched_answers(call, patience_s):
        yield answer.chunk


def watched_answers(call: Any, patience_s: float = PATIENCE_S) -> Iterator[Any]:
    """The same, each chunk in its answer."""
    waited, got = 0.0, 0
    while True:
        watchdog = threading.Timer(patience_s - waited, call.cancel)
        watchdog.daemon = True
        watchdog.start()
        began = time.monotonic()
        try:
            answer = next(call, None)
        finally:
            watchdog.cancel()
        if answer is None:
            return
        waited, got = waited + time.monotonic() - began, got + len(answer.chunk)
        if got >= ENOUGH_BYTES:
            waited, got = 0.0, 0
        yield answer

"""Decides how windows are put together and taken apart so that each fits where it goes. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealane.limits import KIB, MODELS_PER_WINDOW
from sealane.telemetry.codec import encode_windows
from sealane.telemetry.merging import merge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealane.telemetry.types import Window

MODELS: Final = 8
"""Slots, releases and arms of a window that was just recorded: its bytes then stay below BYTES."""

BYTES: Final = 256 * KIB
"""One window, encoded: merging stops there, and two of them are still one message."""


def parts(window: Window) -> tuple[Window, ...]:
    """The same in windows of at most MODELS models; the first one has the host."""
    starts = range(0, max(1, len(window.models)), MODELS)
    return tuple(
        replace(
            window,
            models=window.models[start : start + MODELS],
            host=window.host if start == 0 else None,
        )
        for start in starts
    )


def joined(windows: Iterable[Window]) -> tuple[Window, ...]:
    """The same counts in as few windows as fit; each spans what it is made of."""
    found: list[Window] = []
    for window in windows:
        place = next((at for at, it in enumerate(found) if _fit(it, window)), len(found))
        found[place : place + 1] = [merge(found[place], window) if place < len(found) else window]
    return tuple(found)


def _fit(first: Window, second: Window) -> bool:
    both = merge(first, second)
    return len(both.models) <= MODELS_PER_WINDOW and len(encode_windows((both,))) <= BYTES

"""Decides what of a sentence is told to somebody who is bound to sites. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container

ELSEWHERE: Final = "(a device elsewhere)"

_WORD: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")
"""As devices are named."""


def without(text: str, hidden: Container[str]) -> str:
    """The text with ELSEWHERE in the place of each name that is hidden."""
    return _WORD.sub(lambda found: ELSEWHERE if found[0] in hidden else found[0], text)

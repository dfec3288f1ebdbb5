"""Decides how words of others are shown to a person: a registry's, a proposer's, a file's. Pure."""

from __future__ import annotations

from typing import Final

SHOWN_CHARS: Final = 200
"""The most of a remark inside a sentence."""

LINE_CHARS: Final = 2000
"""The most of a line of its own: a reason and names."""


def shown(text: str, most: int = SHOWN_CHARS) -> str:
    """One line that moves no terminal's cursor, hides or reorders nothing, and ends."""
    return "".join(each if each.isprintable() else "?" for each in text[:most]).rstrip()

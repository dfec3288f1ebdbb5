"""Decides how the words of a registry, or of a broken connection to it, are shown to a person."""

from __future__ import annotations

from typing import Final

SHOWN_CHARS: Final = 200


def shown(text: str) -> str:
    """One line that no terminal obeys, and that nobody can make long."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)[:SHOWN_CHARS].rstrip()

"""What is asked of a registry: one HTTP request as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

READ_SECONDS: Final = 60.0
"""Silence on an open connection."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; a body is sent with its length.

    Attributes:
        seconds: how long the other side may be silent.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    seconds: float = READ_SECONDS

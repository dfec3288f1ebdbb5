"""What is told of a model, and of what its requests came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealane.bundle.types import Deployment, Variant

    from sealane_agent.serving.histogram import Histogram
    from sealane_agent.serving.totals import Totals


@dataclass(frozen=True, slots=True)
class Description:
    """What a client may know about a model."""

    name: str
    versions: tuple[int, ...]
    variant: Variant
    deployment: Deployment

    @property
    def runtime(self) -> str:
        """The engine that answers."""
        return self.variant.runtime


@dataclass(frozen=True, slots=True)
class Counted:
    """What one version of a model did.

    Attributes:
        last_ms: when it answered last, since 1970; 0 when it answered nothing.
        degraded: another variant stands in for it on the CPU.
        peak_bytes: the most that its worker held until it was proved.
    """

    name: str
    version: int
    totals: Totals
    latency: Histogram
    memory_bytes: int
    pending: int
    last_ms: int
    degraded: bool = False
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """One model in the repository's index."""

    name: str
    version: int
    ready: bool
    reason: str

"""Counts what a slot's requests came to since its active place was activated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane_agent.serving.histogram import Histogram
from sealane_agent.serving.messages import Traffic

if TYPE_CHECKING:
    from sealane_agent.serving.routing import Tally


class Counters:
    """The numbers of one activation."""

    __slots__ = ("_crashes", "_errors", "_fallbacks", "_hangs", "_requests", "latency")

    def __init__(self) -> None:
        self._requests = 0
        self._errors = 0
        self._fallbacks = 0
        self._crashes = 0
        self._hangs = 0
        self.latency = Histogram()

    def count_answer(self) -> None:
        """Add a request that the active place answered at once, as nearly all are."""
        self._requests += 1

    def count(self, tally: Tally) -> None:
        """Add one finished request."""
        self._requests += tally.request
        self._errors += tally.error
        self._fallbacks += tally.fallback

    def count_loss(self, *, hung: bool) -> None:
        """Add one worker that was lost."""
        self._hangs += hung
        self._crashes += not hung

    def read(self, baseline: Histogram) -> Traffic:
        """As the supervisor is told."""
        return Traffic(
            requests=self._requests,
            errors=self._errors,
            fallbacks=self._fallbacks,
            crashes=self._crashes,
            hangs=self._hangs,
            latency_p50_us=self.latency.quantile(0.5),
            latency_p95_us=self.latency.quantile(0.95),
            latency_p99_us=self.latency.quantile(0.99),
            baseline_p50_us=baseline.quantile(0.5),
            baseline_p99_us=baseline.quantile(0.99),
        )

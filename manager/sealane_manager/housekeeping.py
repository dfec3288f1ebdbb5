"""Wakes what must happen now and then: coarse triggers in memory, each an idempotent call.

Nothing is scheduled in the database: after a restart the triggers are made again, and a call that
comes twice does what it did once.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from sealane_manager.alerts.watch import DELIVER_EVERY, EVERY
from sealane_manager.drift import watch as drift
from sealane_manager.store.telemetry.retention import Keeping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from sealane.clock import Clock

    from sealane_manager.alerts.watch import Watch
    from sealane_manager.drift.watch import Drifting
    from sealane_manager.store.store import Store

EVENTS_KEPT: Final = timedelta(days=30)
"""How long events of outboxes are kept; receipts and decisions are kept for ever."""

TOKENS_KEPT: Final = timedelta(days=7)
"""How long an expired join token can still be told from an unknown one."""

MISFIRE_GRACE_S: Final = 600
"""A call that could not be made in time is still made within this time."""

_JITTER_SHARE: Final = 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to call every so often, in a thread, with the time."""

    name: str
    every: timedelta
    call: Callable[[datetime], object]


def store_chores(store: Store) -> tuple[Chore, ...]:
    """What the store needs."""
    return (
        Chore(
            "forget expired join tokens",
            timedelta(hours=1),
            lambda now: store.tokens.prune(now - TOKENS_KEPT),
        ),
        Chore(
            "forget old events",
            timedelta(hours=6),
            lambda now: store.events.prune(now - EVENTS_KEPT),
        ),
        Chore(
            "roll up telemetry",
            timedelta(minutes=15),
            lambda now: store.telemetry.keep_house(now, Keeping()),
        ),
    )


def alert_chores(watch: Watch, drifting: Drifting) -> tuple[Chore, ...]:
    """What alerts need."""
    return (
        Chore("look for drift", drift.EVERY, drifting.look),
        Chore("look for what is wrong", EVERY, watch.look),
        Chore("tell people of alerts", DELIVER_EVERY, watch.deliver),
        Chore("forget old deliveries", timedelta(hours=6), watch.tidy),
    )


class Housekeeping:
    """Runs chores until it is stopped; start it on the loop."""

    def __init__(self, chores: Iterable[Chore], clock: Clock) -> None:
        self._clock = clock
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        for chore in chores:
            self._scheduler.add_job(
                self._do,
                _trigger(chore.every),
                args=(chore,),
                name=chore.name,
                coalesce=True,
                max_instances=1,
                misfire_grace_time=MISFIRE_GRACE_S,
            )

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._scheduler.start()

    def stop(self) -> None:
        """Call nothing any more."""
        self._scheduler.shutdown(wait=False)

    async def _do(self, chore: Chore) -> None:
        try:
            await asyncio.to_thread(chore.call, self._clock.now())
        except Exception:  # noqa: BLE001 - a chore that failed comes again
            _log.exception("could not %s", chore.name)


def _trigger(every: timedelta) -> IntervalTrigger:
    seconds = int(every.total_seconds())
    return IntervalTrigger(seconds=seconds, jitter=seconds // _JITTER_SHARE)

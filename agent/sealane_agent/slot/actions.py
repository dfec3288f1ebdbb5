"""Carries out what `plan` decided, one action at a time; the journal is written before the effect.

Every action may be repeated: a crash between the journal and the effect only does it again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from sealane import fileio
from sealane.receipt import sign

from sealane_agent.errors import Failed
from sealane_agent.slot import outcomes
from sealane_agent.slot.journal import Entry
from sealane_agent.slot.permission import before_fetching
from sealane_agent.slot.reports import as_it_serves, receipt, report
from sealane_agent.slot.selection import LOAD_DEADLINE_S
from sealane_agent.slot.state import (
    DropWorkers,
    Enter,
    Fetch,
    GiveUp,
    Mirror,
    Remember,
    Restore,
    SetPointer,
    Settle,
    Stage,
    Switch,
)
from sealane_agent.store import Stopped, WrongBytes
from sealane_agent.uplink.fetch import Policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, tzinfo
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from sealane.bundle.types import Layer
    from sealane.holds import Hold
    from sealane.names import SlotName
    from sealane.receipt import SignedReceipt

    from sealane_agent.endpoint.seam import Endpoint
    from sealane_agent.kit.shelf import Shelf
    from sealane_agent.layout import Pointer, StateFolder
    from sealane_agent.log import Log
    from sealane_agent.slot.journal import Journal
    from sealane_agent.slot.reports import Speaker
    from sealane_agent.slot.staging import Stager
    from sealane_agent.slot.state import Action, Attempt, Observed


@dataclass(frozen=True, slots=True)
class Tools:
    """What the hands work with.

    Attributes:
        key: the device's key of now; a renewal brings another one.
        now: trusted time.
        chance: a random number below 1, for jitter.
        pause: waits before the n-th try in a row; called in a thread.
        said: called after the outbox has something new.
        address: where the endpoint answers, as far as it is known.
        holds: those of a slot.
        order_holds: keeps those of the manager, in place of its earlier ones; whether that is new.
        zone: the device's time zone.
        shelf: where a kit lies that was carried here; None where none can.
        redial: called when the manager should hear at once what this device is by now.
        believe: told which authorities the fleet's certificates have, PEM; whether that is new.
    """

    folder: StateFolder
    journal: Journal
    endpoint: Endpoint
    staging: Stager
    key: Callable[[], EllipticCurvePrivateKey]
    speaker: Speaker
    log: Log
    now: Callable[[], datetime]
    chance: Callable[[], float]
    pause: Callable[[int], None]
    said: Callable[[], None]
    address: Callable[[], str]
    holds: Callable[[SlotName], tuple[Hold, ...]] = lambda _slot: ()
    order_holds: Callable[[tuple[Hold, ...]], bool] = lambda _holds: False
    zone: tzinfo = UTC
    believe: Callable[[bytes], bool] = lambda _authorities: False
    shelf: Shelf | None = None
    redial: Callable[[], None] = lambda: None


class Hands:
    """Acts on one slot.

    Attributes:
        unwanted: says, from any thread, that the attempt shall not go on.
    """

    def __init__(self, slot: SlotName, tools: Tools, unwanted: Callable[[Attempt], bool]) -> None:
        self._slot, self._tools, self._unwanted = slot, tools, unwanted

    async def act(self, action: Action, seen: Observed) -> None:  # noqa: C901 - the table of actions
        """Carry out one action; raises ConnectionError when the endpoint went away."""
        endpoint, slot = self._tools.endpoint, self._slot
        match action:
            case Enter():
                await self._enter(action, seen)
            case Remember(attempt):
                entry = Entry(slot, attempt, self._tools.now(), None)
                await asyncio.to_thread(self._tools.journal.write, entry)
            case Fetch(attempt):
                await self._fetch(attempt, seen)
            case Stage():
                await self._stage(action, seen)
            case GiveUp(attempt):
                await self._give_up(attempt, seen)
            case SetPointer(which, pointer):
                path = self._tools.folder.pointer(slot, which)
                await asyncio.to_thread(_set_pointer, path, pointer)
            case Mirror(worker):
                await endpoint.mirror(slot, worker)
            case Switch(worker, share):
                await endpoint.activate(slot, worker, probation=True, share=share)
            case Settle():
                await endpoint.settle(slot)
            case Restore():
                await self._restore(action, seen)
            case DropWorkers(workers):
                for worker in workers:
                    await endpoint.drop(slot, worker)

    async def _enter(self, action: Enter, seen: Observed) -> None:
        attempt, now = action.attempt, self._tools.now()
        reason = attempt.failure.message if attempt.failure else ""
        told = report(self._slot, attempt, seen, now)
        entry = Entry(
            slot=self._slot,
            attempt=attempt,
            at=now,
            report=told,
            quarantine=(reason or "it failed here") if action.quarantine else "",
            receipt=(
                self._receipt(as_it_serves(attempt, seen.serving), action.receipt, now)
                if action.receipt
                else None
            ),
            to_before=action.to_before,
        )
        await asyncio.to_thread(self._tools.journal.write, entry)
        self._tools.log(
            "slot",
            slot=self._slot,
            state=attempt.state,
            release=attempt.release,
            rollout=attempt.rollout,
            variant=attempt.choice.variant if attempt.choice else "",
            reason=told.failure.message if told.failure else "",
        )
        self._tools.said()

    def _receipt(
        self, attempt: Attempt, verdict: str, now: datetime
    ) -> Callable[[int], SignedReceipt]:
        def signed(sequence: int) -> SignedReceipt:
            said = receipt(attempt, verdict, self._tools.speaker, (sequence, now))
            return sign(said, self._tools.key())

        return signed

    async def _fetch(self, attempt: Attempt, seen: Observed) -> None:
        policy = Policy(
            self._tools.pause,
            lambda: self._stops(attempt, seen),
            self._begun,
            seen.active.manifest if seen.active else None,
        )
        try:
            limits = await asyncio.to_thread(self._tools.staging.fetch, attempt, policy)
        except Stopped:
            return
        except Failed as error:
            await self._failed(attempt, error, seen)
        else:
            await self._enter(outcomes.fetched(attempt, limits), seen)

    def _begun(self, layer: Layer, offset: int) -> None:
        blob = layer.digest.removeprefix("sha256:")[:12]
        self._tools.log("download", slot=self._slot, blob=blob, offset=offset, size=layer.size)

    def _stops(self, attempt: Attempt, seen: Observed) -> bool:
        """Whether a fetch ends here; what arrived stays for its next window."""
        closed = before_fetching(attempt, seen, self._tools.now()) is not None
        return closed or self._unwanted(attempt)

    async def _stage(self, action: Stage, seen: Observed) -> None:
        attempt = action.attempt
        if seen.serving is not None and seen.serving.standby:
            await self.act(DropWorkers(seen.serving.standby), seen)
        try:
            choice = await self._tools.staging.prove(attempt, interrupts=action.interrupts)
        except WrongBytes:
            await self._enter(outcomes.changed_on_disk(attempt), seen)
        except ConnectionError:
            await self._enter(outcomes.interrupted(attempt), seen)
            raise
        except Failed as error:
            await self._failed(attempt, error, seen)
        else:
            await self._enter(outcomes.staged(attempt, choice, self._tools.now()), seen)

    async def _failed(self, attempt: Attempt, error: Failed, seen: Observed) -> None:
        now, chance = self._tools.now(), self._tools.chance()
        await self._enter(outcomes.failed(attempt, error.failure, now, chance), seen)

    async def _give_up(self, attempt: Attempt, seen: Observed) -> None:
        now = self._tools.now()
        entry = Entry(self._slot, None, now, report(self._slot, None, seen, now))
        await asyncio.to_thread(self._tools.journal.write, entry)
        self._tools.log("given up", slot=self._slot, release=attempt.release)
        self._tools.said()

    async def _restore(self, action: Restore, seen: Observed) -> None:
        endpoint, slot = self._tools.endpoint, self._slot
        if seen.serving is not None and seen.serving.previous == action.pointer:
            await endpoint.return_(slot)
            return
        # What serves is not wanted any more: it may end before the other has loaded.
        proved = await endpoint.restore(slot, action.pointer, LOAD_DEADLINE_S)
        await endpoint.activate(slot, proved.worker, probation=False)


def _set_pointer(path: Path, pointer: Pointer | None) -> None:
    fileio.make_folder(path.parent)
    if pointer is None:
        fileio.remove(path)
    else:
        fileio.replace(path, pointer.encode())

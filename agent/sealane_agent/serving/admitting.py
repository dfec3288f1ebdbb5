"""Lets a model be loaded once there is memory for it: measures, asks `admission`, ends what yields.

Loads are judged one after the other, and what was promised counts at once; the loads themselves run
beside each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Protocol

from sealane.failure import Failure, FailureKind

from sealane_agent.serving.admission import (
    RESERVE_LEAST,
    UNKNOWN,
    Admitted,
    Asking,
    GiveUp,
    Holding,
    Need,
    Part,
    Refused,
    Space,
    decide,
    exceeded,
    free,
    why_not,
)
from sealane_agent.serving.messages import MEMORY
from sealane_agent.serving.types import LoadFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sealane_agent.layout import Pointer
    from sealane_agent.serving.footprints import Footprints
    from sealane_agent.serving.machine_memory import MachineMemory
    from sealane_agent.serving.messages import Load, Proved
    from sealane_agent.serving.place import Place
    from sealane_agent.serving.slots import Slot

HINT = (
    "end other models, let models hold more together (worker.together),"
    " or let the slot be interrupted (sealane window set --interrupt)"
)

_log = logging.getLogger(__name__)


class Memory(Protocol):
    """What there is, and what a load needs of it; both may block."""

    def available(self) -> int:
        """Bytes that the machine can give to models; raises OSError."""
        ...

    def expected(self, pointer: Pointer) -> Need:
        """What a load of this variant needs."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """The real one: of this machine, with what models took of it before."""

    machine: MachineMemory
    footprints: Footprints

    def available(self) -> int:
        """Bytes that the machine can give to models; raises OSError."""
        return self.machine.available()

    def expected(self, pointer: Pointer) -> Need:
        """What a load of this variant needs."""
        return self.footprints.expected(pointer)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What was read outside the loop: held bytes by worker, needs of pointers."""

    available: int
    held: Mapping[str, int]
    needs: Mapping[Pointer, Need]


class Admission:
    """The one door through which commands start workers; `together` as in `Space`."""

    def __init__(self, memory: Memory, slots: Callable[[], Iterable[Slot]], together: int) -> None:
        self._memory, self._slots, self._together = memory, slots, together
        self._promises: dict[int, Holding] = {}
        self._numbers = count()
        self._judging = asyncio.Lock()

    async def load(self, load: Load, slot: Slot) -> Proved:
        """Start a standby of a slot and prove it, if there is room; raises LoadFailed.

        Where nothing came of it, a slot that was interrupted for it serves again.
        """
        number = next(self._numbers)
        try:
            async with self._judging:
                self._promises[number], at_most = await self._room_for(load, slot)
            proved = await slot.load(replace(load, at_most=at_most))
            # From here its place stands for it.
            del self._promises[number]
            await self._hold_to_it(load, slot, proved)
        except BaseException:
            slot.resume()
            raise
        finally:
            self._promises.pop(number, None)
        return proved

    async def _hold_to_it(self, load: Load, slot: Slot, proved: Proved) -> None:
        """What took more than was expected goes again; the next time more is expected."""
        measured = await self._measure(load)
        holdings, space = self._holdings(measured), self._space(measured)
        if not exceeded(holdings, space):
            return
        slot.drop(proved.worker)
        others = [each for each in holdings if each.worker != proved.worker]
        taken = Need(measured.held.get(proved.worker, proved.memory_bytes), "measured just now")
        raise _refused(load, why_not(taken, others, space))

    async def _room_for(self, load: Load, slot: Slot) -> tuple[Holding, int]:
        """What it is promised, and how many bytes it may take before it takes others'."""
        while True:
            measured = await self._measure(load)
            need = measured.needs[load.pointer]
            asking = Asking(load.slot, need, load.gives_way)
            holdings, space = self._holdings(measured), self._space(measured)
            match decide(asking, holdings, space):
                case Admitted():
                    release = str(load.pointer.release)
                    promise = Holding("", load.slot, release, need.peak, 0, Part.LOADING)
                    return promise, free(holdings, space) + RESERVE_LEAST
                case GiveUp(workers, interrupts):
                    await self._end(workers, slot if interrupts else None)
                case Refused(message):
                    raise _refused(load, message)

    async def _end(self, workers: tuple[str, ...], interrupted: Slot | None) -> None:
        """One after the other is told, then all are waited for."""
        _log.info("to make room for a model these end: %s", ", ".join(workers))
        ending = [slot.give_up(workers) for slot in self._slots()]
        if interrupted is not None:
            ending.append(interrupted.interrupt())
        await asyncio.gather(*ending)

    def _space(self, measured: _Measured) -> Space:
        return Space(measured.available, self._together)

    def _holdings(self, measured: _Measured) -> tuple[Holding, ...]:
        return (
            *self._promises.values(),
            *(
                _holding(slot, part, place, measured)
                for slot in self._slots()
                for part, place in slot.roll
            ),
        )

    async def _measure(self, load: Load) -> _Measured:
        places = [place for slot in self._slots() for _, place in slot.roll]
        pointers = {load.pointer, *(place.pointer for place in places if not place.promised_bytes)}
        return await asyncio.to_thread(self._read, places, pointers)

    def _read(self, places: Iterable[Place], pointers: Iterable[Pointer]) -> _Measured:
        available = UNKNOWN
        with contextlib.suppress(OSError):
            available = self._memory.available()
        held = {place.name: place.held_bytes for place in places}
        return _Measured(available, held, {each: self._memory.expected(each) for each in pointers})


def _holding(slot: Slot, part: Part, place: Place, measured: _Measured) -> Holding:
    promised = place.promised_bytes
    if not promised and place.pointer in measured.needs:
        promised = measured.needs[place.pointer].peak
    held = promised if part is Part.LEAVING else measured.held.get(place.name, 0)
    idle = part is Part.PREVIOUS and slot.is_settled
    release, asked = str(place.pointer.release), place.totals.last_s
    return Holding(place.name, slot.name, release, promised, held, part, idle, asked)


def _refused(load: Load, message: str) -> LoadFailed:
    pointer = load.pointer
    told = f"{pointer.release} ({pointer.variant}): {message}"
    return LoadFailed(
        Failure(FailureKind.ENVIRONMENTAL, "staged", MEMORY, pointer.variant, told, HINT)
    )

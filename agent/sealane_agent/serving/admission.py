"""Decides whether a model may be loaded beside what is here, and what must give way to it. Pure.

  what it needs                                    then
  -----------------------------------------------  ---------------------------------------------
  is free                                          it is loaded beside all that serves
  is free once what ends anyway has ended          it waits for that
  is free once idle models are given up            warm previous models end: of other slots first,
                                                   the one that answered longest ago before the rest
  is free once its own slot serves nobody          the slot is interrupted, if the load may do that
  is not here                                      it is refused, with the numbers

What was promised to a worker counts from the moment in which its load is admitted, so that two
loads cannot be promised the same memory. A worker that crashed keeps its promise: it comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sealane.limits import MIB

from sealane_agent.serving.messages import GivesWay

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NAMED: Final = 4
"""Holders of memory that a refusal names; the others are added up."""

UNKNOWN: Final = 2**62
"""Bytes that are available where nobody can say: then only what models may hold together counts."""

RESERVE_SHARE: Final = 1 / 16
RESERVE_LEAST: Final = 64 * MIB
RESERVE_MOST: Final = 512 * MIB
"""Of the machine's memory, kept free of models: a worker that is started again needs more for a
moment than it holds later, and the machine has other things to do."""


class Part(StrEnum):
    """What a worker is in its slot, in the words of a refusal."""

    ACTIVE = "serving"
    PREVIOUS = "kept warm"
    STANDBY = "standing by"
    LOADING = "loading"
    LEAVING = "ending"


@dataclass(frozen=True, slots=True)
class Holding:
    """What one worker has of the machine's memory.

    Attributes:
        worker, slot, release: whose it is.
        promised: bytes that it was admitted with; once it is proved, what it held then.
        held: bytes that its process holds now.
        idle: nobody would miss it: a warm previous model after its probation.
        asked: when it answered last, in seconds of a monotonic clock.
    """

    worker: str
    slot: str
    release: str
    promised: int
    held: int
    part: Part
    idle: bool = False
    asked: float = 0.0

    @property
    def counts(self) -> int:
        """Bytes that are free again once it has ended."""
        return max(self.promised, self.held)


@dataclass(frozen=True, slots=True)
class Space:
    """What there is, in bytes.

    Attributes:
        available: what the machine and the control groups around could still give, less the
            reserve; below 0 when the reserve is in use already.
        together: what all models' workers may hold together; 0: what is available.
    """

    available: int
    together: int = 0


@dataclass(frozen=True, slots=True)
class Need:
    """What a load is expected to take at its peak, and how that is known, for people."""

    peak: int
    known: str


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks for memory, and what may give way to it."""

    slot: str
    need: Need
    gives_way: GivesWay


@dataclass(frozen=True, slots=True)
class Admitted:
    """It may be loaded now."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """These end first; then it is judged again.

    Attributes:
        interrupts: what serves in the slot is among them, so that nobody answers meanwhile.
    """

    workers: tuple[str, ...]
    interrupts: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """There is no room for it; `message` holds the numbers."""

    message: str


Decision = Admitted | GiveUp | Refused


def reserve(machine: int) -> int:
    """Bytes of a machine's memory that no model is promised."""
    return min(RESERVE_MOST, max(RESERVE_LEAST, round(machine * RESERVE_SHARE)))


def free(holdings: Iterable[Holding], space: Space) -> int:
    """Bytes that can still be promised; below 0 when more was promised than there is."""
    found = tuple(holdings)
    unused = sum(max(0, each.promised - each.held) for each in found)
    left = space.available - unused
    if not space.together:
        return left
    return min(left, space.together - sum(each.counts for each in found))


def exceeded(holdings: Iterable[Holding], space: Space) -> bool:
    """Whether models hold more together than they may."""
    return bool(space.together) and sum(each.counts for each in holdings) > space.together


def decide(asking: Asking, holdings: Sequence[Holding], space: Space) -> Decision:
    """Whether the load may begin, and otherwise what happens first."""
    missing = asking.need.peak - free(holdings, space)
    if missing <= 0:
        return Admitted()
    for may_end, interrupts in _ways(asking, holdings):
        chosen = _enough(may_end, missing)
        if chosen:
            return GiveUp(chosen, interrupts=interrupts)
    return Refused(why_not(asking.need, holdings, space))


def _ways(asking: Asking, holdings: Sequence[Holding]) -> Iterable[tuple[list[Holding], bool]]:
    """Who may end, from what nobody notices to what everybody does; each holds the one before."""
    leaving = [each for each in holdings if each.part is Part.LEAVING]
    yield leaving, False
    if asking.gives_way is GivesWay.NOTHING:
        return
    idle = [each for each in holdings if each.idle]
    idle.sort(key=lambda each: (each.slot == asking.slot, each.asked))
    yield [*leaving, *idle], False
    if asking.gives_way is GivesWay.SERVING:
        own = [each for each in holdings if each.slot == asking.slot and _is_in_place(each)]
        yield [*leaving, *idle, *(each for each in own if each not in idle)], bool(own)


def _is_in_place(holding: Holding) -> bool:
    return holding.part in {Part.ACTIVE, Part.PREVIOUS}


def _enough(may_end: Sequence[Holding], missing: int) -> tuple[str, ...]:
    """The first of them that are enough together, without those that the later ones make needless.

    What leaves by itself is not spared: it is waited for. Empty when all are too little.
    """
    chosen: list[Holding] = []
    while missing > 0 and len(chosen) < len(may_end):
        chosen.append(may_end[len(chosen)])
        missing -= chosen[-1].counts
    if missing > 0:
        return ()
    for each in tuple(chosen[:-1]):
        if each.part is not Part.LEAVING and missing + each.counts <= 0:
            chosen.remove(each)
            missing += each.counts
    return tuple(each.worker for each in chosen)


def why_not(need: Need, holdings: Sequence[Holding], space: Space) -> str:
    """A refusal's numbers in one sentence."""
    left = max(0, free(holdings, space))
    of = f" of {_mib(space.together)} that models may hold together" if space.together else ""
    return (
        f"it needs {_mib(need.peak)} of memory to load ({need.known}), {_mib(left)}{of} are free:"
        f" {_holders(holdings)}"
    )


def _holders(holdings: Sequence[Holding]) -> str:
    found = sorted(holdings, key=lambda each: each.counts, reverse=True)
    told = [
        f"{each.slot} holds {_mib(each.counts)} for {each.release} ({each.part})"
        for each in found[:NAMED]
    ]
    if others := found[NAMED:]:
        told.append(f"{len(others)} more hold {_mib(sum(each.counts for each in others))}")
    return ", ".join(told) or "no model holds any"


def _mib(count: int) -> str:
    return f"{-(-count // MIB)} MiB"

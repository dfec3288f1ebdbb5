"""Decides when a variant that won before, here or on such a device, is proved alone. Pure.

What is measured holds for one bundle, whose digest covers its objective, on this hardware with
these engines. Where the key is another one, or the winner is clearly slower than it was, every
eligible variant is measured again. What the manager tells of other devices is believed no further:
it says which variant comes first.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from sealane.failure import FailureKind
from sealane.limits import MEASURED_US

from sealane_agent.ranking import keeps_limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sealane.bundle.types import Objective, Variant
    from sealane.failure import Failure
    from sealane.fleet import DeviceFacts, Winner

    from sealane_agent.serving.messages import Proved
    from sealane_agent.slot.state import Choice

MEASURING_S: Final = 20.0
"""Once a variant has proved itself, no other one is begun after so long."""

SLOWER: Final = 2.0
SLOWER_US: Final = 200
"""A winner is as it was up to this ratio, and up to these microseconds more: a device is not always
as idle as it was."""

RANKED_BY: Final = "objective"
"""How variants are ranked: devices that rank otherwise are of another class. Earlier versions of
the agent, whose keys do not say it, knew latency alone."""

LONGEST_US: Final = 3_600_000_000
"""An hour: nothing that takes longer was ever measured here, since no load has so much time."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a measurement depends on, beside the engines.

    Attributes:
        processor: model and flags, as the kernel says them.
        processors: that a worker may use.
        drivers: of accelerators.
    """

    processor: str
    processors: int
    drivers: str


@dataclass(frozen=True, slots=True)
class Qualified:
    """The variant of a bundle that won.

    Attributes:
        key: of hardware and engines; empty when it was another device that measured.
        latency_us: that was measured.
        passed: names of variants that cannot serve here, with the reason.
    """

    key: str
    variant: str
    latency_us: int
    passed: tuple[tuple[str, str], ...] = ()


def key_of(hardware: Hardware, facts: DeviceFacts) -> str:
    """One word for a class of devices on which the same variant wins."""
    engines = [(each.name, each.version, sorted(each.accelerators)) for each in facts.runtimes]
    parts = [facts.arch, asdict(hardware), sorted(engines), RANKED_BY]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def told_of(winners: Iterable[Winner], manifest: str, key: str) -> Qualified | None:
    """What others of the same class measured of a bundle, as far as that can be."""
    found = (
        Qualified("", each.variant, each.latency_us)
        for each in winners
        if each.manifest == manifest and each.hardware == key
        if 0 < each.latency_us <= MEASURED_US
    )
    return next(found, None)


def in_order(known: Qualified | None, chosen: Sequence[Variant]) -> tuple[Variant, ...]:
    """The eligible variants in the order in which they are measured: the last winner first."""
    name = known.variant if known else ""
    return tuple(sorted(chosen, key=lambda variant: variant.name != name))


def is_settled(known: Qualified | None, best: Choice, objective: Objective) -> bool:
    """Whether the best so far is the last winner, about as fast as it was and as it must be."""
    if known is None or known.variant != best.variant:
        return False
    return _as_before(known, best.proved) and keeps_limit(objective, best.proved)


def why_again(known: Qualified, proved: Proved) -> str:
    """Why the last winner serves without a comparison, for people."""
    where = "here" if known.key else "on a device of its class"
    return f"it won {where} before: {proved.latency_us / 1000:.3g} ms"


def _as_before(known: Qualified, proved: Proved) -> bool:
    return proved.latency_us <= max(SLOWER * known.latency_us, known.latency_us + SLOWER_US)


def is_lasting(failures: Iterable[Failure]) -> bool:
    """Whether what failed would fail again: else the winner may be another one tomorrow."""
    return all(failure.kind is FailureKind.PERMANENT for failure in failures)


def decode(fields: Mapping[str, Any]) -> Qualified:
    """Read what JSON says of one bundle; raises ValueError, KeyError or TypeError on damage."""
    latency_us = fields["latency_us"]
    if type(latency_us) is not int or not 0 <= latency_us <= LONGEST_US:
        raise ValueError("a latency is a whole number of microseconds, an hour at most")
    passed = tuple((str(name), str(why)) for name, why in fields["passed"])
    return Qualified(str(fields["key"]), str(fields["variant"]), latency_us, passed)

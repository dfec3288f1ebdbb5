"""Holds one act to its promises under a group of faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from support.crash_cases import enumerate_act
from support.crash_counts import PROPERTY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from support.crash_disk import Fault

    Record = Callable[[str, Any], None]

_TOLD: Final = 10


def hold(act: str, group: str, faults: Collection[Fault], record: Record) -> None:
    """Fail with what went wrong, if anything did."""
    found = enumerate_act(act, sorted(faults))
    record(PROPERTY, [act, group, found.operations, found.cases, found.runs])
    assert found.cases > 0
    told = [f"{len(found.problems)} promises are broken", *found.problems[:_TOLD]]
    assert not found.problems, "\n".join(told)

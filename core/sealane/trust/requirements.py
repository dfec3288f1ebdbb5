"""Decides whether a device meets what a release requires. Pure.

A requirement that this version does not know is never met: a release that asks for more than an
old agent can judge stays away from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from sealane.fleet import DeviceFacts


def unmet(requires: Mapping[str, Any], facts: DeviceFacts) -> str | None:
    """The first requirement that the device does not meet, as a phrase; None when it meets all."""
    for name, wanted in sorted(requires.items()):
        judge = _JUDGES.get(name)
        if judge is None:
            return f"requires {name!r}, which this agent does not know"
        complaint = judge(name, wanted, facts)
        if complaint is not None:
            return complaint
    return None


def _one_of(have: Callable[[DeviceFacts], set[str]]) -> Callable[..., str | None]:
    def judge(name: str, wanted: Any, facts: DeviceFacts) -> str | None:
        if not (isinstance(wanted, list) and all(isinstance(item, str) for item in wanted)):
            return f"requires {name} in no form that this agent knows"
        found = have(facts)
        if found.intersection(wanted):
            return None
        return f"requires {name} {' or '.join(wanted)}, the device has {', '.join(sorted(found))}"

    return judge


def _at_least(have: Callable[[DeviceFacts], int]) -> Callable[..., str | None]:
    def judge(name: str, wanted: Any, facts: DeviceFacts) -> str | None:
        if not isinstance(wanted, int) or isinstance(wanted, bool):
            return f"requires {name} in no form that this agent knows"
        found = have(facts)
        return None if found >= wanted else f"requires {name} {wanted}, the device has {found}"

    return judge


def _accelerators(facts: DeviceFacts) -> set[str]:
    return {name for runtime in facts.runtimes for name in runtime.accelerators}


def _instructions(name: str, wanted: Any, facts: DeviceFacts) -> str | None:
    if not (isinstance(wanted, list) and all(isinstance(item, str) for item in wanted)):
        return f"requires {name} in no form that this agent knows"
    if missing := [item for item in wanted if item not in facts.instructions]:
        have = ", ".join(facts.instructions) or "none that is known"
        return f"requires {name} {' and '.join(missing)}, the device has {have}"
    return None


_JUDGES: Final[Mapping[str, Callable[..., str | None]]] = {
    "accelerator": _one_of(_accelerators),
    "arch": _one_of(lambda facts: {facts.arch}),
    "instructions": _instructions,
    "cpus": _at_least(lambda facts: facts.cpus),
    "memory_bytes": _at_least(lambda facts: facts.memory_bytes),
    "os": _one_of(lambda facts: {facts.os}),
    "runtime": _one_of(lambda facts: {runtime.name for runtime in facts.runtimes}),
}
"""Every key that may stand in `requires`. A list is met by one of its values, but that of
instructions by all."""

KNOWN: Final = tuple(sorted(_JUDGES))
"""What agents of this version can judge."""

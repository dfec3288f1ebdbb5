"""Looks at everything that a device needs to do its work, in the order in which it needs it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sealane.bundle.deployment import parse_deployment
from sealane.bundle.manifest import DEPLOYMENT_PATH, layer_at, parse_manifest
from sealane.errors import BundleError, InvalidName, SealaneError

from sealane_agent import overview
from sealane_agent.diagnosis import measure, reach
from sealane_agent.diagnosis.findings import failed, warning, well
from sealane_agent.layout import ACTIVE, LKG, Pointer
from sealane_agent.slot.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sealane_agent.diagnosis.findings import Finding
    from sealane_agent.diagnosis.reach import Way
    from sealane_agent.layout import StateFolder
    from sealane_agent.overview import Overview, SlotOverview

_BROKEN: Final = frozenset({State.FAILED, State.ROLLED_BACK, State.QUARANTINED})


def examine(folder: StateFolder, way: Way) -> Iterator[Finding]:
    """Every finding; changes nothing, and needs neither manager, supervisor nor endpoint."""
    identity, membership = measure.certificates(folder)
    yield from identity
    if not folder.root.is_dir():
        return
    if membership is not None:
        yield from _tried("trust", lambda: measure.trust(folder))
    health = measure.health(folder)
    yield from _tried("clock", lambda: (measure.clock(folder, health or {}),))
    yield from _tried("disk", lambda: (measure.disk(folder),))
    yield from _tried("journal", lambda: (measure.journal(folder),))
    yield from _tried("runtimes", lambda: measure.runtimes(folder, _needed(folder)))
    yield from measure.worker_limits(folder)
    with suppress(SealaneError, OSError):  # said above, by the part that is broken
        seen = asyncio.run(overview.look(folder))
        yield from judge_overview(seen, answers=health is not None)
    if membership is not None:
        yield from reach.walk(way, membership)


def _tried(check: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a look finds; what keeps it from looking is a finding, too."""
    try:
        yield from look()
    except OSError as error:
        hint = "the folder and all in it must belong to the service's user: chown -R"
        yield failed(check, f"it cannot be looked at: {error}", hint)


def judge_overview(seen: Overview, *, answers: bool) -> Iterator[Finding]:
    """What the processes and the slots of a device mean; `answers`: the supervisor does."""
    if seen.supervisor and not answers:
        hint = "look at the disk, dmesg says more; then systemctl restart sealane-agent"
        yield failed("supervisor", "it runs and does not answer: it hangs, or just starts", hint)
    elif seen.supervisor:
        yield well("supervisor", "it runs")
    else:
        hint = "start it: systemctl start sealane-agent"
        yield warning("supervisor", "it does not run: what serves goes on, nothing new comes", hint)
    if seen.rest:
        yield well("endpoint", f"it answers on {seen.rest}")
    else:
        hint = "start it: systemctl start sealane-endpoint; its log says why it ended"
        yield failed("endpoint", "it does not answer: no request is served", hint)
    for slot in seen.slots:
        yield judge_slot(slot)


def judge_slot(slot: SlotOverview) -> Finding:
    """What one slot means."""
    check = f"slot {slot.slot}"
    if slot.last_good and not slot.serves:
        hint = "is the endpoint running? its log says why a model was not loaded"
        return failed(check, f"{slot.last_good} is its last known good, and nothing serves", hint)
    if slot.state == State.SAFE_MODE:
        hint = "the manager must assign a release that this device can load"
        return failed(check, f"its last known good could not be put back: {slot.reason}", hint)
    if slot.state in _BROKEN:
        hint = "see sealane-agent history; the manager knows of it"
        return warning(check, f"{slot.attempt} is {slot.state}: {slot.reason}", hint)
    if slot.degraded:
        hint = "see what is said of accelerators above; sealane-endpoint tries anew when restarted"
        return warning(check, f"{slot.serves}: {slot.degraded}", hint)
    return well(check, f"{slot.serves or 'nothing'} serves, {slot.state}")


def _needed(folder: StateFolder) -> dict[str, str]:
    """Runtimes that the pointers' variants need, each with a slot that needs it."""
    found = {}
    for slot in folder.slots():
        for which in (ACTIVE, LKG):
            with suppress(OSError, ValueError, KeyError, TypeError, InvalidName, BundleError):
                pointer = Pointer.decode(folder.pointer(slot, which).read_bytes())
                found[_runtime(folder, pointer)] = str(slot)
    return found


def _runtime(folder: StateFolder, pointer: Pointer) -> str:
    manifest = parse_manifest(folder.blob(pointer.manifest).read_bytes())
    contract = layer_at(manifest, DEPLOYMENT_PATH)
    deployment = parse_deployment(folder.blob(contract.digest).read_bytes())
    return {each.name: each.runtime for each in deployment.variants}[pointer.variant]

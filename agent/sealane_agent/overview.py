"""Puts together what a device does, from its files and from the endpoint if that answers."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealane.names import AGENT_SLOT

from sealane_agent.config import IdentityFiles
from sealane_agent.endpoint.link import EndpointLink
from sealane_agent.layout import ACTIVE, LKG, Pointer
from sealane_agent.slot.journal import looked_into
from sealane_agent.slot.reports import chosen, why_degraded
from sealane_agent.slot.state import State

if TYPE_CHECKING:
    from sealane.names import SlotName

    from sealane_agent.layout import StateFolder
    from sealane_agent.serving.control_codec import EndpointStatus
    from sealane_agent.serving.messages import SlotStatus
    from sealane_agent.slot.journal import Journal


@dataclass(frozen=True, slots=True)
class SlotOverview:
    """One slot, for people; releases are written `vision/defect@7`, empty means none.

    Attributes:
        chosen: which variant serves and why; empty where that is not known.
    """

    slot: str
    state: str
    serves: str
    last_good: str
    attempt: str
    rollout: str
    reason: str
    requests: int
    errors: int
    degraded: str = ""
    chosen: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """One device, for people; an address is empty while the endpoint does not answer."""

    device: str
    fleet: str
    manager: str
    supervisor: bool
    rest: str
    grpc: str
    unsent: int
    slots: tuple[SlotOverview, ...]


async def look(folder: StateFolder) -> Overview:
    """What the device does now; raises NotEnrolled or JournalDamaged."""
    who = IdentityFiles(folder.identity).read()
    endpoint = await _endpoint(folder)
    serving = {status.slot: status for status in endpoint.slots} if endpoint else {}
    with looked_into(folder.journal) as journal:
        names = sorted({*journal.slots(), *folder.slots()})
        slots = tuple(slot_overview(folder, journal, name, serving.get(name)) for name in names)
        unsent = journal.pending()
    return Overview(
        device=who.device,
        fleet=who.fleet,
        manager=who.address,
        supervisor=_is_held(folder),
        rest=endpoint.rest if endpoint else "",
        grpc=endpoint.grpc if endpoint else "",
        unsent=unsent,
        slots=slots,
    )


async def _endpoint(folder: StateFolder) -> EndpointStatus | None:
    link = EndpointLink(folder.control_socket)
    try:
        return await link.whole_status()
    except OSError:
        return None
    finally:
        await link.close()


def slot_overview(
    folder: StateFolder, journal: Journal, name: SlotName, status: SlotStatus | None
) -> SlotOverview:
    """One slot; `status`: as the endpoint says, None when it does not answer."""
    record = journal.read(name)
    attempt = record.attempt
    serves = status.active if status else None
    return SlotOverview(
        slot=name,
        state=attempt.state if attempt else State.IDLE,
        serves=str(serves.release) if serves else _version(folder, name),
        last_good=_release(folder, name, LKG),
        attempt=str(attempt.release) if attempt else "",
        rollout=attempt.rollout if attempt else "",
        reason=attempt.failure.message if attempt and attempt.failure else "",
        requests=status.traffic.requests if status else 0,
        errors=status.traffic.errors if status else 0,
        degraded=why_degraded(record, status, None) if serves else "",
        chosen=chosen(record, status, None),
    )


def _version(folder: StateFolder, slot: SlotName) -> str:
    """Versions of the agent itself serve without the endpoint."""
    return _release(folder, slot, ACTIVE) if slot == AGENT_SLOT else ""


def _release(folder: StateFolder, slot: SlotName, which: str) -> str:
    path = folder.pointer(slot, which)
    return str(Pointer.decode(path.read_bytes()).release) if path.is_file() else ""


def _is_held(folder: StateFolder) -> bool:
    if not folder.lock.is_file():
        return False
    with folder.lock.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False

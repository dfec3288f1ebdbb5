"""Finds out what this device is."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealane.bundle.fit import INSTRUCTIONS
from sealane.fleet import DeviceFacts

from sealane_agent.runtimes.ability import able
from sealane_agent.runtimes.drivers import drivers
from sealane_agent.runtimes.inventory import installed_runtimes
from sealane_agent.slot.qualification import Hardware

if TYPE_CHECKING:
    from sealane_agent.recollection import Recollection

_CPU: Final = Path("/proc/cpuinfo")
_FLAGS: Final = re.compile(r"^(?:flags|Features)\s*:(.*)$", re.MULTILINE)
_SAME: Final = re.compile(
    r"^(?:vendor_id|cpu family|model|model name|stepping|flags|Features|CPU \w+)\s*:.*$",
    re.MULTILINE,
)
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def device_facts(known: Recollection | None = None) -> DeviceFacts:
    """What releases' requirements are judged against; the endpoint's address comes later.

    `known`: keeps what engines said of themselves; without one they are not asked.
    """
    system, runtimes = os.uname(), installed_runtimes()
    return DeviceFacts(
        arch=system.machine,
        os=system.sysname.lower(),
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        runtimes=runtimes if known is None else able(runtimes, known, drivers=drivers()),
        endpoint="",
        instructions=instructions(_CPU.read_text(errors="replace")),
    )


def hardware(usable: int) -> Hardware:
    """What measurements depend on; `usable`: processors that a worker may use."""
    return Hardware(processor(_CPU.read_text(errors="replace")), usable, drivers())


def processor(cpuinfo: str) -> str:
    """Model and flags of the processors, without what changes from one moment to the next."""
    return "; ".join(sorted({" ".join(line.split()) for line in _SAME.findall(cpuinfo)}))


def instructions(cpuinfo: str) -> tuple[str, ...]:
    """Sets that every processor has, of those that have a name here."""
    lists = [set(found.split()) for found in _FLAGS.findall(cpuinfo)]
    flags = set.intersection(*lists) if lists else set()
    return tuple(name for name, any_of in INSTRUCTIONS.items() if flags & any_of)


def boot_id() -> str:
    """The kernel's name for this boot."""
    return _BOOT_ID.read_text().strip()

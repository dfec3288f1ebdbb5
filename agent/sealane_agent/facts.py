"""Finds out what this device is."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Final

from sealane.fleet import DeviceFacts

from sealane_agent.runtimes.inventory import installed_runtimes

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def device_facts() -> DeviceFacts:
    """What releases' requirements are judged against; the endpoint's address comes later."""
    system = os.uname()
    return DeviceFacts(
        arch=system.machine,
        os=system.sysname.lower(),
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        runtimes=installed_runtimes(),
        endpoint="",
    )


def boot_id() -> str:
    """The kernel's name for this boot."""
    return _BOOT_ID.read_text().strip()


def agent_version() -> str:
    """The version of this software."""
    return version("sealane-agent")

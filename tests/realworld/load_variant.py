"""Runs on a device: has the endpoint load and prove a variant of what a slot serves."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from sealane.names import parse_slot
from sealane_agent.endpoint.link import EndpointLink
from sealane_agent.layout import ACTIVE, Pointer, StateFolder
from sealane_agent.serving.messages import Load


async def main(slot: str, variant: str) -> None:
    """Print what the proof measured."""
    folder, name = StateFolder(Path("/var/lib/sealane-agent")), parse_slot(slot)
    serving = Pointer.decode(folder.pointer(name, ACTIVE).read_bytes())
    link = EndpointLink(folder.control_socket)
    proved = await link.load(Load(name, replace(serving, variant=variant), 60))
    await link.drop(name, proved.worker)
    await link.close()
    sys.stdout.write(f"{proved.runtime_version}, {proved.latency_us} us, {proved.load_ms} ms\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

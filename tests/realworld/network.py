"""A network of its own for the boxes: a bridge in a namespace without any way out."""

from __future__ import annotations

import subprocess
from typing import Final

from realworld.machine import command

SUBNET: Final = "10.203.0"


class Network:
    """One bridge, and a namespace with `eth0` for each box."""

    def __init__(self, prefix: str) -> None:
        self._hub = f"{prefix}-hub"
        self._made: list[str] = []
        self._add(self._hub)
        _ip("-n", self._hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._hub, "link", "set", "bridge", "up")

    def join(self, name: str) -> str:
        """Make a box's namespace; returns its address."""
        address = f"{SUBNET}.{len(self._made)}"
        self._add(name)
        port = f"p{len(self._made)}"
        _ip("-n", self._hub, "link", "add", port, "type", "veth", "peer", "eth0", "netns", name)
        _ip("-n", self._hub, "link", "set", port, "master", "bridge", "up")
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _ip("-n", name, "link", "set", device, "up")
        return address

    def cut(self, name: str) -> None:
        """Pull a box's plug; the box itself sees nothing."""
        self._plug(name, "down")

    def restore(self, name: str) -> None:
        """Put it back."""
        self._plug(name, "up")

    def _plug(self, name: str, state: str) -> None:
        _ip("-n", self._hub, "link", "set", f"p{self._made.index(name) + 1}", state)

    def _add(self, name: str) -> None:
        _ip("netns", "add", name)
        self._made.append(name)

    def remove(self) -> None:
        """Take every namespace away."""
        for name in self._made:
            subprocess.run(["ip", "netns", "delete", name], check=False)  # noqa: S607 - as the system finds it


def _ip(*arguments: str) -> None:
    command("ip", *arguments)

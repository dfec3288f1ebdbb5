"""A network of its own for the boxes, without any way out: lines of any quality to one switch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from realworld.machine import BoxError, command

SUBNET: Final = "10.203.0"
SWITCH: Final = Path(__file__).with_name("wan.py")


class Network:
    """One switch, and a namespace with `eth0` for each box."""

    def __init__(self) -> None:
        self._made: list[str] = []
        self._switch = subprocess.Popen(
            [sys.executable, str(SWITCH)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def join(self, name: str) -> str:
        """Make a box's namespace; returns its address."""
        command("ip", "netns", "add", name)
        self._made.append(name)
        address = f"{SUBNET}.{len(self._made)}"
        self._order(add=name, netns=name, address=f"{address}/24")
        return address

    def shape(self, name: str, **line: float) -> None:
        """Make a box's line slow, far or bad: delay_ms, jitter_ms, loss, rate_kbit."""
        self._order(shape=name, **line)

    def cut(self, name: str) -> None:
        """Pull a box's plug; the box itself sees nothing."""
        self._order(shape=name, up=False)

    def restore(self, name: str) -> None:
        """Put it back."""
        self._order(shape=name, up=True)

    def _order(self, **fields: str | float) -> None:
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        self._switch.stdin.write(json.dumps(fields) + "\n")
        self._switch.stdin.flush()
        if self._switch.stdout.readline() != "done\n":
            raise BoxError("the switch between the machines has ended")

    def remove(self) -> None:
        """Take the switch and every namespace away."""
        self._switch.communicate(timeout=10)
        for name in self._made:
            subprocess.run(["ip", "netns", "delete", name], check=False)  # noqa: S607 - as the system finds it

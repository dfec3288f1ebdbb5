"""A switch between network namespaces that delays, loses and slows down what it carries.

A process of its own, for kernels that have no module for it: one TAP device a machine. It takes one
JSON object a line on stdin and answers each with a line:
`{"add": NAME, "netns": …, "address": …}`, `{"shape": NAME, "delay_ms": …, "loss": …, "up": …}`.
"""

from __future__ import annotations

import fcntl
import heapq
import itertools
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from typing import Any, Final

_TUNSETIFF: Final = 0x400454CA
_TAP_WITHOUT_HEADER: Final = 0x0002 | 0x1000
_FRAME_BYTES: Final = 65_535
_QUEUE_S: Final = 0.5
"""A line holds back as much as it carries in that time; the rest is lost, as on a real one."""
_TURN_FRAMES: Final = 64


@dataclass(frozen=True, slots=True)
class Line:
    """What lies between a machine and the switch, the same in both directions.

    Attributes:
        loss: share of frames that vanish.
        rate_kbit: kilobits a second; 0 is no limit.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    rate_kbit: float = 0.0
    up: bool = True

    def passes(self, chance: float) -> bool:
        """Whether a frame gets through; `chance` is a random number below 1."""
        return self.up and chance >= self.loss

    def sent(self, size: int, now: float, free: float) -> float | None:
        """When a frame has been sent on a line that is free at some time; None when it is full."""
        if not self.rate_kbit:
            return now
        begins = max(now, free)
        return None if begins - now > _QUEUE_S else begins + size * 8 / (self.rate_kbit * 1000)

    def delay_s(self, chance: float) -> float:
        """How long the way takes."""
        return max(0.0, self.delay_ms + (2 * chance - 1) * self.jitter_ms) / 1000


@dataclass(slots=True)
class Port:
    """A machine's end: what the line to it is like, and when each direction is free again."""

    tap: int
    line: Line = field(default_factory=Line)
    free: dict[str, float] = field(default_factory=lambda: {"in": 0.0, "out": 0.0})

    def through(self, way: str, size: int, now: float) -> float | None:
        """When a frame comes out at the other end; None when it does not."""
        if not self.line.passes(random.random()):  # noqa: S311 - weather, no secret
            return None
        sent = self.line.sent(size, now, self.free[way])
        if sent is None:
            return None
        self.free[way] = sent
        return sent + self.line.delay_s(random.random())  # noqa: S311 - the same


class Switch:
    """Learns who is where and carries frames until stdin ends."""

    def __init__(self) -> None:
        self._ports: dict[str, Port] = {}
        self._where: dict[bytes, Port] = {}
        self._waiting: list[tuple[float, int, Port, bytes]] = []
        self._numbers = itertools.count()
        self._events = select.epoll()
        self._events.register(sys.stdin.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Until nobody gives orders any more."""
        while True:
            self._deliver()
            pause = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else 1.0
            for descriptor, _ in self._events.poll(pause):
                if descriptor != sys.stdin.fileno():
                    self._take(descriptor)
                elif order := os.read(descriptor, _FRAME_BYTES):
                    self._obey(order)
                else:
                    return

    def _obey(self, lines: bytes) -> None:
        for line in lines.splitlines():
            order: dict[str, Any] = json.loads(line)
            if name := order.pop("add", None):
                port = self._ports[name] = Port(plug_in(order["netns"], order["address"]))
                self._events.register(port.tap, select.EPOLLIN)
            else:
                port = self._ports[order.pop("shape")]
                port.line = replace(port.line, **order)
            sys.stdout.write("done\n")
            sys.stdout.flush()

    def _take(self, tap: int) -> None:
        source = next(port for port in self._ports.values() if port.tap == tap)
        for _ in range(_TURN_FRAMES):
            try:
                frame = os.read(tap, _FRAME_BYTES)
            except BlockingIOError:
                return
            self._where[frame[6:12]] = source
            arrives = source.through("out", len(frame), time.monotonic())
            if arrives is not None:
                self._forward(frame, source, arrives)

    def _forward(self, frame: bytes, source: Port, now: float) -> None:
        known = self._where.get(frame[:6])
        for target in [known] if known else self._ports.values():
            if target is source:
                continue
            arrives = target.through("in", len(frame), now)
            if arrives is not None:
                heapq.heappush(self._waiting, (arrives, next(self._numbers), target, frame))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            _, _, target, frame = heapq.heappop(self._waiting)
            try:
                os.write(target.tap, frame)
            except OSError:  # the machine's end is down, or full: lost, as on any network
                continue


def plug_in(netns: str, address: str) -> int:
    """A TAP device that is `eth0` in a namespace; returns our end of it."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    name = f"slp{os.getpid()}t{tap}"[:15]
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH14s", name.encode(), _TAP_WITHOUT_HEADER, b""))
    _ip("link", "set", name, "netns", netns)
    _ip("-n", netns, "link", "set", name, "name", "eth0")
    _ip("-n", netns, "addr", "add", address, "dev", "eth0")
    for device in ("eth0", "lo"):
        _ip("-n", netns, "link", "set", device, "up")
    return tap


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)  # noqa: S607 - as the system finds it


if __name__ == "__main__":
    Switch().run()

"""Keeps closed windows until the supervisor has stored them: bounded, and nothing twice.

Some of them are offered under a name; the same ones, under the same name, until the supervisor says
that it has stored that name. Names are unique over the lives of the endpoint. Pure: `encode` and
`decode` are for a file that lets a killed endpoint's windows survive it.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Final

from sealane.errors import TelemetryError
from sealane.limits import KIB
from sealane.telemetry.codec import decode_windows, encode_windows
from sealane.telemetry.merging import merge

from sealane_agent.telemetry.windows import parts

if TYPE_CHECKING:
    from sealane.telemetry.types import Window

WINDOWS: Final = 128
"""Closed windows that wait; then the two oldest are merged into one."""

OFFER_BYTES: Final = 256 * KIB
"""Windows that are handed over at once, encoded."""

OFFER_WINDOWS: Final = 64
"""The same, in number."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Some windows under a name; no name: there are none."""

    name: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A window and its encoded parts: encoded once, however often it is written down."""

    window: Window
    bodies: tuple[bytes, ...]

    @classmethod
    def of(cls, window: Window) -> _Kept:
        return cls(window, tuple(encode_windows((part,)) for part in parts(window)))


class Waiting:
    """The closed windows of one endpoint; `birth` is a text that no other life of it has."""

    def __init__(self, birth: str) -> None:
        self._birth = birth
        self._offers = 0
        self._offer = Offer()
        self._kept: list[_Kept] = []

    def add(self, window: Window) -> None:
        """Keep one more."""
        self._kept.append(_Kept.of(window))
        if len(self._kept) > WINDOWS:
            first, second = self._kept[:2]
            self._kept[:2] = [_Kept.of(merge(first.window, second.window))]

    def offer(self, stored: str) -> Offer:
        """What is to be stored next; `stored` is the last name that was."""
        if self._offer.name and self._offer.name == stored:
            self._offer = Offer()
        if not self._offer.name and self._kept:
            self._offers += 1
            self._offer = Offer(f"{self._birth}-{self._offers}", encode_windows(self._pack()))
        return self._offer

    def encode(self) -> bytes:
        """All that waits, as bytes."""
        bodies = [b64encode(body).decode() for kept in self._kept for body in kept.bodies]
        body = b64encode(self._offer.body).decode()
        return json.dumps({"name": self._offer.name, "body": body, "windows": bodies}).encode()

    def take_over(self, content: bytes) -> None:
        """Keep what an earlier life left; raises TelemetryError when it is damaged."""
        try:
            fields = json.loads(content)
            offer = Offer(str(fields["name"]), b64decode(fields["body"]))
            found = [decode_windows(b64decode(body)) for body in fields["windows"]]
        except (ValueError, KeyError, TypeError) as error:
            raise TelemetryError(f"what an earlier endpoint left is damaged: {error}") from error
        self._offer = offer
        for windows in found:
            for window in windows:
                self.add(window)

    def _pack(self) -> list[Window]:
        """The oldest windows, or parts of one, that fit into one offer; they wait no longer."""
        chosen: list[Window] = []
        size = 0
        while self._kept:
            kept = self._kept.pop(0)
            for place, (part, body) in enumerate(zip(parts(kept.window), kept.bodies, strict=True)):
                size += len(body)
                if chosen and (size > OFFER_BYTES or len(chosen) == OFFER_WINDOWS):
                    rest = reduce(merge, parts(kept.window)[place:])
                    self._kept.insert(0, _Kept.of(rest))
                    return chosen
                chosen.append(part)
        return chosen

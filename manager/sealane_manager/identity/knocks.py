"""Remembers who calls with a certificate of this fleet and is not known here.

A later self of this manager enrolled such a machine, before it was put back from a backup. Whether
it becomes a device again is for a person to say: the later self may have revoked it as well.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane_manager.errors import NotKnown, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sealane.names import DeviceId

    from sealane_manager.identity.succession import Shown

MOST_KNOCKS: Final = 10_000
"""Machines that are remembered; the one that called longest ago is forgotten first."""

SHORTEST_KEY: Final = 8
"""Digits of a key's fingerprint that name it among those of one name."""


@dataclass(frozen=True, slots=True)
class Knock:
    """A machine that is not known here.

    Attributes:
        shown: the key that it proved, and when its certificate was issued.
        first, last: when it called, as far as this process remembers.
    """

    device: DeviceId
    shown: Shown
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Adoption:
    """Who becomes a device again, with which labels; `key` begins its fingerprint, or is empty."""

    device: str
    key: str
    labels: Mapping[str, str]
    reason: str


class Knocks:
    """Those who called since this process began; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[tuple[DeviceId, str], Knock] = {}

    def heard(self, device: DeviceId, shown: Shown, now: datetime) -> bool:
        """Remember that it called; whether it is the first time."""
        name = device, shown.key.fingerprint
        with self._lock:
            known = self._found.pop(name, None)
            knock = replace(known, last=now) if known else Knock(device, shown, now, now)
            self._found[name] = knock  # the last one of the dictionary from now on
            if len(self._found) > MOST_KNOCKS:
                del self._found[next(iter(self._found))]
        return known is None

    def list(self) -> tuple[Knock, ...]:
        """All of them, by name and key."""
        with self._lock:
            return tuple(knock for _, knock in sorted(self._found.items()))

    def forget(self, device: DeviceId) -> None:
        """Whoever calls by this name is known now, or somebody else."""
        with self._lock:
            self._found = {name: each for name, each in self._found.items() if name[0] != device}


def meant(knocks: Sequence[Knock], device: DeviceId, key: str) -> Knock:
    """The one machine of that name; `key` begins its fingerprint, or is empty.

    Raises NotKnown when none called, and Refused when it is not clear which.
    """
    named = [each for each in knocks if each.device == device]
    found = [each for each in named if each.shown.key.fingerprint.startswith(key.lower())]
    if not found:
        raise NotKnown(
            f"no machine called {device}"
            + (f" with the key {key[:64]}" if key else "")
            + " asked to be let in",
            hint="each asks again within five minutes: see `sealane device unknown`",
        )
    if len(found) > 1 or (key and len(key) < SHORTEST_KEY):
        raise Refused(
            f"{len(named)} machines call themselves {device}",
            hint=f"name the key of the one you mean: --key, at least {SHORTEST_KEY} digits of it",
        )
    return found[0]

"""Keeps on the device which variant of a bundle won here, and for what hardware that holds."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from sealane import fileio
from sealane.errors import SealaneError

from sealane_agent.facts import hardware
from sealane_agent.slot.qualification import Qualified, decode, encode, key_of, remembered

if TYPE_CHECKING:
    from sealane.fleet import DeviceFacts
    from sealane.names import Digest

    from sealane_agent.layout import StateFolder
    from sealane_agent.slot.qualification import Hardware


class Qualifications:
    """Those of one state folder; whatever cannot be read or written is measured again."""

    def __init__(self, folder: StateFolder, facts: DeviceFacts) -> None:
        self._folder, self._facts = folder, facts

    def of(self, manifest: Digest) -> Qualified | None:
        """Which variant won, if that holds for what this device is now; blocks."""
        found = self._read().get(manifest)
        return found if found is not None and found.key == self._key() else None

    def keep(
        self, manifest: Digest, won: tuple[str, int], passed: tuple[tuple[str, str], ...]
    ) -> None:
        """Remember the winner and its latency in microseconds; blocks."""
        qualified = Qualified(self._key(), *won, passed)
        known = remembered(self._read(), manifest, qualified)
        with suppress(OSError, SealaneError):
            fileio.replace(self._folder.qualified, encode(known))

    def _read(self) -> dict[str, Qualified]:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            return decode(self._folder.qualified.read_bytes())
        return {}

    def _key(self) -> str:
        return key_of(self._hardware(), self._facts)

    def _hardware(self) -> Hardware:
        """The endpoint says how many processors its workers may use: its quota is its own."""
        usable = 0
        with suppress(OSError, ValueError, KeyError, TypeError):
            usable = int(json.loads(self._folder.endpoint_addresses.read_bytes())["processors"])
        return hardware(usable)

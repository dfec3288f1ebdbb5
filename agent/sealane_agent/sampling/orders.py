"""What the director ordered, as the supervisor hands it to the endpoint: `sampling.json`.

Both read and write values; moments are trusted time, in seconds since 1970.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealane.sampling.sealed import KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


@dataclass(frozen=True, slots=True)
class Order:
    """Samples of one slot are wanted while it serves this release.

    Attributes:
        key: X25519 public key, for which they are sealed.
        until: after this nothing is kept any more.
        shift: seconds by which trusted time was ahead of this machine's clock.
        drift: whether the manager sees the release's inputs drift.
    """

    release: str
    key: bytes
    until: int
    shift: int
    drift: bool = False


def encode(orders: Mapping[str, Order]) -> bytes:
    """As JSON."""
    found = {
        slot: {
            "release": order.release,
            "key": order.key.hex(),
            "until": order.until,
            "shift": order.shift,
            "drift": order.drift,
        }
        for slot, order in orders.items()
    }
    return json.dumps(found, sort_keys=True).encode() + b"\n"


def decode(content: bytes) -> Mapping[str, Order]:
    """Read them; none when they are damaged: then nothing is kept."""
    try:
        return {str(slot): _order(fields) for slot, fields in json.loads(content).items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _order(fields: Mapping[str, Any]) -> Order:
    key = bytes.fromhex(fields["key"])
    if len(key) != KEY_BYTES:
        raise ValueError("a key of another length")
    until, shift = int(fields["until"]), int(fields["shift"])
    return Order(str(fields["release"]), key, until, shift, fields.get("drift") is True)

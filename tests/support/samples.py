"""Terms, labels and sealed samples, and the key that opens them."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sealane.names import SlotName
from sealane.sampling.sealed import Label, Part, seal
from sealane.sampling.types import InputTerms, SamplingTerms, Trigger
from support.telemetry import START

KEY = X25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
SECRET = b"what the camera saw of a person"
CAM = SlotName("cam")


def some_terms(**changes: Any) -> SamplingTerms:
    """Every request, all of input `x`."""
    fields: dict[str, Any] = {
        "every": 1,
        "confidence_below": 0.0,
        "errors": False,
        "bytes_per_day": 100_000,
        "seconds_kept": 3600,
        "inputs": {"x": InputTerms()},
    }
    return SamplingTerms(**fields | changes)


def a_label(**changes: Any) -> Label:
    fields: dict[str, Any] = {
        "slot": CAM,
        "release": "vision/defect@7",
        "trigger": Trigger.EVERY,
        "taken": START,
        "keep_until": START + 3600,
    }
    return Label(**fields | changes)


def a_part(data: bytes = SECRET) -> Part:
    return Part("input", "x", "UINT8", (1, len(data)), data)


def a_sample(data: bytes = SECRET, key: bytes = PUBLIC, **changes: Any) -> bytes:
    """A sealed sample."""
    return seal(a_label(**changes), [a_part(data)], key)

"""The serving receipt: what a device, with its own key, says that a model did there.

A rollout advances on receipts, never on an exit code. The payload is canonical JSON (sorted keys,
no spaces); the signature is ECDSA over P-256 with SHA-256 by the key in the device's certificate.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from sealane import limits
from sealane.errors import ReceiptError

if TYPE_CHECKING:
    from typing import Any

SERVING: Final = "serving"
ROLLED_BACK: Final = "rolled_back"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a model did on a device.

    Attributes:
        device, slot, release, manifest, rollout: which model where, and why.
        verdict: `serving` or `rolled_back`.
        variant, runtime, runtime_version, accelerator, precision: what ran.
        golden_max_error: largest deviation from the golden outputs.
        requests, errors, fallbacks: counted since activation; a fallback is a request that this
            release failed and the previous one answered.
        latency_p50_us, latency_p99_us: of this release since activation, in microseconds.
        sequence, boot: order of receipts and the boot they were made in.
        issued_at: the device's trusted time, ISO 8601.
        degraded: why it ran on the CPU and not on an accelerator; empty when that is as it should
            be, and in receipts of earlier versions.
        hardware: class of hardware and engines on which the variant won against the bundle's
            others; empty where it was not compared there, and in receipts of earlier versions.
        measured_us, memory_bytes: median of one inference, in microseconds, and proportional set
            size of its worker, when it proved itself; 0 in receipts of earlier versions.
    """

    device: str
    slot: str
    release: str
    manifest: str
    rollout: str
    verdict: str
    variant: str
    runtime: str
    runtime_version: str
    accelerator: str
    precision: str
    golden_max_error: float
    requests: int
    errors: int
    fallbacks: int
    latency_p50_us: int
    latency_p99_us: int
    sequence: int
    boot: str
    issued_at: str
    degraded: str = ""
    hardware: str = ""
    measured_us: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt's canonical bytes and their signature."""

    payload: bytes
    signature: bytes


def sign(receipt: Receipt, key: ec.EllipticCurvePrivateKey) -> SignedReceipt:
    """Sign a receipt with the device's key."""
    payload = json.dumps(asdict(receipt), sort_keys=True, separators=(",", ":")).encode()
    return SignedReceipt(payload, key.sign(payload, ec.ECDSA(hashes.SHA256())))


def verify(signed: SignedReceipt, key: ec.EllipticCurvePublicKey) -> Receipt:
    """Return the receipt if `key` signed it; raise ReceiptError otherwise."""
    try:
        key.verify(signed.signature, signed.payload, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise ReceiptError("the receipt is not signed by this device") from error
    return read(signed)


def read(signed: SignedReceipt) -> Receipt:
    """Return the receipt without checking its signature; raise ReceiptError if malformed."""
    if len(signed.payload) > limits.RECEIPT_BYTES:
        raise ReceiptError(f"the receipt is larger than {limits.RECEIPT_BYTES} bytes")
    try:
        fields: dict[str, Any] = json.loads(signed.payload)
        known = {
            name: _checked(field.type, fields[name])
            for name, field in Receipt.__dataclass_fields__.items()
            if name in fields or field.default is MISSING
        }
        return Receipt(**known)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ReceiptError(f"the receipt is malformed: {error!r}") from error


def _checked(kind: Any, value: Any) -> Any:
    """The value, if it is of the field's type and a database can hold it."""
    if kind == "str" and isinstance(value, str):
        return value
    if kind != "str" and type(value) in _NUMBERS[kind] and 0 <= value <= _LARGEST:
        return value
    raise TypeError(f"{str(value)[:40]!r} is not a {kind} that a receipt holds")


_NUMBERS: Final = {"int": (int,), "float": (int, float)}
_LARGEST: Final = 2**63 - 1

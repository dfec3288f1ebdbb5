"""Serving receipts: signed by the device, canonical, and nothing else is read as one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sealane import limits
from sealane.errors import ReceiptError
from sealane.receipt import SERVING, Receipt, SignedReceipt, read, sign, verify
from sealane.trust.identity import new_key

RECEIPT = Receipt(
    device="press-7",
    slot="cam",
    release="digits/classifier@1",
    manifest="sha256:" + "0" * 64,
    rollout="r-1",
    verdict=SERVING,
    variant="onnx-fp32",
    runtime="onnxruntime",
    runtime_version="1.32.0",
    accelerator="cpu",
    precision="fp32",
    golden_max_error=1e-6,
    requests=120,
    errors=0,
    fallbacks=0,
    latency_p50_us=120,
    latency_p99_us=480,
    sequence=4,
    boot="b-1",
    issued_at="2026-11-23T08:00:00Z",
)


def test_a_receipt_comes_back_from_its_signature() -> None:
    key = new_key()
    assert verify(sign(RECEIPT, key), key.public_key()) == RECEIPT


def test_the_payload_is_canonical() -> None:
    payload = sign(RECEIPT, new_key()).payload
    assert (
        payload == json.dumps(json.loads(payload), sort_keys=True, separators=(",", ":")).encode()
    )


def test_a_receipt_of_another_device_is_refused() -> None:
    with pytest.raises(ReceiptError, match="not signed by this device"):
        verify(sign(RECEIPT, new_key()), new_key().public_key())


def test_a_changed_receipt_is_refused() -> None:
    key = new_key()
    signed = sign(RECEIPT, key)
    better = signed.payload.replace(b'"requests":120', b'"requests":999')
    assert better != signed.payload
    with pytest.raises(ReceiptError):
        verify(replace(signed, payload=better), key.public_key())


@pytest.mark.parametrize("signature", [b"", b"x", b"\x30\x00"])
def test_a_signature_of_nonsense_is_refused(signature: bytes) -> None:
    key = new_key()
    with pytest.raises(ReceiptError):
        verify(replace(sign(RECEIPT, key), signature=signature), key.public_key())


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"{}", b'"x"', b"\xff", b"[" * 5000])
def test_a_payload_of_nonsense_is_refused(payload: bytes) -> None:
    with pytest.raises(ReceiptError):
        read(SignedReceipt(payload, b""))


def test_a_field_of_a_later_agent_is_ignored() -> None:
    fields = json.loads(sign(RECEIPT, new_key()).payload) | {"new_field": 1}
    assert read(SignedReceipt(json.dumps(fields).encode(), b"")) == RECEIPT


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("requests", "120"),
        ("requests", -1),
        ("requests", 2**63),
        ("requests", 1.5),
        ("golden_max_error", float("nan")),
        ("golden_max_error", float("inf")),
        ("golden_max_error", None),
        ("release", 7),
        ("verdict", ["serving"]),
    ],
)
def test_a_field_that_no_database_should_hold_is_refused(name: str, value: object) -> None:
    fields = json.loads(sign(RECEIPT, new_key()).payload) | {name: value}
    with pytest.raises(ReceiptError):
        read(SignedReceipt(json.dumps(fields).encode(), b""))


def test_a_receipt_without_a_field_is_refused() -> None:
    fields = json.loads(sign(RECEIPT, new_key()).payload)
    del fields["verdict"]
    with pytest.raises(ReceiptError):
        read(SignedReceipt(json.dumps(fields).encode(), b""))


def test_a_huge_receipt_is_refused() -> None:
    with pytest.raises(ReceiptError, match="larger"):
        read(SignedReceipt(b" " * (limits.RECEIPT_BYTES + 1), b""))
